import { below, type Cursor, type Gap, type Position, type Verdict } from './cursor.js';
import { RangeSet, rangesOf } from './range-set.js';

/**
 * The cursor of subscriptions that see every message. All sequences from `#base` to `#highest` were taken.
 *
 * The server sends upwards from the sequence where a subscription was made, and skips only sequences that it does not have. A
 * missing sequence therefore has one of three causes: the message was lost on its way, and a new subscription brings it; the
 * server no longer has it, and its oldest message is above it; or, for a durable, the server counts it as acknowledged.
 */
export class ContiguousCursor implements Cursor {
  readonly #durable: boolean;
  /** The highest sequence that was taken, and its timestamp in ns. */
  #highest = 0;
  #highestTime = NaN;
  /**
   * The latest timestamp of all messages that were taken, in ns. The highest sequence may have an earlier one, because the
   * clock of a new leader may be behind that of the old one.
   */
  #latest = -Infinity;
  /**
   * The sequence from which on everything up to the highest was taken; 0 if it is not known yet. The messages below it are
   * pending at the server: a durable had them in an earlier process, or they were lost before the first message came.
   */
  #base = 0;
  #baseTime = NaN;
  /** Whether the base is the start that the user asked for, which no message has confirmed yet. */
  #assumed = false;
  /**
   * The highest sequence that the current server subscription has brought. It is below the highest one while known messages are
   * repeated.
   */
  #position = 0;
  /**
   * The existing sequence that the current server subscription was made at, so that it cannot bring a lower one; 0 if it is not
   * known.
   */
  #start = 0;
  #anchor: Position | undefined;
  /** Whether the anchor has to come before any message above it. */
  #anchorDue = false;
  readonly #outstanding = new RangeSet();
  /** The outstanding sequences that are not in hand. They are handed over when they come again. */
  readonly #failed = new Set<number>();
  /** The processed sequences below the base. */
  readonly #below = new RangeSet();
  /**
   * The hole of the last verdict 'hole': the first missing sequence, the sequence that came instead, the number of server
   * subscriptions that showed it, the lowest sequence that came instead on one of these, and whether the message is more likely
   * gone than lost, because it was the first one asked for. Only what is missing below the lowest has been missed each time.
   */
  readonly missing = { from: 0, to: 0, times: 0, lowestTo: 0, likelyGone: false };
  /** The number of the server subscription that last showed the hole. */
  #missingIn = 0;
  #life = 0;
  /** The sequence below which the server has nothing. */
  #goneBelow = 0;
  /** The sequence below which missing messages were sent to another process. */
  #othersBelow = 0;
  /**
   * The sequences that were passed over because another process had them. One that comes all the same was not acknowledged by
   * that process.
   */
  readonly #others = new RangeSet();
  #gaps: Gap[] = [];
  /** The most sequences that a resumption goes back. */
  readonly #window: number;
  /** The range that was found to be missing below the first message. Only a resumption brings it. */
  #extension: Gap | undefined;
  /** Whether the current server subscription brings the extension. */
  #extending = false;

  /**
   * @param options.from the sequence where the user wants the subscription to start, if any
   * @param options.window the most messages that the server sends before the first of them is acknowledged; default: no limit
   */
  constructor(options: { durable: boolean; from?: number | undefined; window?: number }) {
    this.#durable = options.durable;
    this.#window = options.window ?? Infinity;
    // The server decides where an existing durable starts.
    if (options.from !== undefined && !options.durable) this.expect(options.from);
  }

  receive(sequence: number, time: number, redelivered: boolean): Verdict {
    // Nearly all messages come in order.
    if (sequence === this.#highest + 1 && this.#position === this.#highest && this.#base !== 0) {
      this.#take(sequence, time);
      return 'deliver';
    }
    return this.#receiveOther(sequence, time, redelivered);
  }

