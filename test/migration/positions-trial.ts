/**
 * Kills `resilient-stan migrate durables` and `resilient-stan migrate cut` at any point, and runs the same command again. What each
 * consumer delivers then is compared message by message, and so is what the streams have; STAN has to have all its positions still.
 */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { ResilientStan } from '../../src/index.js';
import { readStreamNote } from '../../src/migrate/stream-note.js';
import { consumerName, streamName, type DurableId, type Report } from '../../src/migrate/index.js';
import { waitFor, type JetStreamCluster, type StanCluster } from '../../src/testing/index.js';
import { runCommand, startCommand } from '../support/command.js';
import { JetStreamSide } from '../support/jetstream-side.js';

export interface Sides {
  readonly from: StanCluster;
  /** Where the streams are. Undefined: in the same servers. */
  readonly to?: JetStreamCluster;
  readonly say?: (line: string) => void;
}

const MESSAGES = 240;

/** A durable of STAN, and what it has acknowledged. */
interface Kind {
  readonly name: string;
  readonly group?: string;
  readonly acknowledges: (sequence: number) => boolean;
  /** It leaves when it was sent so many. 0: at once. */
  readonly sent: number;
  readonly maxInFlight: number;
}

const KINDS: readonly Kind[] = [
  { name: 'caught-up', acknowledges: () => true, sent: MESSAGES, maxInFlight: 50 },
  { name: 'behind', acknowledges: () => true, sent: 100, maxInFlight: 10 },
  { name: 'holes', acknowledges: (sequence) => sequence % 3 !== 0, sent: 200, maxInFlight: 100 },
  { name: 'one-pending', acknowledges: (sequence) => sequence !== 17, sent: 150, maxInFlight: 3000 },
  { name: 'one-at-a-time', acknowledges: (sequence) => sequence < 40, sent: 40, maxInFlight: 1 },
  { name: 'all-pending', acknowledges: () => false, sent: MESSAGES, maxInFlight: 1000 },
  { name: 'new', acknowledges: () => true, sent: 0, maxInFlight: 20 },
  { name: 'shared', group: 'workers', acknowledges: (sequence) => sequence % 5 !== 0, sent: 120, maxInFlight: 60 },
];

const idOf = ({ name, group }: Kind): DurableId =>
  group === undefined ? { clientId: `client-${name}`, durable: name } : { durable: name, group };

export class Positions {
  readonly #sides: Sides;
  readonly #stan: ResilientStan;
  readonly #js: JetStreamSide;
  readonly #channel: string;

  private constructor(sides: Sides, stan: ResilientStan, js: JetStreamSide, channel: string) {
    this.#sides = sides;
    this.#stan = stan;
    this.#js = js;
    this.#channel = channel;
  }

  static async open(sides: Sides, channel = 'orders.eu'): Promise<Positions> {
    const stan = await ResilientStan.connect(sides.from.urls, { clientId: 'publisher' });
    return new Positions(sides, stan, await JetStreamSide.open((sides.to ?? sides.from).urls), channel);
  }

  async close(): Promise<void> {
    await this.#js.close();
    await this.#stan.close();
  }

