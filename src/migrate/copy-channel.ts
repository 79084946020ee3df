/**
 * Copies one channel into its stream. What the stream has is the only checkpoint: a copy that is killed anywhere goes on behind
 * the last message of the stream, and of two copies at once each stores what the other one has not stored yet.
 */
import type { StreamInfo } from '@nats-io/jetstream';
import type { Clock } from '../clock/clock.js';
import { every, pause } from '../clock/pause.js';
import { describe } from '../errors.js';
import type { StanMessage } from '../subscribing/message.js';
import type { ResilientSubscription } from '../subscribing/subscription.js';
import { isRefusal, NO_ROOM } from './api-errors.js';
import { anchorFault, firstForeign, foreignMessage, inconsistency, isCopy, isCopyOf, overtaken } from './anchor.js';
import { Chain, isOutOfPlace, verdictOf, type Answer, type Window } from './chain.js';
import { MigrationTargetError } from './errors.js';
import { GRACE } from './interruptible.js';
import { doorOf, hasFence, importSubject } from './fence.js';
import { streamName } from './names.js';
import { CopiedMessage, Pipeline } from './pipeline.js';
import type { Problem } from './report.js';
import type { Slots } from './slots.js';
import type { Source } from './source.js';
import { HEADER_BYTES } from './stan-headers.js';
import { hasEntrance, importEntrance, makeStream, streamConfig, type StreamSettings } from './stream.js';
import { isCut } from './stream-note.js';
import { isDenied, type Target } from './target.js';

/** Below the limit at which servers from 2.11 on refuse what waits in their memory, which is 10 000 messages. */
const WINDOW: Window = { messages: 2048, bytes: 8 * 1024 * 1024 };
/** Bytes that STAN may send before the first message is acknowledged. */
const READ_AHEAD = 4 * 1024 * 1024;
const MIN_IN_FLIGHT = 16;
const MAX_IN_FLIGHT = 1024;
/** How long an answer of the target may take, in ms. */
const PATIENCE = 5000;
/** How often it is looked whether answers are overdue, in ms. */
const WATCH = 250;
/** For how long nothing goes on until it is said, in ms. */
const SILENCE = 2000;
/** The longest wait before the target is asked again, in ms. */
const MAX_WAIT = 2000;
/** How often in a row the target may refuse without anything stored between. */
const MAX_REFUSALS = 10;

/** What to do when the disk or a limit of the server is full. It has to be restarted to notice that there is room again. */
const ROOM = '. Give JetStream more room there, restart that server, and run this again';

/** What copies of several channels have in common. */
export interface CopyContext {
  readonly source: Source;
  readonly target: Target;
  readonly clock: Clock;
  readonly clusterId: string;
  readonly settings: StreamSettings;
  readonly follow: boolean;
  /** Those that look at both sides. */
  readonly placing: Slots;
  /** Whether the copy was told to stop. */
  readonly stopping: () => boolean;
  /** Hears why nothing can be copied at the moment, and undefined when it goes on. */
  readonly onWaiting: (channel: string, reason: string | undefined) => void;
  /** Hears of each message that this copy finds stored: its number, and its size in bytes. */
  readonly onStored: (channel: string, sequence: number, bytes: number) => void;
  /** Hears up to which message a stream has copies at the beginning. */
  readonly onPlaced: (channel: string, sequence: number) => void;
  /** The newest message of a channel, as far as it is known. */
  readonly newest: (channel: string) => number;
}

/** `cut`: the channel is cut, and what still reaches STAN is the business of the cut. */
type Ending = 'done' | 'again' | 'cut' | Problem;

