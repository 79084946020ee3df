/**
 * A publisher and a subscriber in a process of their own: `worker.js raw|resilient`. They keep book of what arrives when;
 * what is wrong is the parent's business.
 */
import { createRequire } from 'node:module';
import type { EventEmitter } from 'node:events';
import { ResilientStan } from '../../src/index.js';
import type { Contender } from '../protocol.js';
import { now, type PairAnswer, type PairCommand, type PairOptions, type PairRecord } from './protocol.js';

/** The record of a client, raw or resilient. */
class Book {
  readonly acks: number[] = [];
  readonly deliveries: number[] = [];
  readonly log: string[] = [];
  readonly #stored = new Map<string, Set<number>>();
  published = 0;
  acknowledged = 0;
  failed = 0;
  losses = 0;

  next(): string {
    return String(this.published++);
  }

  acked(): void {
    this.acknowledged++;
    this.acks.push(now());
  }

  delivered(value: string, sequence: number): void {
    this.deliveries.push(now());
    const sequences = this.#stored.get(value) ?? new Set();
    this.#stored.set(value, sequences.add(sequence));
  }

  note(line: string): void {
    this.log.push(`${now().toFixed(1)} ${line}`);
  }

  record(suspicions: number): PairRecord {
    let duplicates = 0;
    for (const sequences of this.#stored.values()) duplicates += sequences.size - 1;
    const { acks, deliveries, published, acknowledged, failed, losses, log } = this;
    return { acks, deliveries, published, acknowledged, failed, duplicates, losses, suspicions, log };
  }
}

interface Pair {
  readonly book: Book;
  publish(): void;
  readonly suspicions: number;
  stop(): void;
}

async function resilientPair({ publisher, subscriber, clusterId, channel }: PairOptions): Promise<Pair> {
  const book = new Book();
  const connect = async (name: string, urls: string[]): Promise<ResilientStan> => {
    const note = (message: string): void => book.note(`${name}: ${message}`);
    const stan = await ResilientStan.connect(urls, {
      clusterId,
      // In the order they are given, so that the parent decides who is attached where.
      randomize: false,
      logger: { debug: note, info: note, warn: note, error: note },
    });
    stan.on('connection_lost', () => book.losses++);
    return stan;
  };
  const [one, other] = await Promise.all([
    connect('publisher', publisher.urls),
    connect('subscriber', subscriber.urls),
  ]);
  await other.subscribe(channel, (message) => book.delivered(message.string(), message.sequence));
  return {
    book,
    publish: () => {
      one.publish(channel, book.next()).then(
        () => book.acked(),
        () => book.failed++,
      );
    },
    get suspicions() {
      return one.stats().suspicions + other.stats().suspicions;
    },
    stop: () => void Promise.all([one.close({ timeout: 1000 }), other.close({ timeout: 1000 })]),
  };
}

interface RawStan extends EventEmitter {
  readonly nc?: { close(): void };
  publish(channel: string, data: string, onAck: (error: unknown) => void): void;
  subscribe(channel: string): EventEmitter;
  close(): void;
}

/** The raw client with its best settings: quick pings, every server, NATS reconnects at once and without end. */
async function rawPair({ publisher, subscriber, clusterId, channel }: PairOptions): Promise<Pair> {
  const { connect } = createRequire(import.meta.url)('node-nats-streaming') as {
    connect: (this: void, clusterId: string, clientId: string, options: Record<string, unknown>) => RawStan;
  };
  const book = new Book();
  let stopped = false;
  const open = (name: string, urls: string[]): Promise<RawStan> => {
    const stan = connect(clusterId, `raw-${name}-${process.pid}-${Math.round(now() * 1000)}`, {
      url: urls[0],
      servers: urls,
      noRandomize: true,
      stanPingInterval: 1000,
      stanMaxPingOut: 2,
      reconnectTimeWait: 50,
      maxReconnectAttempts: -1,
      connectTimeout: 2000,
    });
    return new Promise((resolve, reject) => {
      stan.on('error', (error) => {
        book.note(`${name}: error ${String(error)}`);
        reject(new Error(`the raw client could not connect: ${String(error)}`));
      });
      for (const event of ['connection_lost', 'disconnect', 'reconnect', 'close']) {
        stan.on(event, () => {
          book.note(`${name}: ${event}`);
          if (event === 'connection_lost' && !stopped) book.losses++;
        });
      }
      stan.once('connect', () => resolve(stan));
    });
  };
  const [one, other] = await Promise.all([open('publisher', publisher.urls), open('subscriber', subscriber.urls)]);
  await new Promise<void>((resolve, reject) => {
    const subscription = other.subscribe(channel);
    subscription.on('message', (message: { getRawData(): Buffer; getSequence(): number }) =>
      book.delivered(message.getRawData().toString(), message.getSequence()),
    );
    subscription.once('ready', resolve);
    subscription.on('error', reject);
  });
  return {
    book,
    publish: () => {
      const value = book.next();
      try {
        one.publish(channel, value, (error) => {
          if (error === undefined) book.acked();
          else book.failed++;
        });
      } catch {
        book.failed++;
      }
    },
    suspicions: 0,
    stop: () => {
      stopped = true;
      for (const stan of [one, other]) {
        try {
          stan.close();
        } catch {
          // It has closed itself.
        }
        setTimeout(() => stan.nc?.close(), 1000);
      }
    },
  };
}

const make = (process.argv[2] as Contender) === 'raw' ? rawPair : resilientPair;
let pair: Pair | undefined;
let timer: NodeJS.Timeout | undefined;

async function run(command: PairCommand): Promise<PairAnswer> {
  switch (command.do) {
    case 'start': {
      const started = (pair = await make(command.options));
      const { every } = command.options;
      if (every > 0) timer = setInterval(() => started.publish(), every);
      return {};
    }
    case 'publish':
      pair?.publish();
      return {};
    case 'record':
      clearInterval(timer);
      return pair ? { record: pair.book.record(pair.suspicions) } : {};
    case 'stop':
      clearInterval(timer);
      pair?.stop();
      pair = undefined;
      return {};
  }
}

process.on('message', (command: PairCommand) => {
  run(command).then(
    (answer) => process.send?.({ answer }),
    (error: unknown) => process.send?.({ error: error instanceof Error ? error.stack : String(error) }),
  );
});
process.on('disconnect', () => process.exit());
// The raw client throws from timers and sockets once it has lost its connection; that is written down, not died of.
process.on('uncaughtException', (error) => pair?.book.note(`uncaught: ${error.message}`));
process.on('unhandledRejection', (error) => pair?.book.note(`unhandled: ${String(error)}`));
