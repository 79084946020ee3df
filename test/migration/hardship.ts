/**
 * A copy under faults, from its beginning to its end: copiers are killed, servers of the target are killed, leaders of STAN are killed,
 * and two copiers are at work at once, while programs publish. Then the same command is run once more, and every message is looked at
 * through the official client.
 *
 * Half of the messages are there before the copy begins. The others are published in bursts, one before each kill, and a kill comes
 * when the copiers have stored a part of its burst: so it strikes a copy that has its hands full.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { ResilientStan } from '../../src/index.js';
import { streamName, type CopyReport, type VerifyCopyReport } from '../../src/migrate/index.js';
import { waitFor, type JetStreamCluster, type StanCluster } from '../../src/testing/index.js';
import { sleep } from '../../src/testing/wait.js';
import type { ServerNode } from '../../src/testing/server-node.js';
import { between, pick, randomFrom, shuffled } from '../../src/testing/random.js';
import { runCommand, startCommand, type Running } from '../support/command.js';

export interface HardshipOptions {
  readonly from: StanCluster;
  /** Where the streams are. Undefined: in the same servers. */
  readonly to?: JetStreamCluster;
  /** How often each is killed. */
  readonly copiers: number;
  readonly targets: number;
  readonly leaders: number;
  /** Messages in the channel at the end, at least. */
  readonly messages: number;
  /** Messages a second that are published besides, without a rest. */
  readonly rate: number;
  /** The order of the kills, who is struck, and when, follow from it. */
  readonly seed: number;
  readonly say?: (line: string) => void;
}

export interface Hardship {
  /** Messages in the channel at the end, and in the stream. */
  readonly messages: number;
  readonly seconds: number;
  readonly lost: number;
  readonly doubled: number;
  readonly shifted: number;
}

const CHANNEL = 'orders.eu';

type Victim = 'copier' | 'target' | 'leader';

export async function hardship(options: HardshipOptions): Promise<Hardship> {
  const { from, to, say = () => undefined } = options;
  const random = randomFrom(options.seed);
  const began = performance.now();
  const args = [
    ...['--from', from.urls.join(','), '--monitor', from.nodes.map(({ monitor }) => monitor.url).join(',')],
    ...(to === undefined ? [] : ['--to', to.urls.join(',')]),
    '--json',
  ];
  const stan = await ResilientStan.connect(from.urls, { publishing: { maxPending: 1e6, maxPendingBytes: 1e9 } });
  const connection = await connect({ servers: to?.urls ?? from.urls, maxReconnectAttempts: -1, reconnectTimeWait: 50 });
  const copiers = new Copiers(args, say);
  const publisher = new Publisher(stan);
  const kills = shuffled(random, [
    ...Array<Victim>(options.copiers).fill('copier'),
    ...Array<Victim>(options.targets).fill('target'),
    ...Array<Victim>(options.leaders).fill('leader'),
  ]);
  const burst = Math.ceil(options.messages / 2 / Math.max(1, kills.length));
  const strike = async (victim: Victim): Promise<string> => {
    if (victim === 'copier') {
      const slot = between(random, 0, 1);
      await copiers.kill(slot);
      return `copier ${slot + 1}`;
    }
    const node = victim === 'leader' ? await from.leader() : pick<ServerNode>(random, (to ?? from).nodes);
    await node.kill();
    await node.start();
    await from.ready();
    await to?.ready();
    return `${victim} ${node.name}`;
  };
  try {
    await publisher.publish(Math.floor(options.messages / 2));
    publisher.start(options.rate);
    copiers.start(0);
    copiers.start(1);
    await advance(connection, 1, copiers);
    for (const [i, victim] of kills.entries()) {
      // In an outage of STAN that the kill before has left, it waits for the servers as the copiers do.
      const published = publisher.publish(burst);
      const stored = await advance(connection, between(random, 1, burst), copiers);
      const [struck] = await Promise.all([strike(victim), published]);
      say(`${i + 1} of ${kills.length}: ${struck} killed, at message ${stored}`);
    }
    await advance(connection, 1, copiers);
    await publisher.stop();
    await copiers.stop();
    say('the same command once more');
    const copied = await command<CopyReport>(['migrate', 'copy', ...args]);
    assert.equal(copied.ok, true, JSON.stringify(copied.problems));
    const verified = await command<VerifyCopyReport>(['migrate', 'verify', ...args]);
    assert.equal(verified.ok, true, JSON.stringify(verified.problems));
    const last = await stan.lastSequence(CHANNEL);
    assert.equal(verified.compared, last);
    const { digest, ...found } = await judge(connection, last);
    const isWhole = found.lost + found.doubled + found.shifted === 0;
    // What is lost, doubled or shifted says more than that the bytes differ.
    if (isWhole)
      assert.equal(digest, await publisher.digest(stan), 'the official client reads the same bytes as STAN has');
    return { ...found, messages: last, seconds: Math.round((performance.now() - began) / 1000) };
  } finally {
    await publisher.stop().catch(() => undefined);
    await copiers.stop();
    await stan.close();
    await connection.close();
  }
}

