/**
 * A publisher, a cluster that does everything a cluster can do to it, and an onlooker who knows what was promised. The
 * onlooker keeps his own plain account of every message (arrays, scans) and compares at every step.
 */
import assert from 'node:assert/strict';
import {
  AbortedError,
  ClosedError,
  InvalidArgumentError,
  OutboxFullError,
  PayloadTooLargeError,
  PermissionError,
  PublishRejectedError,
  PublishTimeoutError,
  type ResilientStanError,
} from '../../../src/errors.js';
import { Publisher, type PubAck } from '../../../src/publishing/publisher.js';
import { ScriptedSession, type Sending } from '../../support/scripted-session.js';
import { VirtualTime } from '../../support/virtual-time.js';

export const CHANNELS = ['a', 'b', 'c'];
export const ERRORS = [
  { text: 'stan: invalid publish request', kind: 'unregistered', maybeStored: false },
  { text: 'node is not the leader', kind: 'leaderless', maybeStored: false },
  { text: 'stan: channel is being deleted', kind: 'leaderless', maybeStored: false },
  { text: 'leadership lost while committing log', kind: 'leaderless', maybeStored: true },
  { text: 'raft is already shutdown', kind: 'leaderless', maybeStored: true },
  { text: 'too many channels', kind: 'refused', maybeStored: false },
  { text: 'rejecting channel "B" because channel "b" exists', kind: 'refused', maybeStored: false },
  { text: 'rejecting channel "b" because channel "B" exists', kind: 'refused', maybeStored: false },
] as const;

export type Command =
  | { op: 'publish'; channel: number; size: number; timeout: number; signal: number; bytes: boolean }
  | { op: 'attach'; small: boolean }
  /** The session ends; the cluster stores so many of what is on its way; the publisher hears of it now, or later. */
  | { op: 'lose'; stored: number; late: boolean }
  /** The leader takes the next messages: stores and acknowledges them, stores them but the acks get lost, or they get lost. */
  | { op: 'serve' | 'mute' | 'drop'; count: number }
  /** The next message gets stuck, to be answered some time later (a frozen node thaws). */
  | { op: 'delay'; count: number }
  | { op: 'thaw'; error: number; count: number }
  | { op: 'refuse'; error: number; count: number; stored: boolean }
  | { op: 'pause' | 'probe' | 'flush' | 'stop' }
  /** The leader has answered, every question or not. */
  | { op: 'resume'; missed: boolean }
  /** The leader answers questions all along, and the watch looks after what is in flight. */
  | { op: 'calm'; ms: number }
  /** The server that has this channel is down, or up again: what is sent to it goes nowhere. */
  | { op: 'down'; channel: number; down: boolean }
  /** The cluster has no room for this channel, or has again: what is sent to it is refused. */
  | { op: 'over'; channel: number; over: boolean }
  /** The leader takes the next messages in one batch: one that it refuses fails them all. */
  | { op: 'batch'; count: number }
  | { op: 'advance'; ms: number }
  | { op: 'abort'; signal: number }
  | { op: 'deny'; channel: number; ends: boolean; late: boolean }
  /** The next sendings are acknowledged, or end the session, within the call that hands them over. */
  | { op: 'instant'; count: number }
  | { op: 'suddenDeath' };

export interface Plan {
  ordering: 'pipelined' | 'strict';
  whenFull: 'reject' | 'wait';
  maxInFlight: number;
  commands: Command[];
  ending: 'same session' | 'new sessions' | 'close';
}

interface Message {
  id: number;
  channel: string;
  text: string;
  size: number;
  signal: AbortController | undefined;
  publishedAt: number;
  timeout: number | undefined;
  sends: number;
  /** On the session of now: the index of its last sending that was not a probe. */
  lastSend: number;
  inFlight: boolean;
  /** Settled for certain, known before the promise's reactions run. */
  done: boolean;
  /** May have been settled by what just happened; the promise's reactions will tell. */
  limbo: boolean;
  stored: number;
  storedGuids: Set<string>;
  mutedOn: number;
  /** Refusals that may be true of its channel. */
  refusals: number;
  /** At the last of them: for how long its channel, which had acknowledged before, had acknowledged nothing. */
  unbrokenFor: number | undefined;
  /** The error it must be rejected with at once, if any. */
  expected: (new (...args: never[]) => Error) | undefined;
  outcome: { ack: PubAck } | { error: ResilientStanError } | undefined;
}

