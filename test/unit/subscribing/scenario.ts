/** A client under a script of faults, against the model of a server, and what has to be true of it afterwards. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { SessionEnded, type SessionSubscription } from '../../../src/connection/protocol.js';
import type { ResolvedSubscribeOptions } from '../../../src/subscribing/subscribe-options.js';
import type { StanMessage } from '../../../src/subscribing/message.js';
import type { ResilientSubscription } from '../../../src/subscribing/subscription.js';
import { Subscriptions } from '../../../src/subscribing/subscriptions.js';
import {
  ModelServer,
  modelTime,
  subscribeOptions,
  type ScriptedSession,
  TELLER,
} from '../../support/scripted-subscriptions.js';

export type Step =
  | { do: 'publish'; count: number }
  | { do: 'wait'; ms: number }
  /** Longer than `ackWait`. */
  | { do: 'pause'; ms: number }
  /** The session dies; another one comes after a while. */
  | { do: 'kill'; downtime: number; published: number }
  | { do: 'lose-messages'; count: number }
  | { do: 'lose-acks'; count: number }
  | { do: 'replicate' }
  | { do: 'failover' }
  /**
   * A leader loses its lease for a moment, and what it had sent and not told; it sends more, tells that, and dies. See
   * `ModelServer.forget`.
   */
  | { do: 'forget'; published: number }
  | { do: 'suspicion' }
  /** Retention takes what is older than so many messages. */
  | { do: 'truncate'; keep: number }
  /** The channel starts over, in an outage. */
  | { do: 'reset'; published: number }
  /** The next subscriptions have their acks read by nobody. */
  | { do: 'deaf' }
  /** The next leader's clock is this much off, ms. */
  | { do: 'skew'; ms: number }
  /**
   * Another process with the same client ID takes the durable over, handles and acknowledges so many, and leaves. Our
   * session is cut off; it is noticed before that one comes, or when it has left.
   */
  | {
      do: 'take-over';
      noticed: boolean;
      downtime: number;
      before: number;
      handled: number;
      during: number;
      after: number;
      /** Of that one, ms. What it leaves unacknowledged expires by that, even when it is ours again (`sendMsgToSub`). */
      ackWait: number;
    }
  /** A subscription is closed, if it is not the first one. */
  | { do: 'leave'; member: number }
  /** The process dies, and another one does the same. */
  | { do: 'restart'; downtime: number; published: number };

const step: Record<Step['do'], fc.Arbitrary<Step>> = {
  publish: fc.record({ do: fc.constant('publish'), count: fc.integer({ min: 1, max: 12 }) }),
  wait: fc.record({ do: fc.constant('wait'), ms: fc.constantFrom(1, 2, 3, 5, 20, 150, 1100) }),
  pause: fc.record({ do: fc.constant('pause'), ms: fc.constantFrom(3000, 30_000) }),
  leave: fc.record({ do: fc.constant('leave'), member: fc.integer({ min: 1, max: 2 }) }),
  kill: fc.record({
    do: fc.constant('kill'),
    downtime: fc.constantFrom(0, 3, 50, 2500),
    published: fc.integer({ min: 0, max: 6 }),
  }),
  'lose-messages': fc.record({ do: fc.constant('lose-messages'), count: fc.integer({ min: 1, max: 6 }) }),
  'lose-acks': fc.record({ do: fc.constant('lose-acks'), count: fc.integer({ min: 1, max: 6 }) }),
  replicate: fc.record({ do: fc.constant('replicate') }),
  failover: fc.record({ do: fc.constant('failover') }),
  forget: fc.record({ do: fc.constant('forget'), published: fc.integer({ min: 0, max: 3 }) }),
  suspicion: fc.record({ do: fc.constant('suspicion') }),
  truncate: fc.record({ do: fc.constant('truncate'), keep: fc.integer({ min: 0, max: 8 }) }),
  reset: fc.record({ do: fc.constant('reset'), published: fc.integer({ min: 0, max: 6 }) }),
  deaf: fc.record({ do: fc.constant('deaf') }),
  skew: fc.record({ do: fc.constant('skew'), ms: fc.constantFrom(0, 3000, -3000, -10) }),
  'take-over': fc.record({
    do: fc.constant('take-over'),
    noticed: fc.boolean(),
    downtime: fc.constantFrom(0, 3, 50, 2500),
    before: fc.integer({ min: 0, max: 6 }),
    handled: fc.integer({ min: 0, max: 20 }),
    during: fc.integer({ min: 0, max: 6 }),
    after: fc.integer({ min: 0, max: 2 }),
    ackWait: fc.constantFrom(1000, 30_000),
  }),
  restart: fc.record({
    do: fc.constant('restart'),
    downtime: fc.constantFrom(0, 3, 50, 2500),
    published: fc.integer({ min: 0, max: 6 }),
  }),
};