async function command<Report>(args: string[]): Promise<Report> {
  const { code, stdout, stderr } = await runCommand(args);
  assert.equal(code, 0, `${args.slice(0, 2).join(' ')} ended with ${code}: ${stderr}${stdout}`);
  return JSON.parse(stdout) as Report;
}

class Copiers {
  readonly #args: readonly string[];
  readonly #running = new Map<number, Running>();
  #over = false;

  constructor(
    args: readonly string[],
    private readonly say: (line: string) => void,
  ) {
    this.#args = args;
    // No copier outlives this process.
    process.once('exit', this.#killAll);
  }

  start(slot: number): void {
    const running = startCommand(['migrate', 'copy', '--follow', ...this.#args]);
    this.#running.set(slot, running);
    void running.closed.then(async ({ code, stderr, stdout }) => {
      if (this.#over || running.child.signalCode !== null) return;
      if (stdout !== '') {
        this.failure = `a copier ended by itself with ${code}: ${stderr}${stdout}`;
        return;
      }
      // It has not begun, because a side was away at that moment: whoever looks after processes starts it again.
      this.say(`copier ${slot + 1} could not begin: ${stderr.trim()}`);
      await sleep(200);
      if (!this.#over && this.#running.get(slot) === running) this.start(slot);
    });
  }

  /** Why a copier has ended by itself. */
  failure: string | undefined;

  async kill(slot: number): Promise<void> {
    const running = this.#running.get(slot)!;
    running.child.kill('SIGKILL');
    await running.closed;
    if (this.#running.get(slot) === running) this.start(slot);
  }

  async stop(): Promise<void> {
    this.#over = true;
    this.#killAll();
    await Promise.all([...this.#running.values()].map(({ closed }) => closed));
    this.#running.clear();
    process.off('exit', this.#killAll);
  }

  readonly #killAll = (): void => {
    for (const { child } of this.#running.values()) child.kill('SIGKILL');
  };
}

class Publisher {
  readonly #stan: ResilientStan;
  #count = 0;
  #over = false;
  #work: Promise<void> = Promise.resolve();

  constructor(stan: ResilientStan) {
    this.#stan = stan;
  }

  async publish(count: number): Promise<void> {
    await Promise.all(Array.from({ length: count }, () => this.#stan.publish(CHANNEL, this.#next())));
  }

  start(rate: number): void {
    const each = 50;
    const publish = async (): Promise<void> => {
      while (!this.#over) {
        const batch = Math.max(1, Math.round((rate * each) / 1000));
        await Promise.all([this.publish(batch), new Promise((resolve) => setTimeout(resolve, each))]);
      }
    };
    this.#work = publish();
  }

  async stop(): Promise<void> {
    this.#over = true;
    await this.#work;
  }

  async digest(stan: ResilientStan): Promise<string> {
    const hash = createHash('sha256');
    for await (const { sequence, data } of stan.read(CHANNEL)) hash.update(`${sequence} ${data.length} `).update(data);
    return hash.digest('hex');
  }

  #next(): string {
    return `message ${this.#count++} ${'x'.repeat(this.#count % 200)}`;
  }
}

/** Waits until the stream has so many messages more. Returns its last number. */
async function advance(connection: NatsConnection, messages: number, copiers: Copiers): Promise<number> {
  const last = async (): Promise<number> => {
    const manager = await jetstreamManager(connection, { checkAPI: false });
    return (await manager.streams.info(streamName(CHANNEL))).state.last_seq;
  };
  let before: number | undefined;
  return await waitFor(
    async () => {
      if (copiers.failure !== undefined) throw new Error(copiers.failure);
      // The stream is not there yet, or the server is away.
      const now = await last().catch(() => undefined);
      if (now === undefined) return undefined;
      before ??= now;
      return now >= before + messages ? now : undefined;
    },
    { timeout: 120_000, interval: 5, what: () => 'no copier brings anything more' },
  );
}

/** What the official client reads, message by message. */
async function judge(
  connection: NatsConnection,
  last: number,
): Promise<{ lost: number; doubled: number; shifted: number; digest: string }> {
  const hash = createHash('sha256');
  const seen = new Set<string>();
  const consumer = await jetstream(connection).consumers.get(streamName(CHANNEL));
  const messages = await consumer.consume({ max_messages: 1000 });
  let count = 0;
  let doubled = 0;
  let shifted = 0;
  for await (const message of messages) {
    count++;
    const text = message.string();
    const original = message.headers?.get('Stan-Sequence') ?? '';
    if (seen.has(original)) doubled++;
    seen.add(original);
    if (original !== String(message.seq) || message.seq !== count) shifted++;
    hash.update(`${message.seq} ${Buffer.byteLength(text)} `).update(text);
    if (message.info.pending === 0) break;
  }
  messages.stop();
  return { lost: last - seen.size, doubled, shifted, digest: hash.digest('hex') };
}
