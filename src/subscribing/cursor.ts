/**
 * The cursor: what a subscription has received and processed, and so what is to be done with each message that comes.
 * Pure. Two kinds: contiguous (plain and durable: every sequence is ours) and sparse (a queue group: any may be another
 * member's).
 *
 * A sequence is *outstanding* from the moment it is taken until it is processed. What is taken and not outstanding is
 * done, so nothing is kept of done messages: one that fails for ever costs one run, however many are processed after it.
 */
import { Runs, runsOf } from './runs.js';

/** What is to be done with a message. */
export type Verdict =
  /** Hand it over; it is outstanding from now on. */
  | 'deliver'
  /** Hand it over; but first tell of the gaps. */
  | 'gap'
  /** Hand it over; something was leapt over, see `leapt`, that should have come to us. */
  | 'leap'
  /** It is processed already: acknowledge it, nothing else. */
  | 'done'
  /** It is the one the subscription was resumed at, come to show that the channel is still the same: acknowledge it. */
  | 'anchor'
  /** It is queued or running: it will be acknowledged when its handler is done. Do nothing. */
  | 'held'
  /** Something before it is missing: do not take it, make the subscription again at its cursor. See `missing`. */
  | 'hole'
  /** It may be of a new channel. Do not take it; look at the newest message, then `trust()` it or `reset()`. */
  | 'doubt'
  /** It is of a new channel of the same name: the old one is gone. Do not take it; `reset()`, and start at the first. */
  | 'reset';

/** A sequence, and its timestamp where it is known (else NaN). */
export interface Position {
  sequence: number;
  time: number;
}

/** Messages the server does not have any more; both ends included. */
export interface Gap {
  from: number;
  to: number;
}

/** From, and up to but without. */
export interface Leap {
  from: number;
  to: number;
  /** The latest timestamp received before it. */
  after: number;
  /** All others came to us. */
  ours: boolean;
  /** It was probably sent to us by an earlier leader, and will not come by itself. */
  forgotten: boolean;
}

export interface Cursor {
  receive(sequence: number, time: number, redelivered: boolean): Verdict;
  /** It is processed. False if it was before. */
  finish(sequence: number, time: number): boolean;
  /** It was not processed: to be handed over again when it comes again. */
  fail(sequence: number): void;
  /** It was fetched by its number. False: it is in hand, or processed; true: hand it over. */
  retake(sequence: number): boolean;
  /** A server-side subscription was made; `at` is the sequence that was asked for, if one was. */
  begin(at: Position | undefined): void;
  /** The channel started over. */
  reset(): void;
  /**
   * After the verdict 'hole': the first sequence missing, the one that came instead, in how many lives so far, and
   * whether it was the first we asked for, which is more likely gone than lost.
   */
  readonly missing: Readonly<{ from: number; to: number; times: number; likelyGone: boolean }>;
  /** After the verdict 'leap'. */
  readonly leapt: Readonly<Leap> | undefined;
  /** The server has nothing below this sequence: what is missing there is missing for good. */
  goneBelow(sequence: number): void;
  /** What is missing below this sequence is no business of ours: another process had the durable meanwhile. */
  othersBelow(sequence: number): void;
  /** Two of our own subscriptions get messages, and one of them is not listened to any more; or that is over. */
  cross(crossing: boolean): void;
  /** After `goneBelow`: what has not come up to this sequence is stored. */
  storedUpTo(sequence: number): void;
  /** After the verdict 'gap': what is missing for good. */
  takeGaps(): Gap[];
  /** It was received and is not processed. */
  isOutstanding(sequence: number): boolean;
  /** The highest sequence below which everything is processed; 0 before the first message. */
  readonly lastSequence: number;
  /** The highest one received; undefined before the first message. */
  readonly highest: Position | undefined;
  /** How many are received and not processed. */
  readonly outstanding: number;
  /** A message of this timestamp is of the channel we know. */
  trust(time: number): void;
}