export function steps(...kinds: Step['do'][]): fc.Arbitrary<Step[]> {
  // Mostly traffic, or nothing would be there to lose.
  const arbitraries = [step.publish, step.publish, step.wait, step.wait, ...kinds.map((kind) => step[kind])];
  return fc.array(fc.oneof(...arbitraries), { minLength: 3, maxLength: 25 });
}

interface Handled {
  value: string;
  sequence: number;
}

interface Completed extends Handled {
  /** How many messages had been handed over by then. */
  after: number;
}

/** What comes of a message: it goes with the message, however often that is handed over. */
export interface Fate {
  /** The handler fails so many times, then not; Infinity: always. */
  fails: number;
  /** The handler takes so long, ms. */
  takes: number;
  /**
   * With `manualAck`: how long after its handler is done it is acknowledged, ms, the first time, the second …, and from then
   * on as the last time; Infinity: not this time. At once if not given.
   */
  acks?: readonly number[];
}

/** Of the calls of the handler, one after the other: 0 at once, above after so many ms, below it fails. Or of messages. */
export type Behaviour = readonly number[] | { fates: readonly Fate[] };

/** Unless the options have another one, ms. */
const ACK_WAIT = 1000;

/** How often a message is not through when the server sends it again. */
function failuresOf({ fails, acks = [] }: Fate, ackWait: number): number {
  if (acks.at(-1) === Infinity) return Infinity;
  return fails + acks.filter((ms) => ms >= ackWait / 2).length;
}

/** How often a message that always fails is handed over. */
function mostDeliveries({ maxDeliveries, retry, deadLetter }: Partial<ResolvedSubscribeOptions>): number {
  return maxDeliveries ?? (deadLetter === undefined ? Infinity : (retry?.retries ?? Infinity) + 1);
}

export class Scenario {
  readonly time = modelTime();
  readonly server = new ModelServer(this.time);
  readonly errors: Error[] = [];
  subscriptions = this.#client();
  session: ScriptedSession | undefined;
  readonly members: ResilientSubscription[] = [];
  /** Values of the current channel, and whether a subscription must see them; earlier channels are in `expected` only. */
  expected: string[] = [];
  /** Values that retention or a reset may have taken before they were seen. */
  readonly excused = new Set<string>();
  readonly started: Handled[] = [];
  readonly completed: Completed[] = [];
  /** For each time that the subscriptions were resumed: how many messages came again that were through by then. */
  readonly repeats: number[] = [];
  /** With the first message that was stored at the time. */
  readonly gaps: { from: number; to: number; retained: number }[] = [];
  readonly dead = new Set<string>();
  /** What another process has handled and acknowledged. */
  readonly elsewhere = new Set<string>();
  /** Of that, what was stored when the registration was not ours: no business of ours. */
  readonly #others = new Set<string>();
  /** And yet handed over. */
  readonly trespasses: Handled[] = [];
  /** How often each value was handed over. */
  readonly handings = new Map<string, number>();
  /** Whose handler runs. */
  readonly #running = new Set<string>();
  /** Handed over while their handler still ran. */
  readonly #overlapping: string[] = [];
  resets = 0;
  #published = 0;
  /** Of other processes that had the durable: what they leave unacknowledged comes again by that, ms. */
  #othersAckWait = 0;
  #handled = 0;
  #through: ReadonlySet<string> = new Set();

  readonly #options: Partial<ResolvedSubscribeOptions>[] = [];