  #args(step: string, channel: string, ...more: string[]): string[] {
    const { from, to } = this.#sides;
    return [
      ...['migrate', step, '--from', from.urls.join(','), '--channels', channel, '--json'],
      ...['--monitor', from.nodes.map(({ monitor }) => monitor.url).join(',')],
      ...(to === undefined ? [] : ['--to', to.urls.join(',')]),
      ...more,
    ];
  }

  async #command(step: string, channel: string, ...more: string[]): Promise<void> {
    const { code, stdout, stderr } = await runCommand(this.#args(step, channel, ...more));
    assert.equal(code, 0, `${step} ended with ${code}: ${stderr}${stdout}`);
    assert.deepEqual((JSON.parse(stdout) as Report).problems, []);
  }

  /** Starts a step, and kills it at a point that nobody knows. */
  async #kill(step: string, channel: string, after: number, ...more: string[]): Promise<void> {
    const { child, closed } = startCommand(this.#args(step, channel, ...more));
    const ended = closed.then(() => undefined);
    await Promise.race([delay(after), ended]);
    child.kill('SIGKILL');
    await ended;
  }

  // ── durables ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Makes the durables of each kind, and copies the channel. */
  async prepare(): Promise<void> {
    await Promise.all(KINDS.filter(({ sent }) => sent === 0).map((kind) => this.#work(kind)));
    await Promise.all(Array.from({ length: MESSAGES }, (_, i) => this.#stan.publish(this.#channel, `message ${i}`)));
    for (const kind of KINDS) if (kind.sent > 0) await this.#work(kind);
    await this.#command('copy', this.#channel);
  }

  /** Subscribes as a durable for a while, and leaves. */
  async #work(kind: Kind): Promise<void> {
    const { name, group, acknowledges, sent, maxInFlight } = kind;
    const client = await ResilientStan.connect(this.#sides.from.urls, { clientId: `client-${name}` });
    let highest = 0;
    const subscription = await client.subscribe(
      this.#channel,
      (message) => {
        highest = Math.max(highest, message.sequence);
        if (message.sequence <= sent && acknowledges(message.sequence)) message.ack();
      },
      {
        ...{ durableName: name, startAt: sent === 0 ? 'new' : 'first', maxInFlight, manualAck: true },
        ...(group !== undefined && { queueGroup: group }),
      },
    );
    await waitFor(async () => (highest >= sent ? true : undefined), {
      timeout: 30_000,
      what: () => `durable '${name}' was sent ${highest} of ${sent} messages`,
    });
    await subscription.close();
    await client.close();
  }

  /** Of each durable what STAN says of it: the last sent, and how many are pending. */
  async #positions(): Promise<ReadonlyMap<string, string>> {
    // The monitoring of a busy server takes its time.
    const page = await waitFor(async () => (await this.#sides.from.leader()).monitor.channelz(this.#channel), {
      timeout: 30_000,
      what: () => 'the monitoring does not answer',
    });
    const found = new Map<string, string>();
    for (const each of page.subscriptions ?? []) {
      const name = each.queue_name?.split(':')[0] ?? each.durable_name;
      // A killed run leaves its own subscription, which has no name, until STAN misses its heartbeats.
      if (name === undefined || name === '') continue;
      found.set(name, `${each.last_sent}, ${each.pending_count} pending, ${each.is_offline ? 'offline' : 'online'}`);
    }
    return found;
  }

  async #lastSent({ name }: Kind): Promise<number> {
    return Number.parseInt((await this.#positions()).get(name) ?? '', 10);
  }

  /** What a durable has to deliver, by its own account. */
  async #expected(kind: Kind): Promise<number[]> {
    if (kind.sent === 0) return range(1, MESSAGES);
    const lastSent = await this.#lastSent(kind);
    return range(1, MESSAGES).filter(
      (sequence) => sequence > lastSent || sequence > kind.sent || !kind.acknowledges(sequence),
    );
  }

  /**
   * Kills the step `durables` so many times, and runs it again after each kill. Each time all consumers deliver what they should, and
   * STAN is as it was.
   * @param idle how long the consumers are left alone before the last time, in ms
   */
  async killDurables(kills: number, { idle = 0 } = {}): Promise<void> {
    const { say = () => undefined } = this.#sides;
    const before = await this.#positions();
    const expected = new Map<Kind, number[]>();
    for (const kind of KINDS) expected.set(kind, await this.#expected(kind));
    const began = performance.now();
    await this.#command('durables', this.#channel);
    const duration = performance.now() - began;
    for (let kill = 0; kill <= kills; kill++) {
      if (kill > 0) {
        const after = duration * (0.2 + (0.8 * (kill - Math.random())) / kills);
        await this.#kill('durables', this.#channel, after);
        say(`durables, kill ${kill} of ${kills} after ${Math.round(after)} ms, with ${await this.#states()}`);
        await this.#command('durables', this.#channel);
      }
      if (kill === kills) await delay(idle);
      assert.deepEqual(await this.#positions(), before, 'STAN has its positions as they were');
      for (const [kind, sequences] of expected) {
        const consumer = consumerName(idOf(kind));
        const { config } = await this.#js.manager.consumers.info(streamName(this.#channel), consumer);
        assert.equal(config.max_ack_pending, kind.maxInFlight === 1 ? 1 : Math.max(1000, kind.maxInFlight), kind.name);
        const got = await this.#js.drain(this.#channel, consumer);
        assert.deepEqual(
          got.map(({ sequence }) => sequence),
          sequences,
          `consumer ${consumer}, after kill ${kill}`,
        );
        await this.#js.manager.consumers.delete(streamName(this.#channel), consumer);
      }
    }
    await this.#wayBack(expected);
  }

  /** How far a killed run had come. */
  async #states(): Promise<string> {
    const counts = { ready: 0, 'not ready': 0 };
    for await (const { config } of this.#js.manager.consumers.list(streamName(this.#channel))) {
      counts[config.description?.includes('not ready') === true ? 'not ready' : 'ready']++;
    }
    return `${counts.ready} consumers ready, and ${counts['not ready']} not`;
  }

  /** STAN delivers the same to its durables as it would have without all this. */
  async #wayBack(expected: ReadonlyMap<Kind, readonly number[]>): Promise<void> {
    for (const [kind, sequences] of expected) {
      const { name, group } = kind;
      const client = await ResilientStan.connect(this.#sides.from.urls, { clientId: `client-${name}` });
      const got = new Set<number>();
      const subscription = await client.subscribe(this.#channel, (message) => void got.add(message.sequence), {
        durableName: name,
        maxInFlight: 1000,
        ...(group !== undefined && { queueGroup: group }),
      });
      await waitFor(async () => (got.size >= sequences.length ? true : undefined), {
        timeout: 30_000,
        what: () => `durable '${name}' got ${got.size} of ${sequences.length} messages in STAN`,
      });
      await subscription.close();
      await client.close();
      assert.deepEqual(
        [...got].sort((one, other) => one - other),
        sequences,
        `durable '${name}' in STAN`,
      );
    }
  }

  // ── cut ───────────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Kills the step `cut` so many times, each time on a channel of its own with publishers on both sides that never stop, and runs it
   * again. Every message is there once, and those of STAN are in their order.
   */
  async killCuts(kills: number): Promise<void> {
    const { say = () => undefined } = this.#sides;
    let duration = 1500;
    for (let kill = 0; kill <= kills; kill++) {
      const channel = `cut.${kill}`;
      await Promise.all(Array.from({ length: MESSAGES }, (_, i) => this.#stan.publish(channel, `stan ${i}`)));
      const stop = new AbortController();
      const stan = range(0, MESSAGES - 1).map((i) => `stan ${i}`);
      const native: string[] = [];
      const publishers = [
        this.#publish(stop.signal, async (i) => {
          const text = `stan ${MESSAGES + i}`;
          await this.#stan.publish(channel, text);
          stan.push(text);
        }),
        this.#publish(stop.signal, async (i) => {
          if (!(await this.#isOpen(channel))) return;
          const text = `native ${i}`;
          await this.#js.jetstream.publish(channel, text).then(
            () => native.push(text),
            () => undefined,
          );
        }),
      ];
      const began = performance.now();
      // With publishers that never stop STAN is never quiet, so the first one is ended as a person does it.
      const after = kill === 0 ? 2 * duration : duration * (0.2 + (1.3 * (kill - Math.random())) / kills);
      await this.#kill('cut', channel, after, '--follow');
      say(`cut, kill ${kill} of ${kills} after ${Math.round(after)} ms, with ${await this.#cutState(channel)}`);
      await this.#kill('cut', channel, 2 * duration, '--follow');
      if (kill === 0) duration = Math.min(duration, performance.now() - began);
      stop.abort();
      await Promise.all(publishers);
      await this.#command('cut', channel, '--quiet', '300ms');
      await this.#command('cut', channel, '--quiet', '300ms');
      await this.#judge(channel, stan, native);
    }
  }

  async #publish(signal: AbortSignal, one: (i: number) => Promise<void>): Promise<void> {
    for (let i = 0; !signal.aborted; i++) await Promise.all([one(i), delay(5)]);
  }

  /** Whether native publishers may publish: a stream with a fence of its own refuses them itself. */
  async #isOpen(channel: string): Promise<boolean> {
    if (this.#sides.to !== undefined) return true;
    const state = await this.#cutState(channel);
    return state === 'cut' || state === 'being cut';
  }

  async #cutState(channel: string): Promise<string> {
    const info = await this.#js.manager.streams.info(streamName(channel)).catch(() => undefined);
    return readStreamNote(info?.config.description)?.state ?? 'no stream';
  }

  async #judge(channel: string, stan: readonly string[], native: readonly string[]): Promise<void> {
    const consumer = await this.#js.jetstream.consumers.get(streamName(channel));
    const found: { text: string; inStan: number | undefined; sequence: number }[] = [];
    const { num_pending } = await consumer.info();
    for await (const message of await consumer.fetch({ max_messages: num_pending, expires: 10_000 })) {
      const header = message.headers?.get('Stan-Sequence') ?? '';
      found.push({
        text: message.string(),
        inStan: header === '' ? undefined : Number(header),
        sequence: message.seq,
      });
    }
    const ofStan = found.filter(({ inStan }) => inStan !== undefined);
    assert.deepEqual(
      ofStan.map(({ text, inStan }) => `${inStan}: ${text}`),
      stan.map((text, i) => `${i + 1}: ${text}`),
      `what ${channel} has of STAN`,
    );
    assert.deepEqual(
      found.filter(({ inStan }) => inStan === undefined).map(({ text }) => text),
      native,
      `what ${channel} has of native publishers`,
    );
    assert.ok(ofStan.slice(0, MESSAGES).every(({ inStan, sequence }) => inStan === sequence));
  }
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}