export class ChannelCopier {
  readonly channel: string;
  readonly stream: string;
  readonly #context: CopyContext;
  /** Up to here it is copied, when it does not follow. */
  #to: number | undefined;
  /** The size of a message in STAN, in bytes, on average. */
  #average = 0;
  /** Messages of the stream up to this one are ours. */
  stored = 0;
  /** The first message of the stream. */
  first = 0;
  /** Whether native publishers are kept out of the stream. */
  fenced = false;
  /** Whether it has ended because the channel is cut. */
  cut = false;
  /** Messages that this copy has stored. */
  copied = 0;
  copiedBytes = 0;
  #pipeline: Pipeline | undefined;
  #chain: Chain<CopiedMessage> | undefined;
  #subscription: ResilientSubscription | undefined;
  #end: ((ending: Ending) => void) | undefined;
  #room: (() => void) | undefined;
  /** When the target has last answered, or the oldest message without an answer was sent, in ms of the clock. */
  #heard = 0;
  /** Since when nothing was stored, or there was nothing to store, in ms of the clock. */
  #idleSince = 0;
  #isSilent = false;
  /** How often somebody has changed the stream. */
  #changes = 0;
  #rereading = false;
  #refusals = 0;
  /** Whether the stream had no message when this run began. */
  #isEmpty = false;
  #onCaughtUp: (() => void) | undefined;
  #stopped = false;

  constructor(context: CopyContext, channel: string) {
    this.#context = context;
    this.channel = channel;
    this.stream = streamName(channel);
  }

  /**
   * Copies until all that was there at the call is stored, or with `follow` until it is stopped.
   * @param onCaughtUp is called once, when all that was there at the call is stored
   * @returns what has kept it from that
   */
  async run(onCaughtUp: () => void = () => undefined): Promise<Problem | undefined> {
    this.#onCaughtUp = onCaughtUp;
    const { target } = this.#context;
    this.#pipeline = new Pipeline(target, (sequence, answer) => this.#answered(sequence, answer));
    try {
      for (let attempt = 0; ; attempt++) {
        // Another copy is at work, or the stream has lost its end: let it get ahead.
        if (attempt > 0) await this.#sleep(Math.min(MAX_WAIT, 50 * 2 ** Math.min(attempt, 5)) * (0.5 + Math.random()));
        if (this.#isStopping) return undefined;
        const changes = this.#changes;
        const placed = await this.#patiently(() => this.#context.placing.run(() => this.#place()));
        if (placed === undefined) return undefined;
        const before = this.copied;
        const ending = typeof placed === 'number' ? await this.#copyFrom(placed, changes) : placed;
        if (ending === 'cut') this.cut = true;
        if (ending === 'done' || ending === 'cut') return undefined;
        if (ending !== 'again') return ending;
        if (this.copied > before) attempt = 0;
      }
    } catch (error) {
      // What JetStream refuses to one channel may be allowed to others.
      if (target.isClosed || (!isRefusal(error) && !isDenied(error))) throw error;
      return this.#problem(
        'refused',
        `JetStream refuses what the copy of channel '${this.channel}' into stream '${this.stream}' needs: ${describe(error)}. Allow it, and ` +
          'run this again',
      );
    } finally {
      this.#pipeline.close();
      await this.#subscription?.close().catch(() => undefined);
    }
  }

  /** Ends a copy that follows. What is on its way is waited for. */
  stop(): void {
    this.#stopped = true;
    if (this.#chain === undefined) return;
    if (this.#chain.stored === this.#chain.taken) this.#end?.('done');
  }

  /** Whether STAN has sent something of which nobody knows whether it is stored. */
  get owes(): boolean {
    return this.#chain !== undefined && this.#chain.taken > this.#chain.stored;
  }

  get #isStopping(): boolean {
    return this.#stopped || this.#context.stopping();
  }

  // ── where to begin ────────────────────────────────────────────────────────────────────────────────────────────────

  /** Sees anew how things stand, because somebody has changed the stream. */
  changed(): void {
    this.#changes++;
    this.#finish('again');
  }

  /** Finds or makes the stream. Returns the last number of it, of which all up to it are copies; or why nothing is copied. */
  async #place(): Promise<number | 'cut' | Problem> {
    const { source, target, follow } = this.#context;
    let info = await (this.stored > 0 ? target.knownStream(this.stream) : target.stream(this.stream));
    if (info === undefined && this.stored > 0) return this.#lost();
    const figures = await source.channel(this.channel);
    if (figures === undefined) return this.#gone(info);
    const unusable = inconsistency(figures);
    if (unusable !== undefined) return this.#problem('inconsistent-monitoring', unusable);
    const first = figures.messages === 0 ? figures.last + 1 : figures.first;
    this.#to ??= figures.last;
    this.#average = figures.messages === 0 ? 0 : figures.bytes / figures.messages;
    if (info === undefined) {
      const { clusterId, settings } = this.#context;
      const config = streamConfig(target, clusterId, this.channel, figures.limits, settings, first);
      const made = await makeStream(target, config);
      if (typeof made === 'string') return this.#problem('stream', made);
      info = made;
    }
    if (follow && isCut(info.config)) return 'cut';
    const closed = this.#entranceFault(info);
    if (closed !== undefined) return closed;
    this.fenced = await this.#isFenced(info);
    this.#pipeline!.subject = this.fenced ? importSubject(this.channel) : this.channel;
    const fault = await anchorFault(source, target, this.stream, figures, info);
    if (fault !== undefined) {
      // What is copied remains so.
      if (fault.code === 'retention') this.stored = info.state.last_seq;
      return fault;
    }
    const { messages } = info.state;
    this.#isEmpty = messages === 0;
    let last = info.state.last_seq;
    if (messages === 0 && last < first - 1) {
      // A stream without messages has nothing to lose, and begins where the channel begins.
      await target.manager.streams.purge(this.stream, { seq: first });
      last = first - 1;
      this.first = first;
    } else this.first = Math.max(info.state.first_seq, last === 0 ? first : 0);
    this.stored = last;
    this.#context.onPlaced(this.channel, last);
    return last;
  }

