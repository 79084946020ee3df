/** A process of a run: one client, that publishes or subscribes. Started by {@link WorkerProcess}. */
import { writeSync } from 'node:fs';
import { describe, type Delivery } from '../../errors.js';
import { onGap } from '../continuity/gaps.js';
import { decodeValue, encodeValue } from '../continuity/value.js';
import type { HandlerFailures } from '../nemesis/nemesis.js';
import { sleep } from '../wait.js';
import { loadAdapter, PlannedFailure, type ClientContext, type VerifiedClient } from './adapter.js';
import { Failing } from './failing.js';
import { IdleCrowd } from './idle-crowd.js';
import { EVENT_FD, machineClock, type Order, type PublisherOrder, type WorkerEvent } from './protocol.js';
import { Pulse } from './pulse.js';
import ownAdapter from './resilient-adapter.js';

type StartOrder = Extract<Order, { do: 'start' }>;
type Connect = (context: ClientContext) => Promise<VerifiedClient>;

/** Time between two samples of memory and handles, in ms. */
const SAMPLE_INTERVAL = 2000;
/** How long the client of the pulse may take to close after the other one, in ms. */
const PULSE_CLOSE = 500;
/** Time before another attempt to connect, in ms. */
const RETRY = 250;

function tell(...events: WorkerEvent[]): void {
  let lines = '';
  for (const event of events) lines += `${JSON.stringify(event)}\n`;
  try {
    writeSync(EVENT_FD, lines);
  } catch {
    process.exit(1); // the run is over, because nobody reads
  }
}

const log = (line: string): void => void process.stderr.write(`${Math.round(machineClock())} ${line}\n`);

class Worker {
  readonly #order: StartOrder;
  readonly #publishing: Publishing | undefined;
  readonly #failing = new Failing();
  readonly #crowd: IdleCrowd | undefined;
  #pulse: Pulse | undefined;
  #pulseClient: VerifiedClient | undefined;
  /** No more is published. */
  #stopped = false;
  #client: VerifiedClient | undefined;

  constructor(order: StartOrder) {
    this.#order = order;
    this.#crowd = order.idle && new IdleCrowd(order.idle);
    this.#publishing = order.publisher && new Publishing(order.channel, order.publisher);
  }