/**
 * For subscriptions that see every message. `highest` is H below: everything from `#base` to H was taken.
 *
 * What a position tells: the server goes upward from where a subscription was made, and jumps only over what it does not
 * have. So what is missing below a message was lost on its way to us, and a new subscription brings it; or the server
 * does not have it any more, and then its first message is above that.
 */
export class ContiguousCursor implements Cursor {
  readonly #durable: boolean;
  /** The highest sequence taken, and its timestamp. */
  #highest = 0;
  #highestTime = NaN;
  /**
   * The latest timestamp of all taken. Not always that of the highest: along a channel timestamps increase, except that
   * a new leader's clock may be behind the old one's.
   */
  #latest = -Infinity;
  /**
   * Everything from here to the highest was taken; 0: not known yet. Below it are only messages that the server holds
   * pending for us from before: of a durable's previous life, or lost on their way while we had nothing.
   */
  #base = 0;
  #baseTime = NaN;
  /** The base is what the user asked for; no message has confirmed it. */
  #assumed = false;
  /** How far the current server-side subscription has come. Differs from the highest while it repeats what we know. */
  #position = 0;
  /** The current server-side subscription was made at this existing sequence and cannot bring a lower one; 0: unknown. */
  #start = 0;
  #anchor: Position | undefined;
  /** The anchor has to come before anything above it. */
  #anchorDue = false;
  readonly #outstanding = new Runs();
  /** Outstanding and not in hand: to be handed over when they come again. */
  readonly #failed = new Set<number>();
  /** Processed ones below the base. */
  readonly #below = new Runs();
  readonly missing = { from: 0, to: 0, times: 0, likelyGone: false };
  readonly leapt = undefined;
  /** The life in which that was seen. */
  #missingIn = 0;
  #life = 0;
  /** The server has nothing below this. */
  #goneBelow = 0;
  /** What is missing below this was another's. */
  #othersBelow = 0;
  /** What was passed over for that. If it comes all the same, that one has not acknowledged it. */
  readonly #others = new Runs();
  #gaps: Gap[] = [];
  /** It goes back no further than so many sequences when it is resumed. */
  readonly #window: number;
  /** What was found to be missing below the first message, and is brought by a resumption only. */
  #extension: Gap | undefined;
  /** The current server-side subscription brings it. */
  #extending = false;

  /**
   * @param options.from where the user wants it to start, if at a sequence
   * @param options.window the most messages that the server sends ahead of our acknowledgements; default: no limit
   */
  constructor(options: { durable: boolean; from?: number | undefined; window?: number }) {
    this.#durable = options.durable;
    this.#window = options.window ?? Infinity;
    // A durable that exists starts where the server says.
    if (options.from !== undefined && !options.durable) this.expect(options.from);
  }

  receive(sequence: number, time: number, redelivered: boolean): Verdict {
    // In order, as nearly always.
    if (sequence === this.#highest + 1 && this.#position === this.#highest && this.#base !== 0) {
      this.#take(sequence, time);
      return 'deliver';
    }
    return this.#receiveOther(sequence, time, redelivered);
  }