const MAX_PENDING = 8;
const MAX_PENDING_BYTES = 120;
const ACK_TIMEOUT = 5000;
/** How long a denied channel is not tried again. */
const FORBIDDEN_FOR = 10_000;
/** clientId 'sim', a channel of one letter, IDs, data under 128 bytes. */
const OVERHEAD = 5 + 48 + 3 + 2;
const SMALL_LIMIT = OVERHEAD + 20;
const TOO_MANY = ERRORS.findIndex(({ text }) => text === 'too many channels');
/** How long a message may be held back after a refusal: 400 ms, and a second in which others have their turns. */
const LONGEST_HOLD = 1402;
/** A channel that has acknowledged is believed to refuse after this long. */
const BELIEVED_AFTER = 10_000;

export class Simulation {
  readonly time = new VirtualTime({ start: 1000.25 });
  readonly bugs: Error[] = [];
  readonly publisher: Publisher;
  readonly messages: Message[] = [];
  readonly #plan: Plan;
  #signals = [new AbortController(), new AbortController()];
  /** The order in which messages were stored for the first time, by channel. */
  readonly #stored = new Map<string, number[]>();
  readonly #flushes: { upTo: number; done: boolean }[] = [];

  #session: ScriptedSession | undefined;
  #attached = false;
  /** Of the last session. */
  #maxPayload = Infinity;
  #ordinal = 0;
  /** What is on its way to the leader: indices of sendings. */
  #wire: number[] = [];
  #stuck: number[] = [];
  readonly #onWire = new Map<number, Message>();
  readonly #probeIndices = new Set<number>();
  #probe: number | undefined;
  /** It holds up everything, not only its channel. */
  #probeBlocks = false;
  #probeAsked = false;
  /** Sendings that repeat a message of a channel that nobody acknowledges. */
  readonly #tryIndices = new Set<number>();
  readonly #triedAt = new Map<string, number>();
  #mute = new Set<string>();
  /** Channels that have cost a session by the ack timeout, and were not acknowledged since. */
  readonly #silent = new Set<string>();
  /** When a channel was heard again that had cost a session. */
  readonly #silentUntil = new Map<string, number>();
  readonly #down = new Set<string>();
  readonly #sentAt = new Map<number, number>();
  /** When the latest question was asked that the leader answered. */
  #questionAt = -Infinity;
  #resumedAt = -Infinity;
  #reviewing = false;
  /** The last one was answered with an error, so there may be another. */
  #probeAgain = false;
  #paused = false;
  #stopped = false;
  readonly #deniedAt = new Map<string, number>();
  #lastErrorAt = -Infinity;
  #leaderlessAt = -Infinity;
  readonly #refusedAt = new Map<string, number>();
  readonly #over = new Set<string>();
  /** When a channel was acknowledged last, unless it was given up since. */
  readonly #acknowledgedAt = new Map<string, number>();
  /** Channels of which a message may have been given up since they acknowledged one. */
  readonly #givenUp = new Set<string>();
  #instant = 0;
  #suddenDeath = false;

  constructor(plan: Plan) {
    this.#plan = plan;
    this.publisher = new Publisher({
      clientId: 'sim',
      ordering: plan.ordering,
      whenFull: plan.whenFull,
      maxInFlight: plan.maxInFlight,
      maxPending: MAX_PENDING,
      maxPendingBytes: MAX_PENDING_BYTES,
      ackTimeout: ACK_TIMEOUT,
      clock: this.time.clock,
      onError: (error) => this.bugs.push(error),
    });
  }

  async run(): Promise<void> {
    for (const command of this.#plan.commands) {
      this.#do(command);
      await this.#check();
    }
    await this.#end();
  }