  async start(): Promise<void> {
    const { client: path, channel, subscriptions } = this.#order;
    const adapter = path === undefined ? ownAdapter : await loadAdapter(path);
    const connect = adapter.connect.bind(adapter);
    const client = await this.#connect(connect);
    this.#client = client;
    if (this.#publishing) void this.#makePulse(connect);
    for (const { name, options } of subscriptions) {
      const subscription = await client.subscribe(
        channel,
        ({ sequence, data }) => this.#handle(name, sequence, data),
        options,
      );
      onGap(subscription, ({ from, to }) => tell(['gap', machineClock(), name, from, to]));
    }
    await this.#crowd?.subscribe(client);
    this.#sample();
    setInterval(() => this.#sample(), SAMPLE_INTERVAL);
    tell(['ready', machineClock(), adapter.name, adapter.version ?? null]);
  }

  failHandlers(how: HandlerFailures): void {
    this.#failing.begin(how);
  }

  async rollCall(timeout: number): Promise<void> {
    if (!this.#client || !this.#crowd) return;
    const { asked, answered, twice } = await this.#crowd.rollCall(this.#client, timeout);
    tell(['roll-call', machineClock(), asked, answered, twice]);
  }

  publish(): void {
    if (this.#client) this.#publishing?.start(this.#client);
  }

  stopPublishing(): void {
    this.#stopped = true;
    this.#publishing?.stop();
    this.#pulse?.stop();
  }

  async close(): Promise<void> {
    this.stopPublishing();
    const pulse = this.#pulseClient?.close().catch(() => {});
    await this.#client?.close();
    await Promise.race([pulse, sleep(PULSE_CLOSE)]);
    tell(['closed', machineClock()]);
  }

  #handle(subscription: string, sequence: number, data: Uint8Array): void {
    const fails = this.#failing.next(subscription, sequence);
    tell([fails ? 'threw' : 'delivered', machineClock(), subscription, sequence, valueOf(data)]);
    if (fails) throw new PlannedFailure(`the handler of '${subscription}' fails for sequence ${sequence}, as planned`);
  }

  /** What happens to its connection is not told: there is one in the same process that tells. */
  async #makePulse(connect: Connect): Promise<void> {
    const { channel, clientId } = this.#order;
    const client = await this.#connect(connect, { clientId: `${clientId}-pulse`, tell: () => {} });
    this.#pulseClient = client;
    if (this.#stopped) return;
    const publish = () => client.publish(`${channel}.pulse`, 'pulse');
    this.#pulse = new Pulse(publish, (took) => tell(['pulse', machineClock(), took]));
    this.#pulse.start();
  }

  async #connect(connect: Connect, own: Partial<ClientContext> = {}): Promise<VerifiedClient> {
    const { servers, clusterId, connectOptions, clientId, ordering } = this.#order;
    for (;;) {
      try {
        return await connect({
          servers,
          clusterId,
          connectOptions,
          clientId,
          ordering,
          log,
          tell: (news, text) => tell(['news', machineClock(), news, text ?? null]),
          ...own,
        });
      } catch (error) {
        // A service that cannot connect is started again.
        log(`could not connect: ${describe(error)}`);
        await sleep(RETRY);
      }
    }
  }

  #sample(): void {
    globalThis.gc?.();
    const { heapUsed, rss } = process.memoryUsage();
    const handles = process.getActiveResourcesInfo().length;
    const listeners = listenersOf(process) + (this.#client?.listeners?.() ?? 0) + listenersOfHandles();
    tell(['sample', machineClock(), heapUsed, rss, handles, listeners]);
  }
}

/** Publishes at a rate, while the window has room, also during outages. */
class Publishing {
  readonly #channel: string;
  readonly #order: PublisherOrder;
  #counter: number;
  #inFlight = 0;
  #due = 0;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(channel: string, order: PublisherOrder) {
    this.#channel = channel;
    this.#order = order;
    this.#counter = order.from;
  }

  start(client: VerifiedClient): void {
    const { rate, window } = this.#order;
    this.#due = performance.now();
    const turn = (): void => {
      const now = performance.now();
      // What could not be published in time is not made up for, because a burst would be another load.
      this.#due = Math.max(this.#due, now - 100);
      let count = 0;
      while (this.#due <= now && this.#inFlight + count < window) {
        this.#due += 1000 / rate;
        count++;
      }
      if (!this.#stopped && count > 0) this.#publish(client, count);
    };
    this.#timer = setInterval(turn, Math.max(1000 / rate, 5));
  }

  stop(): void {
    this.#stopped = true;
    clearInterval(this.#timer);
  }

  #publish(client: VerifiedClient, count: number): void {
    const counters = Array.from({ length: count }, () => this.#counter++);
    const at = machineClock();
    tell(...counters.map((counter): WorkerEvent => ['attempt', at, counter]));
    for (const counter of counters) void this.#publishOne(client, counter);
  }

  async #publishOne(client: VerifiedClient, counter: number): Promise<void> {
    const { name, size } = this.#order;
    this.#inFlight++;
    try {
      await client.publish(this.#channel, encodeValue({ publisher: name, counter }, size));
      tell(['acknowledged', machineClock(), counter]);
    } catch (error) {
      const delivery = (error as { delivery?: Delivery } | undefined)?.delivery ?? 'unknown';
      tell(['failed', machineClock(), counter, delivery, describe(error)]);
    } finally {
      this.#inFlight--;
    }
  }
}

/** The value of a payload, or the beginning of the payload if it was changed on its way. */
function valueOf(data: Uint8Array): string {
  const value = decodeValue(data);
  return value ? encodeValue(value) : `! ${Buffer.from(data.subarray(0, 60)).toString('latin1')}`;
}

interface Emitter {
  eventNames(): (string | symbol)[];
  listenerCount(name: string | symbol): number;
}

function listenersOf(emitter: Emitter): number {
  return emitter.eventNames().reduce((sum, name) => sum + emitter.listenerCount(name), 0);
}

/** Listeners on open sockets. Node has no documented way to get the sockets, so this uses another one. */
function listenersOfHandles(): number {
  const { _getActiveHandles: handles } = process as { _getActiveHandles?: () => unknown[] };
  return (handles?.call(process) ?? []).reduce<number>((sum, handle) => {
    const emitter = handle as Partial<Emitter> | null;
    return typeof emitter?.eventNames === 'function' ? sum + listenersOf(emitter as Emitter) : sum;
  }, 0);
}

let worker: Worker | undefined;
process.on('disconnect', () => process.exit(1));
process.on('unhandledRejection', (error) => {
  log(`unhandled rejection: ${error instanceof Error ? error.stack : String(error)}`);
  process.exit(1);
});
process.on('message', (order: Order) => {
  switch (order.do) {
    case 'start':
      worker = new Worker(order);
      void worker.start();
      return;
    case 'publish':
      return worker?.publish();
    case 'fail':
      return worker?.failHandlers(order);
    case 'roll-call':
      void worker?.rollCall(order.timeout);
      return;
    case 'stop-publishing':
      return worker?.stopPublishing();
    case 'close':
      void worker?.close().finally(() => process.exit(0));
      return;
  }
});