  /**
   * Whether native publishers are kept out of the stream.
   * @throws MigrationTargetError when the copy itself does not get in
   */
  async #isFenced({ config }: StreamInfo): Promise<boolean> {
    const { target } = this.#context;
    const door = await doorOf(target, this.channel);
    // A stream with a fence of its own is reached by the copy's subject only: on the channel's name another stream may listen.
    if (door !== 'closed') return door === 'shut' || hasFence(config, this.channel);
    throw new MigrationTargetError(
      `nobody takes messages for stream '${this.stream}' at ${target.connection.getServer()}: its servers are away, or elect a leader; ` +
        'or, in place, this server has one of the two lines of the mappings only',
    );
  }

  // ── one run: read STAN, publish ───────────────────────────────────────────────────────────────────────────────────

  /**
   * @param last the last number of the stream
   * @param changes how often the stream was changed before that was asked
   */
  async #copyFrom(last: number, changes: number): Promise<Ending> {
    const { source, follow } = this.#context;
    const chain = new Chain<CopiedMessage>(last, WINDOW, ({ sequence, data }) => {
      this.copied++;
      this.copiedBytes += data.length;
      this.#context.onStored(this.channel, sequence, data.length);
    });
    this.#chain = chain;
    this.#rereading = false;
    this.#pipeline!.newRun();
    this.#refusals = 0;
    if (last >= this.#to!) {
      this.#caughtUp();
      if (!follow) return 'done';
    }
    const ahead = Math.round(READ_AHEAD / Math.max(1, this.#average));
    const maxInFlight = Math.min(MAX_IN_FLIGHT, Math.max(MIN_IN_FLIGHT, ahead));
    const stan = await source.stan();
    const ended = new Promise<Ending>((resolve) => (this.#end = resolve));
    if (this.#changes !== changes) this.#finish('again');
    this.#heard = this.#context.clock.now();
    this.#idleSince = this.#heard;
    const unwatch = every(this.#context.clock, WATCH, () => this.#watch());
    // Behind a new session there may be a STAN that began anew, under the same numbers. No message of it has come yet.
    const anew = (): void => this.#finish('again');
    stan.on('session', anew);
    try {
      const subscription = await stan.subscribe(this.channel, (message) => this.#take(message), {
        startAt: { sequence: last + 1 },
        maxInFlight,
      });
      this.#subscription = subscription;
      subscription.on('reset', anew);
      subscription.on('closed', () => {
        if (!this.#isStopping) {
          this.#finish(this.#problem('source-lost', 'the connection to STAN is closed: run this again'));
        } else if (this.owes) void this.#sleep(GRACE).then(() => this.#isAtWork(chain) && this.#finish('done'));
        else this.#finish('done');
      });
      if (this.#isStopping && chain.stored === chain.taken) this.#finish('done');
      return await ended;
    } finally {
      unwatch();
      stan.off('session', anew);
      this.#end = undefined;
      this.#room?.();
      this.#room = undefined;
      const subscription = this.#subscription;
      this.#subscription = undefined;
      await subscription?.close().catch(() => undefined);
    }
  }

  #finish(ending: Ending): void {
    this.#chain?.stop();
    this.#pipeline?.newRun();
    this.#end?.(ending);
  }

  /** Takes a message of STAN. Returns a promise when the next one has to wait. */
  #take(message: StanMessage): void | Promise<void> {
    const chain = this.#chain!;
    const { sequence } = message;
    if (this.#end === undefined || sequence <= chain.taken || this.#isStopping) return;
    if (sequence > chain.taken + 1) {
      const { taken } = chain;
      if (this.#isEmpty && taken === chain.stored) return this.#beginWith(message);
      // What is on its way is stored first, so that the stream ends where the gap begins.
      return this.#settled(chain).then((settled) => {
        if (settled) this.#finish(overtaken(this.channel, this.stream, taken + 1, sequence - 1));
      });
    }
    if (!this.#context.follow && sequence > this.#to!) return;
    chain.take(new CopiedMessage(message));
    this.#pump();
    if (!chain.hasRoom) return new Promise((resolve) => (this.#room = resolve));
  }

  /**
   * Begins with another message than the one that was the first when the run began, because the limits of the channel have dropped
   * that one. The stream has nothing yet, so nothing is left out.
   */
  async #beginWith(message: StanMessage): Promise<void> {
    const { target } = this.#context;
    const chain = this.#chain!;
    const last = message.sequence - 1;
    try {
      const info = await target.stream(this.stream);
      if (info?.state.messages !== 0) return this.#finish('again');
      if (info.state.last_seq < last) await target.manager.streams.purge(this.stream, { seq: message.sequence });
    } catch {
      return this.#finish('again');
    }
    if (!this.#isAtWork(chain)) return;
    chain.beginBehind(last);
    this.first = message.sequence;
    this.stored = last;
    this.#isEmpty = false;
    await this.#take(message);
  }

  #pump(): void {
    const chain = this.#chain!;
    if (this.#rereading) return;
    for (let send = chain.next(); send !== undefined; send = chain.next()) {
      if (chain.unanswered === 1) this.#heard = this.#context.clock.now();
      try {
        this.#pipeline!.send(send.link, send.chained);
      } catch (error) {
        this.#tooLarge(send.link, describe(error));
        return;
      }
    }
  }

  #answered(sequence: number, answer: Answer): void {
    const chain = this.#chain!;
    if (this.#end === undefined) return;
    this.#heard = this.#context.clock.now();
    switch (verdictOf(sequence, answer)) {
      case 'stored':
        chain.storedAt(sequence);
        this.#refusals = 0;
        this.#storedMore(chain);
        this.#pump();
        return;
      case 'hopeless':
        this.#tooLarge(chain.link(sequence), 'text' in answer ? answer.text : '');
        return;
      case 'reread':
        this.#reread(answer);
    }
  }

  #storedMore(chain: Chain<CopiedMessage>): void {
    this.stored = chain.stored;
    this.#goesOn();
    if (this.#room !== undefined && chain.hasRoom) {
      this.#room();
      this.#room = undefined;
    }
    if (chain.stored >= this.#to!) {
      this.#caughtUp();
      if (!this.#context.follow) this.#finish('done');
    }
    if (this.#isStopping && chain.stored === chain.taken) this.#finish('done');
  }

  #caughtUp(): void {
    const told = this.#onCaughtUp;
    this.#onCaughtUp = undefined;
    told?.();
  }

  /** Resolves when all that was taken in this run is stored, or when the run is over, which it answers with false. */
  async #settled(chain: Chain<CopiedMessage>): Promise<boolean> {
    while (this.#isAtWork(chain) && chain.stored < chain.taken) await this.#sleep(20);
    return this.#isAtWork(chain);
  }

  /** Whether the run of a chain is not over. */
  #isAtWork(chain: Chain<CopiedMessage>): boolean {
    return this.#end !== undefined && this.#chain === chain;
  }

  // ── when the target does not answer, or answers otherwise ─────────────────────────────────────────────────────────

  /** Something was stored, or there is nothing to store. */
  #goesOn(): void {
    this.#idleSince = this.#context.clock.now();
    if (!this.#isSilent) return;
    this.#isSilent = false;
    this.#context.onWaiting(this.channel, undefined);
  }

  /** Says why nothing goes on, although STAN has messages that the stream has not. */
  #sayWhy(): void {
    const { clock, onWaiting, newest } = this.#context;
    const { unanswered, stored } = this.#chain!;
    const last = this.#context.follow ? newest(this.channel) : Math.min(newest(this.channel), this.#to!);
    if (unanswered === 0 && last <= stored) return this.#goesOn();
    if (this.#rereading || clock.now() - this.#idleSince < SILENCE) return;
    this.#isSilent = true;
    onWaiting(
      this.channel,
      unanswered > 0
        ? `JetStream does not say whether it has stored message ${stored + 1}`
        : `STAN has messages behind ${stored}, and does not send them`,
    );
  }

  /** Notices that answers do not come, and that it is to stop. */
  #watch(): void {
    const { clock } = this.#context;
    this.#sayWhy();
    if (this.#chain!.unanswered > 0 && clock.now() - this.#heard > PATIENCE) this.#reread({ silent: 'timeout' });
    if (this.#isStopping && this.#chain!.stored === this.#chain!.taken) this.#finish('done');
  }

  /** The connection to the target was lost, so answers that are on their way do not come any more. */
  disconnected(): void {
    if (this.#end !== undefined && this.#chain!.unanswered > 0) this.#reread({ silent: 'timeout' });
  }

  /** Sees what the stream has, and goes on behind it. */
  #reread(answer: Answer): void {
    if (this.#rereading || this.#end === undefined) return;
    const chain = this.#chain!;
    chain.stop();
    this.#pipeline!.newRun();
    this.#rereading = true;
    if ('refused' in answer) this.#refusals++;
    const delay = isOutOfPlace(answer) && this.#refusals <= 1 ? 0 : 50 * 2 ** Math.min(5, this.#refusals);
    void this.#sleep(delay)
      .then(() => this.#patiently(() => this.#afterRereading(chain, answer)))
      .then(
        (ending) => {
          if (!this.#isAtWork(chain)) return;
          this.#rereading = false;
          if (ending === 'on') this.#pump();
          else this.#finish(ending ?? 'done');
        },
        (error: unknown) => {
          if (!this.#isAtWork(chain)) return;
          this.#rereading = false;
          this.#finish(this.#problem('target', describe(error)));
        },
      );
  }

  async #afterRereading(chain: Chain<CopiedMessage>, answer: Answer): Promise<Ending | 'on'> {
    const { target } = this.#context;
    const info = await target.knownStream(this.stream);
    if (!this.#isAtWork(chain)) return 'done';
    if (info === undefined) return this.#lost();
    if (this.#context.follow && isCut(info.config)) return 'cut';
    const closed = this.#entranceFault(info);
    if (closed !== undefined) return closed;
    const last = info.state.last_seq;
    // It has lost its end, as after a power cut; or another copy is ahead of us.
    if (last < chain.stored || last > chain.taken) {
      const foreign = last > chain.taken ? await this.#foreignUpTo(info, chain.stored + 1) : undefined;
      return foreign ?? 'again';
    }
    if (last > chain.stored) {
      const foreign = await this.#foreignUpTo(info, chain.stored + 1);
      if (foreign !== undefined) return foreign;
    }
    // The servers may have got other mappings.
    if ('silent' in answer && answer.silent === 'nobody' && (await this.#isFenced(info)) !== this.fenced)
      return 'again';
    if (!this.#isAtWork(chain)) return 'done';
    if ('refused' in answer && this.#refusals >= MAX_REFUSALS) {
      return this.#problem(
        'refused',
        `JetStream refuses message ${chain.stored + 1} of channel '${this.channel}' for stream '${this.stream}' again and ` +
          `again: ${answer.text} (${answer.refused})${answer.refused === NO_ROOM ? ROOM : ''}`,
      );
    }
    const before = chain.stored;
    chain.resume(last);
    if (last > before) {
      this.#refusals = 0;
      this.#storedMore(chain);
    }
    this.#heard = this.#context.clock.now();
    return this.#isAtWork(chain) ? 'on' : 'done';
  }

  /** What is wrong when the last message of the stream is none of ours. */
  async #foreignUpTo(info: StreamInfo, from: number): Promise<Problem | undefined> {
    const { target } = this.#context;
    const { last_seq: last } = info.state;
    const stored = await target.message(this.stream, last);
    const ours = this.#chain!.link(last);
    if (stored !== undefined && (ours === undefined ? isCopy(stored) : isCopyOf(stored, ours))) return undefined;
    return foreignMessage(this.channel, info, await firstForeign(target, this.stream, from, last));
  }

  /** Tries again until the target and the monitoring of STAN answer. Undefined when it is to stop. */
  async #patiently<T>(work: () => Promise<T>): Promise<T | undefined> {
    const { target, clock, onWaiting } = this.#context;
    let told = false;
    const tell = (reason: string): void => {
      told = true;
      onWaiting(this.channel, reason);
    };
    for (let attempt = 0; ; attempt++) {
      const untell = clock.after(SILENCE, () => {
        if (!told) tell('JetStream or the monitoring of STAN does not answer yet');
      });
      try {
        const result = await work();
        if (told) onWaiting(this.channel, undefined);
        return result;
      } catch (error) {
        if (this.#isStopping) return undefined;
        if (target.isClosed) throw target.closedError(error);
        if (!isPassing(error)) throw error;
        tell(describe(error));
        await this.#sleep(Math.min(MAX_WAIT, 100 * 2 ** Math.min(attempt, 5)));
      } finally {
        untell();
      }
    }
  }

  #sleep(ms: number): Promise<void> {
    return pause(this.#context.clock, ms);
  }

  // ── what is wrong ─────────────────────────────────────────────────────────────────────────────────────────────────

  #problem(code: string, message: string, more: Partial<Problem> = {}): Problem {
    return { code, channel: this.channel, message, ...more };
  }

  #entranceFault({ config }: StreamInfo): Problem | undefined {
    const wanted = importEntrance(this.#context.target, this.channel);
    if (hasEntrance(config, wanted)) return undefined;
    const what = `stream '${this.stream}' listens on ${config.subjects?.join(', ') || 'nothing'}, and not on ${wanted.subjects.join(', ')}`;
    return this.#problem(
      'not-importing',
      config.subjects?.includes(this.channel)
        ? `${what}: it is open for native publishers already (cut), or was not made by a copy. Nothing more can be copied into it`
        : `${what}: it was not made by a copy. Rename or delete it, or leave the channel out`,
    );
  }

  #gone(info: StreamInfo | undefined): Problem {
    const copied =
      info === undefined || info.state.messages === 0
        ? ''
        : `, and stream '${this.stream}' has its messages up to ${info.state.last_seq}`;
    return this.#problem(
      'no-channel',
      `channel '${this.channel}' is gone from STAN${copied}: STAN began anew, or has deleted the channel because nobody used it`,
    );
  }

  #lost(): Problem {
    return this.#problem(
      'target-lost',
      `stream '${this.stream}' is gone from JetStream, and had messages up to ${this.stored} a moment ago: look what became of ` +
        `its store. To begin anew, run this again`,
    );
  }

  #tooLarge(message: CopiedMessage | undefined, text: string): void {
    const { target } = this.#context;
    const { sequence = 0, data = Buffer.alloc(0) } = message ?? {};
    this.#finish(
      this.#problem(
        'too-large',
        `message ${sequence} of channel '${this.channel}' has ${data.length} bytes, and JetStream takes at most ` +
          `${target.maxPayload} with headers (${text}): set max_payload on the target to ${data.length + HEADER_BYTES} or more, and run ` +
          'this again',
        { sequence },
      ),
    );
  }
}

/** Whether an error may pass by itself: the servers are restarted, or elect. */
function isPassing(error: unknown): boolean {
  const name = (error as Error | undefined)?.name ?? '';
  return !isRefusal(error) && !isDenied(error) && !/^(TypeError|RangeError|AssertionError|SyntaxError)$/.test(name);
}