  #do(command: Command): void {
    switch (command.op) {
      case 'publish':
        return this.#publish(command);
      case 'attach':
        return this.#attach(command.small ? SMALL_LIMIT : 1_048_576);
      case 'lose':
        return this.#lose(command.stored, command.late);
      case 'serve':
      case 'mute':
      case 'drop':
        for (let n = 0; n < command.count; n++) this.#take(command.op);
        return;
      case 'delay':
        this.#stuck.push(...this.#wire.splice(0, command.count));
        return;
      case 'thaw':
        for (let n = 0; n < command.count; n++) {
          const index = this.#stuck.shift();
          if (index === undefined) continue;
          if (command.error < 0) this.#serve(index);
          else this.#refuse(index, command.error, false);
        }
        return;
      case 'refuse':
        for (let n = 0; n < command.count; n++) this.#refuse(this.#wire.shift(), command.error, command.stored);
        return;
      case 'over': {
        const channel = CHANNELS[command.channel] as string;
        if (command.over) this.#over.add(channel);
        else this.#over.delete(channel);
        return;
      }
      case 'batch':
        return this.#batch(command.count);
      case 'pause':
        this.publisher.pause();
        this.#paused = this.#attached;
        return;
      case 'resume':
        return this.#resume(command.missed);
      case 'calm':
        return this.#calm(command.ms);
      case 'down': {
        const channel = CHANNELS[command.channel] as string;
        if (command.down) this.#down.add(channel);
        else this.#down.delete(channel);
        return;
      }
      case 'probe': {
        const before = this.#probe;
        this.#probeAsked = true;
        this.#probeBlocks = this.#probing(before) && this.#probeBlocks;
        this.publisher.probe();
        this.#probeAsked = false;
        if (this.#paused || this.#probing(before)) assert.equal(this.#probe, before, 'a probe too many');
        return;
      }
      case 'flush': {
        const flush = { upTo: this.messages.length, done: false };
        this.#flushes.push(flush);
        void this.publisher.flush().then(() => (flush.done = true));
        return;
      }
      case 'stop':
        this.#stopped = true;
        this.publisher.stopIntake();
        return;
      case 'advance':
        return this.time.advance(command.ms);
      case 'abort': {
        const controller = this.#signals[command.signal] as AbortController;
        for (const message of this.messages) if (message.signal === controller) message.done = true;
        this.#signals[command.signal] = new AbortController();
        controller.abort('simulated');
        return;
      }
      case 'deny':
        return this.#deny(CHANNELS[command.channel] as string, command.ends, command.late);
      case 'instant':
        this.#instant = command.count;
        return;
      case 'suddenDeath':
        this.#suddenDeath = true;
        return;
    }
  }

