import { below, type Cursor, type Gap, type Position, type Verdict } from './cursor.js';
import { RangeSet, rangesOf } from './range-set.js';

/**
 * For subscriptions that see every message. `highest` is H below: everything from `#base` to H was taken.
 *
 * What a position tells: the server goes upward from where a subscription was made, and jumps only over what it does not
 * have. So what is missing below a message was lost on its way to us, and a new subscription brings it; or the server
 * does not have it any more, and then its first message is above that; or, of a durable, the server takes it for acknowledged.
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
  readonly #outstanding = new RangeSet();
  /** Outstanding and not in hand: to be handed over when they come again. */
  readonly #failed = new Set<number>();
  /** Processed ones below the base. */
  readonly #below = new RangeSet();
  /**
   * After the verdict 'hole': the first sequence missing, the one that came instead, in how many lives so far, and
   * whether it was the first we asked for, which is more likely gone than lost.
   */
  readonly missing = { from: 0, to: 0, times: 0, likelyGone: false };
  /** The life in which that was seen. */
  #missingIn = 0;
  #life = 0;
  /** The server has nothing below this. */
  #goneBelow = 0;
  /** What is missing below this was another's. */
  #othersBelow = 0;
  /** What was passed over for that. If it comes all the same, that one has not acknowledged it. */
  readonly #others = new RangeSet();
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
        const settledBelow = Math.max(this.#goneBelow, this.#othersBelow);
        const missing = lacking.find(({ to }) => to >= settledBelow);
        if (missing !== undefined) {
          this.#note(Math.max(missing.from, settledBelow), sequence, this.#assumed);
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
    const gaps: Gap[] = isFailed ? rangesOf([...this.#failed].filter((n) => n > position && n < sequence)) : [];
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

  /** What is missing below this sequence is no business of ours: another process had the durable meanwhile. */
  othersBelow(sequence: number): void {
    if (sequence > this.#othersBelow) this.#othersBelow = sequence;
  }

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
    return this.#outstanding.ranges + this.#failed.size + this.#below.ranges + this.#others.ranges;
  }

  /** Before the first message: it is to be this one. */
  expect(from: number): void {
    this.#base = from;
    this.#highest = this.#position = from - 1;
    this.#highestTime = NaN;
    this.#assumed = true;
  }
}