  #receiveOther(sequence: number, time: number, redelivered: boolean): Verdict {
    // A frame without a sequence reads as 0, which no channel uses.
    if (!(sequence >= 1)) return 'held';
    if (this.#isOfNewChannel(sequence, time)) return 'reset';

    if (this.#assumed && sequence < this.#base) {
      // For a sequence that does not exist yet, the server starts with the next published message, whatever its number.
      this.#base = 0;
      this.#highest = this.#position = 0;
    }

    if (this.#anchorDue) {
      const anchor = this.#anchor!.sequence;
      // Only the anchor shows that the channel is still the same.
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
        const settledBelow = Math.max(this.#goneBelow, this.#othersBelow);
        const missing = lacking.find(({ to }) => to >= settledBelow);
        if (missing !== undefined) {
          this.#note(Math.max(missing.from, settledBelow), sequence, this.#assumed);
          return 'hole';
        }
        const gone = below(lacking, this.#goneBelow);
        this.#giveUp(gone);
        // These messages were sent to another process, or to nobody.
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

  /** Decides about a message that nothing is missing before. */
  #judge(sequence: number, time: number, redelivered: boolean): Verdict {
    if (sequence > this.#highest) {
      // The pending messages of a durable come first and are flagged. Messages that an earlier process has acknowledged are
      // missing between them.
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
    // The message was stored while the clock of the leader was ahead, or it belongs to a new channel.
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

  /**
   * Whether a message is certainly of a new channel. Each of these signs is enough by itself, because none occurs in the known
   * channel.
   */
  #isOfNewChannel(sequence: number, time: number): boolean {
    if (sequence < this.#start) return true;
    if (sequence === this.#highest && time !== this.#highestTime && !Number.isNaN(this.#highestTime)) return true;
    if (sequence === this.#anchor?.sequence && time !== this.#anchor.time) return true;
    // A message that was taken before has raised the latest timestamp at least to its own.
    return sequence <= this.#highest && time > this.#latest && this.#wasTaken(sequence);
  }

  #wasTaken(sequence: number): boolean {
    if (sequence > this.#highest || this.#others.has(sequence)) return false;
    if (this.#base !== 0 && sequence >= this.#base) return true;
    return this.#below.has(sequence) || this.#outstanding.has(sequence);
  }

  /** Returns the ranges between the position and the message that are still needed. */
  #lacking(position: number, sequence: number): Gap[] {
    const isFailed = position < this.#highest && this.#failed.size > 0;
    const gaps: Gap[] = isFailed ? rangesOf([...this.#failed].filter((n) => n > position && n < sequence)) : [];
    if (sequence > this.#highest + 1) {
      const last = gaps.at(-1);
      if (last?.to === this.#highest) last.to = sequence - 1;
      else gaps.push({ from: this.#highest + 1, to: sequence - 1 });
    }
    return gaps;
  }

  /** Remembers a hole and counts the server subscriptions that showed it. */
  #note(from: number, to: number, likelyGone: boolean): void {
    const { missing } = this;
    if (missing.from !== from) missing.times = 0;
    if (missing.from !== from || this.#missingIn !== this.#life) missing.times++;
    missing.lowestTo = missing.from === from ? Math.min(missing.lowestTo, to) : to;
    missing.from = from;
    missing.to = to;
    missing.likelyGone = likelyGone;
    this.#missingIn = this.#life;
  }

  goneBelow(sequence: number): void {
    if (sequence > this.#goneBelow) this.#goneBelow = sequence;
  }

  /** Notes that missing messages below this sequence were sent to another process that had the durable. */
  othersBelow(sequence: number): void {
    if (sequence > this.#othersBelow) this.#othersBelow = sequence;
  }

  trust(time: number): void {
    if (time > this.#latest) this.#latest = time;
  }

  /** The latest timestamp of all received messages, in ns. */
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
    // For a durable the server decides what comes first, so the requested start tells nothing.
    this.#position = at.sequence - 1;
    if (this.#assumed) return;
    this.#start = at.sequence;
    this.#anchorDue = this.#anchor !== undefined;
  }

  /**
   * Where the server subscription resumes: at the last processed sequence below all outstanding ones, or, without one, at the
   * first sequence in hand. It is undefined before the first message.
   *
   * It resumes at a processed message itself because the timestamp of that message shows whether the channel is still the same.
   * A start above the end of a new channel would silently skip all its messages.
   *
   * It goes back at most one window and never for failed messages, so that one old unprocessed message does not bring all later
   * ones again. Failed messages are fetched by their numbers.
   */
  get resumePoint(): Position | undefined {
    if (this.#highest === 0 || this.#assumed) return undefined;
    const from = this.#extension?.from ?? this.#highest - this.#window;
    for (
      let range = this.#outstanding.rangeFrom(from);
      range !== undefined;
      range = this.#outstanding.rangeFrom(range.high + 1)
    ) {
      const { low, high, below, first } = range;
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

  /** Resumes once at this sequence, because the failed messages from there on cannot be fetched by their numbers. */
  goBackTo(sequence: number): void {
    this.#extension = { from: Math.min(sequence, this.#extension?.from ?? Infinity), to: this.#highest };
    this.#extending = false;
  }

  /** Treats the sequences from this one to the base as failed, because they are ours and did not come. */
  extend(from: number): void {
    if (this.#base === 0) this.#base = this.#highest + 1;
    this.#extension = { from, to: this.#base - 1 };
    this.#extending = false;
    for (let n = from; n < this.#base; n++) {
      if (this.#below.has(n) || this.#outstanding.has(n)) continue;
      this.#outstanding.add(n);
      this.#failed.add(n);
    }
    // The processed sequences from there on are now above the base.
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
    this.missing.from = this.missing.to = this.missing.lowestTo = this.missing.times = 0;
    this.#goneBelow = 0;
    this.#othersBelow = 0;
    this.#others.clear();
    this.#extension = undefined;
    this.#extending = false;
    this.#gaps = [];
    // The new channel is read from its first message.
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

  /** The sequence from which on everything was received. It is undefined if that is not known yet. */
  get base(): number | undefined {
    return this.#base === 0 || this.#assumed ? undefined : this.#base;
  }

  /** The timestamp of the first received message that was not flagged as redelivered, in ns; NaN if there is none. */
  get baseTime(): number {
    return this.#baseTime;
  }

  /** The number of entries that the cursor keeps. The messages that the server may have in flight to us limit it. */
  get cost(): number {
    return this.#outstanding.ranges + this.#failed.size + this.#below.ranges + this.#others.ranges;
  }

  /** Sets the first expected sequence, before a message has come. */
  expect(from: number): void {
    this.#base = from;
    this.#highest = this.#position = from - 1;
    this.#highestTime = NaN;
    this.#assumed = true;
  }
}