  #receiveOther(sequence: number, time: number, redelivered: boolean): Verdict {
    // A frame without that field has sequence 0: no channel numbers so.
    if (!(sequence >= 1)) return 'held';
    if (this.#isOfNewChannel(sequence, time)) return 'reset';

    if (this.#assumed && sequence < this.#base) {
      // Asked for a sequence that is not there yet, the server gives what is published next, whatever its number.
      this.#base = 0;
      this.#highest = this.#position = 0;
    }

    if (this.#anchorDue) {
      const anchor = this.#anchor!.sequence;
      // Without it nothing shows that the channel is still the same.
      if (sequence !== anchor && anchor >= this.#goneBelow) {
        this.#note(anchor, sequence, true);
        return 'hole';
      }
      this.#anchorDue = false;
    }

    const before = this.#position;
    if (this.#base !== 0 && sequence > before + 1) {
      const lacking = this.#lacking(before, sequence);
      if (lacking.length > 0) {
        if (lacking.at(-1)!.to >= Math.max(this.#goneBelow, this.#othersBelow)) {
          this.#note(lacking[0]!.from, sequence, this.#assumed);
          return 'hole';
        }
        const gone = below(lacking, this.#goneBelow);
        this.#giveUp(gone);
        // Sent to somebody else, or not at all.
        this.#others.appendRange(Math.max(this.#goneBelow, this.#highest + 1), sequence - 1);
        if (sequence > this.#position) this.#position = sequence;
        const verdict = this.#judge(sequence, time, redelivered);
        if (verdict !== 'deliver' || gone.length === 0) return verdict;
        this.#gaps = gone;
        return 'gap';
      }
    }
    if (sequence > before) this.#position = sequence;
    if (this.#extending && sequence >= this.#extension!.to) {
      this.#extending = false;
      this.#extension = undefined;
    }
    return this.#judge(sequence, time, redelivered);
  }

  /** What to do with a message that nothing is missing before. */
  #judge(sequence: number, time: number, redelivered: boolean): Verdict {
    if (sequence > this.#highest) {
      // What a durable has pending from a previous life comes first, flagged, and with jumps over what that life did.
      if (this.#base === 0 && !redelivered) {
        this.#base = sequence;
        this.#baseTime = time;
      }
      this.#take(sequence, time);
      return 'deliver';
    }
    if (this.#outstanding.has(sequence)) {
      if (!this.#failed.delete(sequence)) return 'held';
      return 'deliver';
    }
    if (this.#others.remove(sequence, NaN)) {
      this.#outstanding.add(sequence, time);
      return 'deliver';
    }
    if (this.#base !== 0 && sequence >= this.#base) {
      return this.#anchor?.sequence === sequence && this.#start === sequence ? 'anchor' : 'done';
    }
    if (this.#below.has(sequence)) return 'done';
    // Stored while the leader's clock was ahead; or of a new channel.
    if (time > this.#latest) return 'doubt';
    this.#outstanding.add(sequence, time);
    return 'deliver';
  }

  #take(sequence: number, time: number): void {
    this.#outstanding.append(sequence, sequence === this.#highest + 1 ? this.#highestTime : NaN, time);
    this.#highest = sequence;
    this.#highestTime = time;
    this.#position = sequence;
    if (time > this.#latest) this.#latest = time;
    this.#assumed = false;
  }

  /** Every one of these shows it by itself; none can be true of a message of the channel we know. */
  #isOfNewChannel(sequence: number, time: number): boolean {
    if (sequence < this.#start) return true;
    if (sequence === this.#highest && time !== this.#highestTime && !Number.isNaN(this.#highestTime)) return true;
    if (sequence === this.#anchor?.sequence && time !== this.#anchor.time) return true;
    // If it had been taken before, it would have raised the latest timestamp to its own.
    return sequence <= this.#highest && time > this.#latest && this.#wasTaken(sequence);
  }

  #wasTaken(sequence: number): boolean {
    if (sequence > this.#highest || this.#others.has(sequence)) return false;
    if (this.#base !== 0 && sequence >= this.#base) return true;
    return this.#below.has(sequence) || this.#outstanding.has(sequence);
  }

  /** What we still need between the position and the message. */
  #lacking(position: number, sequence: number): Gap[] {
    const isFailed = position < this.#highest && this.#failed.size > 0;
    const gaps: Gap[] = isFailed ? runsOf([...this.#failed].filter((n) => n > position && n < sequence)) : [];
    if (sequence > this.#highest + 1) {
      const last = gaps.at(-1);
      if (last?.to === this.#highest) last.to = sequence - 1;
      else gaps.push({ from: this.#highest + 1, to: sequence - 1 });
    }
    return gaps;
  }

  /** Remembers a hole, and in how many lives it was seen. */
  #note(from: number, to: number, likelyGone: boolean): void {
    const { missing } = this;
    if (missing.from !== from) missing.times = 0;
    if (missing.from !== from || this.#missingIn !== this.#life) missing.times++;
    missing.from = from;
    missing.to = to;
    missing.likelyGone = likelyGone;
    this.#missingIn = this.#life;
  }

  goneBelow(sequence: number): void {
    if (sequence > this.#goneBelow) this.#goneBelow = sequence;
  }

  othersBelow(sequence: number): void {
    if (sequence > this.#othersBelow) this.#othersBelow = sequence;
  }

  cross(): void {}

  storedUpTo(): void {}

  trust(time: number): void {
    if (time > this.#latest) this.#latest = time;
  }

  /** The latest timestamp received. */
  get latest(): number {
    return this.#latest;
  }

  #giveUp(gaps: Gap[]): void {
    for (const { from, to } of gaps) {
      for (const n of this.#failed) {
        if (n < from || n > to) continue;
        this.#failed.delete(n);
        this.#outstanding.remove(n, NaN);
      }
    }
  }

  finish(sequence: number, time: number): boolean {
    if (!this.#outstanding.remove(sequence, time)) return false;
    if (this.#failed.size > 0) this.#failed.delete(sequence);
    if (sequence < this.#base || this.#base === 0) this.#below.add(sequence);
    return true;
  }

  fail(sequence: number): void {
    if (this.#outstanding.has(sequence)) this.#failed.add(sequence);
  }

  retake(sequence: number): boolean {
    return this.#failed.delete(sequence);
  }

  begin(at: Position | undefined): void {
    this.#life++;
    this.#extending = this.#extension !== undefined && at !== undefined && at.sequence <= this.#extension.from;
    this.#start = 0;
    this.#anchorDue = false;
    const anchor = at ?? this.resumePoint;
    this.#anchor = anchor !== undefined && !Number.isNaN(anchor.time) ? anchor : undefined;
    this.#position = this.#highest;
    if (at === undefined || this.#durable || this.#base === 0) return;
    // The server of a durable goes by its own memory, so there the start says nothing of what comes first.
    this.#position = at.sequence - 1;
    if (this.#assumed) return;
    this.#start = at.sequence;
    this.#anchorDue = this.#anchor !== undefined;
  }

  /**
   * Where to resume. At the last processed one itself, rather than above it: its timestamp shows whether the channel is
   * still the same, while a start above the end of a new channel would silently skip all of it. Where there is no such
   * one, at the first that is in hand: it takes room in the window of the server until it is processed. Undefined before the
   * first message.
   *
   * No further back than one window, and not for what has failed: all that came since one old message that is not processed
   * need not come again. Such a one is fetched by its number.
   */
  get resumePoint(): Position | undefined {
    if (this.#highest === 0 || this.#assumed) return undefined;
    const from = this.#extension?.from ?? this.#highest - this.#window;
    for (let run = this.#outstanding.runFrom(from); run !== undefined; run = this.#outstanding.runFrom(run.high + 1)) {
      const { low, high, below, first } = run;
      const start = Math.max(low, from);
      if (this.#extension === undefined && this.#allFailed(start, high)) continue;
      if (start > low) return { sequence: start, time: NaN };
      return Number.isNaN(below) ? { sequence: low, time: first } : { sequence: low - 1, time: below };
    }
    return { sequence: this.#highest, time: this.#highestTime };
  }

  #allFailed(low: number, high: number): boolean {
    if (this.#failed.size < high - low + 1) return false;
    for (let n = low; n <= high; n++) if (!this.#failed.has(n)) return false;
    return true;
  }

  /** What has failed from here on cannot be fetched by its number: it is resumed from there, once. */
  goBackTo(sequence: number): void {
    this.#extension = { from: Math.min(sequence, this.#extension?.from ?? Infinity), to: this.#highest };
    this.#extending = false;
  }

  /** Messages from here to the base are ours too, and did not come: fetch them like failed ones. */
  extend(from: number): void {
    if (this.#base === 0) this.#base = this.#highest + 1;
    this.#extension = { from, to: this.#base - 1 };
    this.#extending = false;
    for (let n = from; n < this.#base; n++) {
      if (this.#below.has(n) || this.#outstanding.has(n)) continue;
      this.#outstanding.add(n);
      this.#failed.add(n);
    }
    // What is done there needs no mention any more.
    for (let n = this.#below.max; n >= from; n = this.#below.max) this.#below.remove(n, NaN);
    this.#base = from;
  }

  reset(): void {
    this.#highest = 0;
    this.#highestTime = NaN;
    this.#latest = -Infinity;
    this.#base = 0;
    this.#baseTime = NaN;
    this.#assumed = false;
    this.#position = 0;
    this.#start = 0;
    this.#anchor = undefined;
    this.#anchorDue = false;
    this.#outstanding.clear();
    this.#failed.clear();
    this.#below.clear();
    this.missing.from = this.missing.to = this.missing.times = 0;
    this.#goneBelow = 0;
    this.#othersBelow = 0;
    this.#others.clear();
    this.#extension = undefined;
    this.#extending = false;
    this.#gaps = [];
    // The new channel is wanted whole.
    if (!this.#durable) this.expect(1);
  }

  takeGaps(): Gap[] {
    const gaps = this.#gaps;
    this.#gaps = [];
    return gaps;
  }

  isOutstanding(sequence: number): boolean {
    return this.#outstanding.has(sequence);
  }

  get lastSequence(): number {
    if (this.#highest === 0 || this.#assumed) return 0;
    return this.#outstanding.size === 0 ? this.#highest : this.#outstanding.min - 1;
  }

  get highest(): Position | undefined {
    if (this.#highest === 0 || this.#assumed) return undefined;
    return { sequence: this.#highest, time: this.#highestTime };
  }

  get outstanding(): number {
    return this.#outstanding.size;
  }

  /** From here on all sequences were received; undefined: not known yet. */
  get base(): number | undefined {
    return this.#base === 0 || this.#assumed ? undefined : this.#base;
  }

  /** The timestamp of the first message received that was not flagged; NaN if there was none. */
  get baseTime(): number {
    return this.#baseTime;
  }

  /** How many entries it keeps: bounded by what the server may have in flight to us. */
  get cost(): number {
    return this.#outstanding.runs + this.#failed.size + this.#below.runs + this.#others.runs;
  }

  /** Before the first message: it is to be this one. */
  expect(from: number): void {
    this.#base = from;
    this.#highest = this.#position = from - 1;
    this.#highestTime = NaN;
    this.#assumed = true;
  }
}

/** What of these lies below a sequence. */
function below(gaps: readonly Gap[], sequence: number): Gap[] {
  return gaps.filter(({ from }) => from < sequence).map(({ from, to }) => ({ from, to: Math.min(to, sequence - 1) }));
}

/** So many messages in a row, and a queue group has no members elsewhere that get anything. */
const ALONE = 100;
/**
 * If it has had some, they must have been stored over so long, too, in nanoseconds: what queues up while there is no leader is
 * given to whoever is back first.
 */
const ALONE_FOR = 5000e6;
/** So many leaps of which not all came later, and it has. */
const SHARED = 16;
/** The same, where all came to us before. */
const SHARED_WHERE_ALONE = 4;
/** So many are kept in any case. */
const MOST_LEAPS = 1000;

interface OpenLeap {
  /** What has not come. */
  missing: Gap[];
  /** All before it came to us. */
  ours: boolean;
  /** Another subscription of ours may have got it. */
  crossed: boolean;
  /** It speaks for members elsewhere. */
  telling: boolean;
}

/**
 * For members of a queue group: any sequence may be another member's, so what is done has to be remembered, in a bounded
 * window, and nothing is missed as a rule. But where all came to us, and the first thing that a new life at the server
 * brings is a leap, then a leader has forgotten what the one before had sent to us.
 */
export class SparseCursor implements Cursor {
  readonly #window: number;
  #highest = 0;
  #highestTime = NaN;
  #latest = -Infinity;
  readonly #outstanding = new Runs();
  readonly #done = new Runs();
  readonly missing = { from: 0, to: 0, times: 0, likelyGone: false };
  leapt: Leap | undefined;
  /** How many messages came one after the other, up to the highest. */
  #unbroken = 0;
  /** Leaps of which not all has come since. */
  #leaps: OpenLeap[] = [];
  /** Two of our own subscriptions get messages, and one of them is not listened to any more. */
  #crossing = false;
  /** Others get messages, too. */
  #shared = false;
  /** When the message was stored that came after the last leap. */
  #leaptAt = NaN;
  #gaps: Gap[] = [];
  /** Nothing above the highest has come since a server-side subscription was made. */
  #fresh = false;

  /** @param window how many runs of processed sequences are remembered. */
  constructor(window = 65_536) {
    this.#window = window;
  }

  receive(sequence: number, time: number): Verdict {
    const before = this.#highest;
    if (sequence <= before || !(sequence >= 1)) return this.#receiveOlder(sequence, time);
    this.#outstanding.append(sequence, NaN, NaN);
    this.#highest = sequence;
    this.#highestTime = time;
    const latest = this.#latest;
    if (time > latest) this.#latest = time;
    const fresh = this.#fresh;
    this.#fresh = false;
    if (sequence === before + 1 || before === 0) {
      this.#unbroken++;
      if (this.#shared && this.#unbroken >= ALONE && time >= this.#leaptAt + ALONE_FOR) this.#aloneAgain();
      return 'deliver';
    }
    this.#leaptAt = time;
    return this.#leapOver(before + 1, sequence, latest, fresh);
  }

  #leapOver(from: number, to: number, after: number, fresh: boolean): Verdict {
    const unbroken = this.#unbroken;
    const ours = unbroken >= ALONE && !this.#shared;
    this.leapt = { from, to, after, ours, forgotten: fresh && ours };
    // One leap is not enough to doubt it.
    if (!ours) this.#unbroken = 1;
    if (this.#shared) return 'deliver';
    // Where all came to us before, it may be gone, so it says nothing before that was looked at.
    const crossed = this.#crossing;
    this.#leaps.push({ missing: [{ from, to: to - 1 }], ours, crossed, telling: !ours && !crossed });
    if (this.#leaps.length > MOST_LEAPS) this.#leaps.shift();
    return this.#isShared() ? 'deliver' : 'leap';
  }

  /** So many leaps show that others get messages, too. */
  #isShared(): boolean {
    const telling = this.#leaps.filter((leap) => leap.telling);
    if (telling.length < SHARED && telling.filter(({ ours }) => ours).length < SHARED_WHERE_ALONE) return false;
    this.#shared = true;
    this.#unbroken = 1;
    this.#leaps = [];
    return true;
  }

  /** After `goneBelow`: what has not come up to this sequence is stored, so that somebody else has it, or it was lost. */
  storedUpTo(sequence: number): void {
    for (const leap of this.#leaps) {
      if (leap.ours && !leap.crossed && leap.missing.every(({ to }) => to <= sequence)) leap.telling = true;
    }
    this.#isShared();
  }

  #aloneAgain(): void {
    this.#shared = false;
    this.#leaps = [];
  }

  /** Something that was leapt over has come after all. */
  #came(sequence: number): void {
    for (const leap of this.#leaps) {
      const i = leap.missing.findIndex(({ from, to }) => sequence >= from && sequence <= to);
      if (i < 0) continue;
      const { from, to } = leap.missing[i]!;
      const rest = [
        { from, to: sequence - 1 },
        { from: sequence + 1, to },
      ].filter((gap) => gap.from <= gap.to);
      leap.missing.splice(i, 1, ...rest);
      this.#closeFilled();
      return;
    }
  }

  /** Nobody else has what was leapt over. */
  #closeFilled(): void {
    this.#leaps = this.#leaps.filter(({ missing }) => missing.length > 0);
  }

  #receiveOlder(sequence: number, time: number): Verdict {
    if (!(sequence >= 1)) return 'held';
    if (sequence === this.#highest && time !== this.#highestTime) return 'reset';
    const held = this.#outstanding.has(sequence);
    const done = !held && this.#done.has(sequence);
    // It may be another member's, stored while the leader's clock was ahead.
    if (time > this.#latest) return held || done ? 'reset' : 'doubt';
    if (held) return 'held';
    if (done) return 'done';
    this.#outstanding.add(sequence);
    this.#came(sequence);
    return 'deliver';
  }

  finish(sequence: number): boolean {
    this.#outstanding.remove(sequence, NaN);
    const fresh = this.#done.add(sequence);
    if (this.#done.runs > this.#window) this.#done.dropLowest();
    return fresh;
  }

  /** Any member may get it next, so it is forgotten. */
  fail(sequence: number): void {
    this.#outstanding.remove(sequence, NaN);
  }

  /** What the server does not send, and has, may be somebody else's: it does not speak for our being alone. */
  retake(sequence: number): boolean {
    const leap = this.#leaps.find(({ missing }) => missing.some(({ from, to }) => sequence >= from && sequence <= to));
    if (leap?.crossed === false) leap.telling = true;
    return !this.#done.has(sequence) && this.#outstanding.add(sequence);
  }

  begin(): void {
    this.#fresh = true;
  }

  /** So far as can be seen, the group has no members elsewhere. */
  get alone(): boolean {
    return !this.#shared && !this.unsure;
  }

  takeGaps(): Gap[] {
    const gaps = this.#gaps;
    this.#gaps = [];
    return gaps;
  }

  isOutstanding(sequence: number): boolean {
    return this.#outstanding.has(sequence);
  }

  reset(): void {
    this.#highest = 0;
    this.#highestTime = NaN;
    this.#latest = -Infinity;
    this.#unbroken = 0;
    this.#gaps = [];
    this.leapt = undefined;
    this.#aloneAgain();
    this.#outstanding.clear();
    this.#done.clear();
  }

  /** Of what was leapt over where all others came to us, and has not come, this is told as gaps. */
  goneBelow(sequence: number): void {
    for (const leap of this.#leaps) {
      // What was stored when it was looked for, and had not come, was somebody else's.
      if (!leap.ours || leap.telling) continue;
      for (const gap of below(leap.missing, sequence)) this.#gaps.push(...this.#without(gap));
      leap.missing = leap.missing
        .filter(({ to }) => to >= sequence)
        .map(({ from, to }) => ({ from: Math.max(from, sequence), to }));
    }
    this.#closeFilled();
  }

  /** Without what was fetched by its number. */
  #without({ from, to }: Gap): Gap[] {
    const left: number[] = [];
    for (let n = from; n <= to; n++) if (!this.#outstanding.has(n) && !this.#done.has(n)) left.push(n);
    return runsOf(left);
  }

  /** From now on, or no more, two of our own subscriptions get messages, and one of them is not listened to. */
  cross(crossing: boolean): void {
    this.#crossing = crossing;
  }

  /** Others get messages, too. */
  get shared(): boolean {
    return this.#shared;
  }

  /** Something was leapt over, and has not come. */
  get unsure(): boolean {
    return this.#leaps.length > 0;
  }

  /** Something was leapt over where all others came to us, has not come, and may be gone. */
  get lacking(): boolean {
    return this.#leaps.some(({ ours, telling }) => ours && !telling);
  }

  othersBelow(): void {}

  trust(time: number): void {
    if (time > this.#latest) this.#latest = time;
  }

  get lastSequence(): number {
    return this.#outstanding.size === 0 ? this.#highest : this.#outstanding.min - 1;
  }

  get highest(): Position | undefined {
    return this.#highest === 0 ? undefined : { sequence: this.#highest, time: this.#highestTime };
  }

  /** The lowest sequence in hand that is no further back than so many; undefined if there is none. */
  oldestOutstanding(window: number): number | undefined {
    return this.#outstanding.runFrom(this.#highest - window)?.low;
  }

  get outstanding(): number {
    return this.#outstanding.size;
  }

  get cost(): number {
    return this.#outstanding.runs + this.#done.runs;
  }
}