  #publish({ channel, size, timeout, signal, bytes }: Command & { op: 'publish' }): void {
    const id = this.messages.length;
    const text = `${id}`.padEnd(size, '.');
    const controller = this.#signals[signal];
    const message: Message = {
      id,
      channel: CHANNELS[channel] as string,
      text,
      size: text.length,
      signal: controller,
      publishedAt: this.time.now(),
      timeout: timeout === 0 ? undefined : timeout,
      sends: 0,
      lastSend: -1,
      inFlight: false,
      done: false,
      limbo: true,
      stored: 0,
      storedGuids: new Set(),
      mutedOn: 0,
      refusals: 0,
      unbrokenFor: undefined,
      expected: undefined,
      outcome: undefined,
    };
    const { pending, pendingBytes } = this.publisher.stats;
    if (this.#stopped) message.expected = ClosedError;
    else if (message.publishedAt - (this.#deniedAt.get(message.channel) ?? -Infinity) < FORBIDDEN_FOR) {
      message.expected = PermissionError;
    } else if (message.size + OVERHEAD > this.#maxPayload) {
      message.expected = PayloadTooLargeError;
    } else if (message.size > MAX_PENDING_BYTES) message.expected = InvalidArgumentError;
    else if (
      this.#plan.whenFull === 'reject' &&
      (pending >= MAX_PENDING || pendingBytes + message.size > MAX_PENDING_BYTES)
    ) {
      message.expected = OutboxFullError;
    }
    this.messages.push(message);
    const data = bytes ? Buffer.from(text) : text;
    const promise = this.publisher.publish(message.channel, data, {
      timeout: message.timeout,
      signal: controller?.signal,
    });
    if (typeof data !== 'string') data.fill(0);
    const settle = (outcome: Message['outcome']): void => {
      assert.equal(message.outcome, undefined, 'settled twice');
      message.outcome = outcome;
      message.done = true;
      message.inFlight = false;
      if (isRefusal(outcome)) this.#acknowledgedAt.delete(message.channel);
    };
    promise.then(
      (ack) => settle({ ack }),
      (error: unknown) => settle({ error: error as ResilientStanError }),
    );
  }

  #calm(ms: number): void {
    for (let passed = 0; passed < ms; passed += 50) {
      this.time.advance(50);
      if (!this.#attached || this.#paused || this.#session?.alive !== true) continue;
      this.#questionAt = this.time.now() - 1;
      this.publisher.leaderAnswered(this.#questionAt);
      const before = (this.#mute = this.#muteNow());
      const probe = this.#probe;
      this.#reviewing = true;
      if (!this.#probing(probe)) this.#probeBlocks = false;
      this.publisher.review(150);
      this.#reviewing = false;
      for (const channel of this.#muteNow()) {
        if (before.has(channel)) continue;
        this.#mute.add(channel);
        const probedAt = this.#sentAt.get(probe ?? -1) ?? Infinity;
        assert.ok(this.time.now() - probedAt >= 1000, `channel ${channel} was given up too early`);
        this.#triedAt.set(channel, this.time.now());
      }
    }
  }

  #muteNow(): Set<string> {
    return new Set(this.publisher.unacknowledged.map(({ channel }) => channel));
  }

  /** In the window: in flight, and not of a channel that nobody acknowledges. */
  #inWindow(): Message[] {
    const mute = this.#muteNow();
    return this.messages.filter((message) => this.#staysInFlight(message) && !mute.has(message.channel));
  }

  #attach(maxPayload: number): void {
    this.#lose(0, true);
    this.#detached();
    const session = new ScriptedSession(++this.#ordinal, maxPayload);
    session.onPublish = (sending) => this.#sent(session, sending);
    session.onLoss = () => {
      const [loss] = session.losses;
      const silent = /channel '(.)'/.exec(loss?.message ?? '')?.[1];
      if (loss?.reason === 'ack_timeout' && silent !== undefined) {
        assert.ok(!this.#silent.has(silent), 'a channel cost a second session');
        this.#silent.add(silent);
      }
      this.#ended(0, loss?.reason !== 'ack_timeout');
    };
    this.#session = session;
    this.#attached = true;
    this.#maxPayload = maxPayload;
    this.publisher.attach(session);
  }

  /** Every handing over comes by here. */
  #sent(session: ScriptedSession, { channel, text }: Sending): void {
    const now = this.time.now();
    const message = this.messages[parseInt(text, 10)] as Message;
    const index = session.sendings.length - 1;
    assert.ok(session === this.#session && session.alive, 'handed to a session that is not there');
    assert.ok(!this.#paused, 'handed over while paused');
    assert.deepEqual([channel, text], [message.channel, message.text], 'not what was published');
    assert.ok(!message.done, `message ${message.id} was handed over after it was settled`);
    assert.ok(!this.#expired(message), `message ${message.id} was handed over after its timeout`);
    message.sends++;
    if (!this.#down.has(channel)) this.#wire.push(index);
    this.#onWire.set(index, message);
    this.#sentAt.set(index, now);
    const mute = this.#muteNow();
    // A probe is over when its channel, and with it what was sent before, is given up.
    if (this.#reviewing && [...mute].some((other) => !this.#mute.has(other))) this.#probe = undefined;
    const older = this.messages.filter(
      (other) => other.lastSend < message.lastSend && this.#staysInFlight(other) && other !== message,
    );
    if (mute.has(channel)) {
      const theirs = this.messages.filter((other) => other.channel === channel);
      this.#triedAt.set(channel, now);
      if (message.inFlight) {
        assert.deepEqual(
          older.filter((other) => other.channel === channel),
          [],
          'the oldest of a channel is tried',
        );
        this.#tryIndices.add(index);
      } else {
        assert.ok(!theirs.some((other) => this.#staysInFlight(other)), 'something new of a channel that is mute');
        this.#checkTurn(message, now);
        message.inFlight = true;
        message.lastSend = index;
      }
    } else if (message.inFlight) {
      assert.deepEqual(
        older.filter((other) => !mute.has(other.channel)),
        [],
        'a probe is the oldest in flight',
      );
      assert.ok(this.#probeAsked || this.#probeAgain || this.#reviewing, 'a probe that nobody asked for');
      this.#probeAgain = false;
      this.#probeIndices.add(index);
      this.#probe = index;
    } else {
      assert.ok(
        !this.#probing(this.#probe) || (!this.#probeBlocks && !this.#probed(channel)),
        'handed over while a probe is under way',
      );
      const window = this.#inWindow();
      assert.ok(!this.#probeAgain || window.length === 0, 'a new probe is due first');
      const certain = window.filter(({ limbo }) => !limbo);
      assert.ok(certain.length < this.#plan.maxInFlight, 'over its window');
      this.#probeAgain = false;
      this.#checkTurn(message, now);
      message.inFlight = true;
      message.lastSend = index;
    }
    if (this.#instant > 0) {
      this.#instant--;
      const [first] = this.#wire;
      if (first !== undefined && !this.#over.has(this.#onWire.get(first)?.channel ?? '')) this.#take('serve');
    }
    if (this.#suddenDeath) {
      this.#suddenDeath = false;
      if (this.#session?.alive) this.#lose(1, message.id % 2 === 0);
    }
  }

  #checkTurn(message: Message, now: number): void {
    for (const earlier of this.messages.slice(0, message.id)) {
      if (earlier.done || earlier.limbo || this.#expiring(earlier)) continue;
      if (earlier.size + OVERHEAD > this.#maxPayload) continue;
      // It may have been given up with another one of its channel.
      if (earlier.sends === 0 && this.#givenUp.has(earlier.channel)) continue;
      if (this.#plan.ordering === 'strict') {
        assert.notEqual(earlier.channel, message.channel, `message ${message.id} overtook ${earlier.id}`);
      } else {
        const heldUp =
          earlier.channel !== message.channel &&
          (now <= (this.#refusedAt.get(earlier.channel) ?? -Infinity) + LONGEST_HOLD ||
            this.#muteNow().has(earlier.channel) ||
            this.#muteNow().has(message.channel) ||
            (this.#probing(this.#probe) && this.#probed(earlier.channel)));
        assert.ok(earlier.inFlight || heldUp, `message ${message.id} overtook ${earlier.id}, which was not in flight`);
      }
    }
  }

  /** The leader takes the next message from the wire. */
  #take(how: 'serve' | 'mute' | 'drop'): void {
    const index = this.#wire.shift();
    if (index === undefined || this.#session?.alive !== true) return;
    const message = this.#onWire.get(index) as Message;
    if (how === 'drop') return;
    if (this.#over.has(message.channel)) return this.#refuse(index, TOO_MANY, false);
    this.#store(message, index);
    if (how === 'mute') {
      message.mutedOn = this.#ordinal;
      return;
    }
    this.#acknowledge(message, index);
  }

  #batch(count: number): void {
    const batch = this.#wire.splice(0, count);
    const refused = batch.some((index) => this.#over.has(this.#onWire.get(index)?.channel ?? ''));
    for (const index of batch) {
      if (refused) this.#refuse(index, TOO_MANY, false);
      else this.#serve(index);
    }
  }

  /** One that was stuck is stored and acknowledged after all. */
  #serve(index: number): void {
    const message = this.#onWire.get(index);
    if (message === undefined || this.#session?.alive !== true) return;
    // Of what was given up nobody promised anything, in particular not its order.
    if (!message.done) this.#store(message, index);
    if (this.#session.sendings[index]?.forgotten !== true) this.#acknowledge(message, index);
  }

  #acknowledge(message: Message, index: number): void {
    message.done = true;
    // Until the next question nobody has had an occasion to find it overdue.
    if (this.#silent.delete(message.channel)) this.#silentUntil.set(message.channel, this.time.now());
    this.#givenUp.delete(message.channel);
    this.#acknowledgedAt.set(message.channel, this.time.now());
    const probe = this.#probeIndices.has(index);
    if (probe || this.#tryIndices.has(index)) {
      // What was sent before is lost, and goes back to its place. Of other channels that are mute, and by a try of one of any
      // other channel, nothing is learned.
      const mute = this.#muteNow();
      for (const other of this.messages) {
        if (!this.#isInFlight(other) || other.lastSend >= index) continue;
        if (other.channel === message.channel || (probe && !mute.has(other.channel))) other.inFlight = false;
      }
      if (this.#probe === index) this.#probe = undefined;
    }
    this.#session?.answer(index);
  }

  #refuse(index: number | undefined, which: number, stored: boolean): void {
    if (index === undefined || this.#session?.alive !== true) return;
    const { text, kind, maybeStored } = ERRORS[which] as (typeof ERRORS)[number];
    const message = this.#onWire.get(index) as Message;
    if (maybeStored && stored) this.#store(message, index);
    if (this.#session.sendings[index]?.forgotten === true) return;
    this.#lastErrorAt = this.time.now();
    const probed =
      this.#probing(this.#probe) &&
      this.#probe !== undefined &&
      this.#onWire.get(this.#probe) === message &&
      this.#probe !== index;
    if (this.#probe === index) {
      this.#probeAgain = this.#probing(index);
      this.#probe = undefined;
    }
    if (
      kind === 'refused' &&
      !(text.startsWith('rejecting') && !text.startsWith(`rejecting channel "${message.channel}"`))
    ) {
      const acknowledgedAt = this.#acknowledgedAt.get(message.channel);
      const named = text.startsWith('rejecting');
      message.unbrokenFor = acknowledgedAt === undefined || named ? undefined : this.time.now() - acknowledgedAt;
      if (++message.refusals >= 4) this.#givenUp.add(message.channel);
    }
    if (kind === 'unregistered') message.limbo = true;
    else if (this.#isInFlight(message) && !probed && message.lastSend <= index) {
      message.inFlight = false;
      if (kind === 'refused') {
        message.limbo = true;
        this.#refusedAt.set(message.channel, this.time.now());
      }
    }
    this.#session.answer(index, text);
    if (kind === 'leaderless') this.#leaderlessAt = this.time.now();
    // With nothing in the window there is nothing to probe, and it is not made up for later.
    const held = this.time.now() <= this.#leaderlessAt + 1002;
    if (this.#probeAgain && !held && !this.#paused && this.#inWindow().length === 0) this.#probeAgain = false;
  }

  #store(message: Message, index: number): void {
    if (message.stored++ === 0) {
      const order = this.#stored.get(message.channel) ?? [];
      this.#stored.set(message.channel, order);
      order.push(message.id);
    }
    message.storedGuids.add(`guid-${this.#ordinal}-${index}`);
  }

  #resume(missed: boolean): void {
    const mayProbe = this.#paused && this.#session?.alive === true;
    const { sendings = [] } = this.#session ?? {};
    const before = sendings.length;
    const due = missed && this.#inWindow().length > 0;
    const again = this.#probeAgain;
    if (mayProbe) {
      this.#resumedAt = this.time.now();
      if (due) this.#probeBlocks = true;
    }
    this.#paused = false;
    this.#probeAsked = true;
    this.publisher.resume(missed);
    this.#probeAsked = false;
    if (mayProbe && due && !this.#attached) return;
    if (mayProbe && due) {
      assert.ok(sendings.length > before, 'resume() sends a probe when something is in flight');
      assert.ok(this.#probeIndices.has(before), 'and the probe goes first');
    } else if (this.#session?.alive === true && !again) {
      assert.ok(
        [...this.#probeIndices].every((index) => index < before),
        'a probe too many',
      );
    }
  }

  #lose(stored: number, late: boolean): void {
    if (this.#session?.alive === true) {
      this.#session.alive = false;
      this.#ended(stored, !late);
    } else if (!late && this.#attached) {
      this.#detached();
      this.publisher.detach();
    }
  }

  /** The session has ended. Some of what was on its way is stored nevertheless; then a take-over fences the rest off. */
  #ended(stored: number, tell: boolean): void {
    for (const index of this.#wire.splice(0).slice(0, stored)) this.#store(this.#onWire.get(index) as Message, index);
    this.#session = undefined;
    if (tell) {
      this.#detached();
      this.publisher.detach();
    }
  }

  #detached(): void {
    this.#attached = false;
    this.#paused = false;
    this.#probe = undefined;
    this.#probeBlocks = false;
    this.#tryIndices.clear();
    this.#triedAt.clear();
    this.#mute.clear();
    this.#sentAt.clear();
    this.#questionAt = -Infinity;
    this.#probeAgain = false;
    this.#probeIndices.clear();
    this.#onWire.clear();
    this.#stuck = [];
    this.#refusedAt.clear();
    this.#lastErrorAt = -Infinity;
    this.#leaderlessAt = -Infinity;
    for (const message of this.messages) message.inFlight = false;
  }

  /** The server denies the channel, and the session may end over it, before or after the publisher is told. */
  #deny(channel: string, ends: boolean, late: boolean): void {
    if (this.#session?.alive !== true) return;
    const theirs = this.messages.filter((message) => message.channel === channel && !message.done);
    // Permissions that change while an ack is lost are beyond what anybody can tell.
    if (theirs.some((message) => message.mutedOn === this.#ordinal)) return;
    this.#wire = this.#wire.filter((index) => this.#onWire.get(index)?.channel !== channel);
    this.#stuck = this.#stuck.filter((index) => this.#onWire.get(index)?.channel !== channel);
    if (ends) this.#lose(1, late);
    for (const message of theirs) message.done = true;
    const error = new PermissionError(`_STAN.pub.x.${channel}`, 'denied', { delivery: 'rejected' });
    this.#deniedAt.set(channel, this.time.now());
    this.publisher.denyChannel(channel, error);
  }

  #isInFlight(message: Message): boolean {
    return message.inFlight && !message.done;
  }

  #probing(probe: number | undefined): boolean {
    return probe !== undefined && this.#inWindow().some((message) => message.lastSend < probe);
  }

  /** The probe is of this channel. */
  #probed(channel: string): boolean {
    return this.#probe !== undefined && this.#onWire.get(this.#probe)?.channel === channel;
  }

  #staysInFlight(message: Message): boolean {
    return this.#isInFlight(message) && !this.#expiring(message);
  }

  #expired({ publishedAt, timeout }: Message): boolean {
    return timeout !== undefined && this.time.now() > publishedAt + timeout + 1.01;
  }

  #expiring({ publishedAt, timeout }: Message): boolean {
    return timeout !== undefined && this.time.now() >= publishedAt + timeout;
  }

  async #check(): Promise<void> {
    for (let turn = 0; turn < 6; turn++) await Promise.resolve();
    const { messages } = this;
    if (this.bugs.length > 0) throw this.bugs[0] as Error;
    for (const message of messages) {
      message.limbo = false;
      if (message.expected !== undefined) {
        assert.ok(message.outcome !== undefined && 'error' in message.outcome, 'not rejected at once');
        assert.ok(message.outcome.error instanceof message.expected, `${message.outcome.error.name} is not expected`);
        message.expected = undefined;
      }
      assert.ok(
        !message.done || message.outcome !== undefined,
        `message ${message.id} is done, and its promise is not`,
      );
      assert.ok(
        message.outcome !== undefined || !this.#expired(message),
        `message ${message.id} is beyond its timeout`,
      );
    }
    for (const flush of this.#flushes) {
      const open = messages.slice(0, flush.upTo).some(({ outcome }) => outcome === undefined);
      assert.equal(flush.done, !open, 'flush() resolves when all before it are settled, and only then');
    }
    this.#checkStats();
    this.#checkProgress();
    this.#checkMute();
    if (this.#session?.alive === true) {
      const now = this.time.now();
      const { oldestOwed } = this.#session;
      const window = this.#inWindow();
      assert.equal(oldestOwed !== undefined, this.#attached && window.length > 0);
      if (!this.#probing(this.#probe)) this.#probe = undefined;
      for (const { channel, lastSend } of window) {
        const sentAt = this.#sentAt.get(lastSend) ?? Infinity;
        const silentUntil = this.#silentUntil.get(channel) ?? -Infinity;
        if (this.#silent.has(channel) || this.#questionAt <= Math.max(sentAt, this.#resumedAt, silentUntil)) continue;
        const oldest = window.every((other) => other.lastSend >= lastSend);
        assert.ok(!oldest || now - sentAt <= ACK_TIMEOUT + 51, 'beyond the ack timeout');
      }
    }
  }

  #checkStats(): void {
    const { messages } = this;
    const stats = this.publisher.stats;
    const open = messages.filter(({ outcome }) => outcome === undefined);
    const inFlight = messages.filter((message) => this.#isInFlight(message));
    assert.equal(stats.published, messages.length);
    assert.equal(stats.acknowledged, messages.filter(({ outcome }) => outcome && 'ack' in outcome).length);
    assert.equal(stats.rejected, messages.filter(({ outcome }) => outcome && 'error' in outcome).length);
    assert.equal(
      stats.resent,
      messages.reduce((sum, { sends }) => sum + Math.max(0, sends - 1), 0),
    );
    assert.equal(stats.pending + stats.waiting, open.length);
    assert.ok(stats.pending <= MAX_PENDING && stats.pendingBytes <= MAX_PENDING_BYTES, 'over its bounds');
    assert.ok(stats.waiting === 0 || this.#plan.whenFull === 'wait');
    const admitted = open.slice(0, stats.pending);
    assert.equal(
      stats.pendingBytes,
      admitted.reduce((sum, { size }) => sum + size, 0),
      'room is given in turn',
    );
    const next = open[stats.pending];
    assert.ok(
      next === undefined || stats.pending === MAX_PENDING || stats.pendingBytes + next.size > MAX_PENDING_BYTES,
      'waits although there is room',
    );
    assert.equal(stats.inFlight, inFlight.length);
    if (this.#plan.ordering === 'strict') {
      assert.equal(new Set(inFlight.map(({ channel }) => channel)).size, inFlight.length, 'two of a channel in flight');
    }
  }

  /** A channel is given up by a review only, and what is given up is tried again. */
  #checkMute(): void {
    const mute = this.#muteNow();
    if (this.#session?.alive !== true || !this.#attached) {
      this.#mute = mute;
      return;
    }
    for (const channel of mute) {
      assert.ok(this.#mute.has(channel), `channel ${channel} was given up for no reason`);
      assert.ok(
        this.#paused || this.time.now() - (this.#triedAt.get(channel) ?? -Infinity) <= 5051,
        `channel ${channel} is not tried again`,
      );
    }
    this.#mute = mute;
  }

  /** Nothing waits that could be sent. */
  #checkProgress(): void {
    const { pending } = this.publisher.stats;
    const inFlight = this.#inWindow().length;
    const probing = this.#probing(this.#probe);
    if (this.#session?.alive !== true || this.#paused || (probing && this.#probeBlocks)) return;
    assert.ok(
      !this.#probeAgain || inFlight === 0 || this.time.now() <= this.#lastErrorAt + LONGEST_HOLD,
      'no new probe',
    );
    if (inFlight >= this.#plan.maxInFlight || this.time.now() <= this.#lastErrorAt + LONGEST_HOLD) return;
    const admitted = this.messages.filter(({ outcome }) => outcome === undefined).slice(0, pending);
    const mute = this.#muteNow();
    for (const message of admitted) {
      if (mute.has(message.channel) || (probing && this.#probed(message.channel))) continue;
      const busy =
        this.#plan.ordering === 'strict'
          ? admitted.some((other) => other.channel === message.channel && this.#isInFlight(other))
          : this.#isInFlight(message);
      assert.ok(busy, `message ${message.id} could be sent`);
    }
  }

  async #end(): Promise<void> {
    const { publisher } = this;
    this.#down.clear();
    if (this.#plan.ending !== 'close') {
      for (let round = 0; publisher.stats.pending + publisher.stats.waiting > 0; round++) {
        assert.ok(round < 100, 'it does not come to an end');
        if (this.#session?.alive !== true || (this.#plan.ending === 'new sessions' && round % 3 === 0)) {
          this.#lose(1, false);
          this.#attach(1_048_576);
        } else if (this.#session.oldestOwed !== undefined) {
          // What the judge of liveness does when an answer is overdue.
          this.#do({ op: 'pause' });
        }
        await this.#check();
        this.#resume(round % 4 === 1);
        for (let taken = 0; taken < 50; taken++) this.#take('serve');
        await this.#check();
        this.#calm(600);
        await this.#check();
      }
    }
    this.publisher.rejectAll(new ClosedError('the end'));
    this.#lose(0, true);
    this.#detached();
    for (const message of this.messages) if (message.outcome === undefined) message.done = true;
    await this.#check();
    assert.equal(this.time.armed, 0, 'a timer is left');
    for (const message of this.messages) this.#verdict(message);
    if (this.#plan.ordering === 'strict') {
      for (const order of this.#stored.values()) {
        assert.deepEqual(
          order,
          [...order].sort((a, b) => a - b),
          'stored out of order',
        );
      }
    }
  }

  #verdict({ id, outcome, sends, refusals, unbrokenFor, stored, storedGuids, timeout, signal, size }: Message): void {
    assert.ok(outcome !== undefined, `message ${id} is not settled`);
    if ('ack' in outcome) {
      assert.ok(storedGuids.has(outcome.ack.guid), `message ${id} was acknowledged and is not stored`);
      assert.equal(outcome.ack.attempts, sends);
      return;
    }
    const { error } = outcome;
    if (error.delivery === 'not-sent') assert.equal(sends, 0, `message ${id} was sent`);
    else if (error.delivery === 'rejected') assert.equal(stored, 0, `message ${id} is stored, and was called rejected`);
    else {
      assert.equal(error.delivery, 'unknown');
      assert.ok(sends > 0, `message ${id} was never sent, and that is known`);
    }
    if (error instanceof PublishTimeoutError) assert.ok(timeout !== undefined);
    else if (error instanceof AbortedError) assert.ok(signal !== undefined);
    else if (error instanceof PayloadTooLargeError) assert.ok(size > SMALL_LIMIT - OVERHEAD);
    else if (isRefusal(outcome)) {
      // Or it waited while another one was refused four times.
      assert.ok(refusals >= 4 || sends === 0, `message ${id} was given up after ${refusals} refusals`);
      assert.ok(
        unbrokenFor === undefined || unbrokenFor >= BELIEVED_AFTER,
        `message ${id}: its channel had acknowledged`,
      );
    } else if (error instanceof PublishRejectedError) assert.ok(sends > 0);
    else if (this.#plan.ending !== 'close') assert.ok(!(error instanceof ClosedError) || this.#stopped);
  }
}

/** Given up for the cluster's refusals. */
function isRefusal(outcome: Message['outcome']): boolean {
  return outcome !== undefined && 'error' in outcome && /"(too many channels|rejecting )/.test(outcome.error.message);
}