  constructor(readonly behaviour: Behaviour) {
    this.server.onSend = ({ request }, { value }) => {
      // What is asked for by its number may come with what is in between.
      if (request.optional === true) return;
      if (this.#through.has(value)) this.repeats[this.repeats.length - 1]! += 1;
    };
  }

  /** A resume begins here. */
  #resuming(): void {
    this.#through = new Set(this.completed.map(({ value }) => value));
    this.repeats.push(0);
  }

  #client(): Subscriptions {
    return new Subscriptions({ teller: TELLER, onError: (error) => this.errors.push(error), clock: this.time.clock });
  }

  publish(count: number): void {
    for (let i = 0; i < count; i++) {
      const value = `v${this.#published++}`;
      this.server.publish(value);
      this.expected.push(value);
    }
  }

  async connect(continued = true): Promise<void> {
    this.session = this.server.connect(continued);
    const { session } = this;
    this.subscriptions.attach(session).catch((error: unknown) => assert.ok(error instanceof SessionEnded));
    await this.time.settle();
  }

  disconnect(): void {
    this.session?.kill();
    this.session = undefined;
    this.subscriptions.detach();
  }

  async subscribe(options: Partial<ResolvedSubscribeOptions>): Promise<ResilientSubscription> {
    this.#options.push(options);
    const subscribing = this.#subscribe(options);
    await this.time.pass(10);
    const subscription = await subscribing;
    this.members.push(subscription);
    return subscription;
  }

  async #subscribe(options: Partial<ResolvedSubscribeOptions>): Promise<ResilientSubscription> {
    const { subscriptions } = this;
    const subscription = await subscriptions.subscribe(
      'foo',
      // What a dead process still does is nobody's.
      (message) => {
        if (this.subscriptions === subscriptions) return this.handle(message, options.manualAck ?? false);
      },
      subscribeOptions({ ackWait: ACK_WAIT, ...options }),
    );
    subscription.on('gap', ({ from, to }) => this.gaps.push({ from, to, retained: this.server.channel().first }));
    subscription.on('dead_letter', ({ message }) => this.dead.add(message.string()));
    subscription.on('reset', () => this.resets++);
    return subscription;
  }

  /** A handler that is at once, later, or at first not, done. */
  handle(message: StanMessage, manualAck: boolean): void | Promise<void> {
    const handled = { value: message.string(), sequence: message.sequence };
    const { value } = handled;
    if (this.#others.has(value)) this.trespasses.push(handled);
    this.started.push(handled);
    const handings = (this.handings.get(value) ?? 0) + 1;
    this.handings.set(value, handings);
    if (this.#running.has(value)) this.#overlapping.push(value);
    let takes: number;
    let fails: boolean;
    let ack = 0;
    if ('fates' in this.behaviour) {
      const fate = this.#fate(value);
      takes = fate.takes;
      fails = handings <= fate.fails;
      ack = fate.acks?.[Math.min(handings, fate.acks.length) - 1] ?? 0;
    } else {
      takes = this.behaviour[this.#handled++ % this.behaviour.length]!;
      fails = takes < 0;
    }
    const acknowledge = (): void => {
      if (manualAck) message.ack();
      this.completed.push({ ...handled, after: this.started.length });
    };
    const end = (): void => {
      if (fails) throw new Error('not this time');
      if (!manualAck || ack === 0) acknowledge();
      else if (ack !== Infinity) this.time.clock.after(ack, acknowledge);
    };
    if (takes <= 0) {
      end();
      return;
    }
    this.#running.add(value);
    return new Promise<void>((resolve) => this.time.clock.after(takes, resolve)).then(() => {
      this.#running.delete(value);
      end();
    });
  }

  #fate(value: string): Fate {
    const { fates } = this.behaviour as { fates: readonly Fate[] };
    return fates[Number(value.slice(1)) % fates.length]!;
  }

  async run(steps: readonly Step[]): Promise<void> {
    for (const step of steps) await this.step(step);
    // The storm is over.
    this.server.deaf = false;
    if (this.session) this.session.loseMessages = this.session.loseAcks = 0;
    if ('fates' in this.behaviour) {
      // Nothing new shows what is missing, so only what was in our hands before can be demanded.
      await this.time.pass(this.#patience);
      this.assertFinished();
      this.publish(1);
      await this.time.pass(this.#patience);
      return;
    }
    await this.quiet();
    this.publish(1);
    await this.quiet();
  }

  /**
   * So long it may take until everything is finished, ms: for each failure `ackWait`, as long again because the server goes
   * by one timer for all messages of a subscription, and as long again for us; one after the other, if the window is of one.
   */
  get #patience(): number {
    const most = Math.min(...this.#options.map(mostDeliveries));
    const ackWait = Math.max(this.#othersAckWait, ...this.#options.map((options) => options.ackWait ?? ACK_WAIT));
    let failures = 0;
    for (const value of this.expected) failures += Math.min(most, failuresOf(this.#fate(value), ackWait));
    return (10 + 3 * failures) * ackWait;
  }

  async step(step: Step): Promise<void> {
    switch (step.do) {
      case 'publish':
        this.publish(step.count);
        break;
      case 'wait':
      case 'pause':
        await this.time.pass(step.ms);
        break;
      case 'kill':
        this.disconnect();
        this.#resuming();
        this.publish(step.published);
        await this.time.pass(step.downtime);
        await this.connect();
        break;
      case 'lose-messages':
        if (this.session) this.session.loseMessages += step.count;
        break;
      case 'lose-acks':
        if (this.session) this.session.loseAcks += step.count;
        break;
      case 'replicate':
        this.server.replicate();
        break;
      case 'failover':
        this.server.failover();
        break;
      case 'forget':
        this.server.forget();
        this.publish(step.published);
        this.server.replicate();
        this.server.failover();
        break;
      case 'suspicion':
        this.#resuming();
        this.subscriptions.resume(true);
        break;
      case 'truncate': {
        const channel = this.server.channel();
        const first = channel.last - step.keep;
        for (const { sequence, value } of channel.messages) if (sequence < first) this.excused.add(value);
        this.server.truncate(first);
        break;
      }
      case 'reset':
        this.disconnect();
        for (const value of this.expected) this.excused.add(value);
        this.server.reset();
        // Another channel of the same name is never from the same instant.
        await this.time.pass(1);
        this.publish(step.published);
        await this.connect();
        break;
      case 'deaf':
        this.server.deaf = true;
        break;
      case 'skew':
        this.server.skew = step.ms;
        this.server.failover();
        break;
      case 'leave':
        this.members[step.member]?.close().catch(() => undefined);
        break;
      case 'take-over':
        this.session?.replace();
        if (step.noticed) this.disconnect();
        await this.#takenOver(step);
        if (!step.noticed) this.disconnect();
        this.publish(step.after);
        await this.connect(false);
        break;
      case 'restart':
        this.disconnect();
        this.publish(step.published);
        await this.time.pass(step.downtime);
        this.subscriptions = this.#client();
        await this.connect();
        for (const options of this.#options) this.#subscribe(options).catch(() => undefined);
        break;
    }
    await this.time.settle();
  }

  async #takenOver({ downtime, before, handled, during, ackWait }: Step & { do: 'take-over' }): Promise<void> {
    this.#othersAckWait = Math.max(this.#othersAckWait, ackWait);
    const from = this.server.channel().last + 1;
    this.publish(before);
    await this.time.pass(downtime);
    const durableName = this.#options[0]!.durableName!;
    const session = this.server.connect();
    const acknowledged = new Set<number>();
    let subscription: SessionSubscription;
    const subscribing = session.subscribe(
      { channel: 'foo', durableName, maxInFlight: 10, ackWait, start: { at: 'first' } },
      (message) => {
        if (acknowledged.size >= handled) return;
        acknowledged.add(message.getSequence());
        subscription.ack(message.getSequence());
      },
      (made) => (subscription = made),
    );
    subscribing.catch(() => undefined);
    await this.time.pass(5);
    this.publish(during);
    await this.time.pass(20);
    session.kill();
    const { pending } = this.server.durables.get(`foo/${durableName}`)!.progress;
    for (const { sequence, value } of this.server.channel().messages) {
      if (!acknowledged.has(sequence) || pending.has(sequence)) continue;
      this.elsewhere.add(value);
      if (sequence >= from) this.#others.add(value);
    }
  }

  /** Until nothing happens any more. */
  async quiet(): Promise<void> {
    for (let before = -1; before !== this.started.length;) {
      before = this.started.length;
      await this.time.pass(20_000);
    }
  }

  /** Every message was completed, unless it could not be. */
  assertComplete(): void {
    const completed = new Set(this.completed.map(({ value }) => value));
    const missing = this.expected.filter((value) => !completed.has(value) && !this.excused.has(value));
    assert.deepEqual(missing, [], 'not handled');
  }

  assertOnce(): void {
    const seen = new Set<string>();
    for (const { value, sequence } of this.completed) {
      assert.ok(!seen.has(value), `message ${sequence} (${value}) was handled twice`);
      seen.add(value);
    }
  }

  /** What another process has done while the registration was not ours is not done again. */
  assertNoTrespass(): void {
    assert.deepEqual(this.trespasses, [], 'handed over, and another process had acknowledged it');
  }

  /** Nothing is handed over any more once it is through. */
  assertNotAgain(): void {
    const handings = new Map<string, number>();
    this.started.forEach(({ value }, i) => handings.set(value, i));
    for (const { value, sequence, after } of this.completed) {
      assert.ok(handings.get(value)! < after, `message ${sequence} (${value}) was handed over when it was through`);
    }
  }

  /** A resume brings what is new, and next to nothing that is through. */
  assertNoHistory(most: number): void {
    for (const repeats of this.repeats) assert.ok(repeats <= most, `a resume brought ${repeats} messages again`);
  }

  assertInOrder(): void {
    let last = -1;
    for (const { value } of this.started) {
      const number = Number(value.slice(1));
      assert.ok(number > last, `${value} came after v${last}`);
      last = number;
    }
  }

  /** What is behind a message that failed has waited for it. */
  assertThroughInOrder(): void {
    const numbers = this.completed.map(({ value }) => Number(value.slice(1)));
    assert.deepEqual(
      numbers,
      [...numbers].sort((a, b) => a - b),
    );
  }

  assertOneAtATime(): void {
    assert.deepEqual(this.#overlapping, [], 'handed over while the handler ran');
  }

  /** What was told to be gone is gone, and not handled, and is told once. */
  assertGapsTrue(): void {
    const handled = new Set(this.completed.map(({ sequence }) => sequence));
    const told = new Set<number>();
    for (const { from, to, retained } of this.gaps) {
      const gap = `gap ${from}..${to}`;
      assert.ok(from <= to && to < retained, `${gap}, first ${retained}`);
      for (let sequence = from; sequence <= to; sequence++) {
        assert.ok(!handled.has(sequence), `${gap}, and ${sequence} was handled`);
        assert.ok(!told.has(sequence), `${gap}, and ${sequence} was told before`);
        told.add(sequence);
      }
    }
  }

  /** Every message that ever came to the handler is through, given up after `maxDeliveries`, or told to be gone. */
  assertFinished(): void {
    this.#assertThrough(new Set(this.started.map(({ value }) => value)), 'begun and not finished');
  }

  /** Every message is through, given up after `maxDeliveries`, or told to be gone. Of a channel that never started over. */
  assertHandledOrTold(): void {
    this.#assertThrough(new Set(this.expected), 'neither handled nor told to be gone');
  }

  #assertThrough(values: ReadonlySet<string>, what: string): void {
    const completed = new Set([...this.completed.map(({ value }) => value), ...this.elsewhere]);
    const told = ({ sequence }: { sequence: number }): boolean =>
      this.gaps.some(({ from, to }) => sequence >= from && sequence <= to);
    const missing = this.server
      .channel()
      .messages.filter((message) => values.has(message.value))
      .filter((message) => !completed.has(message.value) && !this.dead.has(message.value) && !told(message))
      .map(({ value, sequence }) => `${value} (${sequence})`);
    assert.deepEqual(missing, [], what);
  }

  /** What fails for ever is given up, at the `maxDeliveries`th time at the latest; what does not is not. */
  assertBuried(maxDeliveries: number): void {
    for (const [value, handings] of this.handings) {
      assert.ok(handings <= maxDeliveries, `${value} was handed over ${handings} times`);
      const failures = failuresOf(this.#fate(value), ACK_WAIT);
      if (this.dead.has(value)) assert.ok(failures > 0, `${value} never failed and was given up`);
    }
  }
}
