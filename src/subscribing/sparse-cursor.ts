import { below, type Cursor, type Gap, type Leap, type Position, type Verdict } from './cursor.js';
import { RangeSet, rangesOf } from './range-set.js';

/** The number of messages in a row after which a queue group counts as having no active members in other processes. */
const ALONE = 100;
/**
 * The least time between the timestamps of the last leap and of a message that ends the sharing, in ns. The messages that queue
 * up without a leader all go to the first member that is back.
 */
const ALONE_FOR = 5000e6;
/** The number of unfilled leaps after which a queue group counts as shared. */
const SHARED = 16;
/** The number of unfilled leaps after which a queue group counts as shared if all earlier messages came to us. */
const SHARED_WHERE_ALONE = 4;
/** The most leaps that are remembered. */
const MOST_LEAPS = 1000;

interface OpenLeap {
  /** The sequences that have not come. */
  missing: Gap[];
  /** Whether all messages before the leap came to us. */
  ours: boolean;
  /** Whether an old server subscription of ours may have received the messages. */
  crossed: boolean;
  /** Whether the leap counts as a sign of members in other processes. */
  telling: boolean;
}

/**
 * The cursor of members of a queue group. Any sequence may go to another member, so the cursor remembers a limited number of
 * processed ones and normally misses nothing. There is one exception: when all messages came to us and a new server
 * subscription begins with a leap, the new leader has forgotten what the old one had sent us.
 */
export class SparseCursor implements Cursor {
  readonly #window: number;
  #highest = 0;
  #highestTime = NaN;
  #latest = -Infinity;
  readonly #outstanding = new RangeSet();
  readonly #done = new RangeSet();
  /** The leap of the last verdict 'leap'. */
  leapt: Leap | undefined;
  /** The number of messages without a break, up to the highest sequence. */
  #unbroken = 0;
  /** The leaps whose messages have not all come. */
  #leaps: OpenLeap[] = [];
  /** Whether the server also sends messages to an old server subscription of ours that nobody listens to. */
  #crossing = false;
  /** Whether members in other processes get messages. */
  #shared = false;
  /** The timestamp of the message after the last leap, in ns. */
  #leaptAt = NaN;
  #gaps: Gap[] = [];
  /** Whether no message above the highest one has come since a server subscription was made. */
  #fresh = false;

  /** @param window the most ranges of processed sequences that are remembered */
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
    // A single leap does not end the belief that all messages come to us.
    if (!ours) this.#unbroken = 1;
    if (this.#shared) return 'deliver';
    // If all earlier messages came to us, these may be gone. The leap counts only after the oldest stored message was looked
    // up.
    const crossed = this.#crossing;
    this.#leaps.push({ missing: [{ from, to: to - 1 }], ours, crossed, telling: !ours && !crossed });
    if (this.#leaps.length > MOST_LEAPS) this.#leaps.shift();
    return this.#isShared() ? 'deliver' : 'leap';
  }

  /** Returns whether the leaps show that members in other processes get messages. */
  #isShared(): boolean {
    const telling = this.#leaps.filter((leap) => leap.telling);
    if (telling.length < SHARED && telling.filter(({ ours }) => ours).length < SHARED_WHERE_ALONE) return false;
    this.#shared = true;
    this.#unbroken = 1;
    this.#leaps = [];
    return true;
  }

  /**
   * Notes that the server still stores the missing messages up to this sequence, so that another member has them or they were
   * lost. It is called after `goneBelow`.
   */
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

  /** Notes that a message of a leap has come after all. */
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

  /** Removes the leaps whose messages have all come. */
  #closeFilled(): void {
    this.#leaps = this.#leaps.filter(({ missing }) => missing.length > 0);
  }

  #receiveOlder(sequence: number, time: number): Verdict {
    if (!(sequence >= 1)) return 'held';
    if (sequence === this.#highest && time !== this.#highestTime) return 'reset';
    const held = this.#outstanding.has(sequence);
    const done = !held && this.#done.has(sequence);
    // The message may belong to another member, stored while the clock of the leader was ahead.
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
    if (this.#done.ranges > this.#window) this.#done.dropLowest();
    return fresh;
  }

  /** Any member may get the message next, so it is forgotten. */
  fail(sequence: number): void {
    this.#outstanding.remove(sequence, NaN);
  }

  /** A stored message that the server does not send may belong to another member, so its leap counts as a sign of one. */
  retake(sequence: number): boolean {
    const leap = this.#leaps.find(({ missing }) => missing.some(({ from, to }) => sequence >= from && sequence <= to));
    if (leap?.crossed === false) leap.telling = true;
    return !this.#done.has(sequence) && this.#outstanding.add(sequence);
  }

  begin(): void {
    this.#fresh = true;
  }

  /** Whether the group seems to have no members in other processes. */
  get alone(): boolean {
    return !this.#shared && !this.unsure;
  }

  /** Whether so many messages came one after the other that the group has no members in other processes. */
  get surelyAlone(): boolean {
    return this.alone && this.#unbroken >= ALONE;
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

  /** Reports as gaps the messages of a leap that are gone and have not come, if all other messages came to us. */
  goneBelow(sequence: number): void {
    for (const leap of this.#leaps) {
      // The messages were still stored when they were looked up, so another member has them.
      if (!leap.ours || leap.telling) continue;
      for (const gap of below(leap.missing, sequence)) this.#gaps.push(...this.#without(gap));
      leap.missing = leap.missing
        .filter(({ to }) => to >= sequence)
        .map(({ from, to }) => ({ from: Math.max(from, sequence), to }));
    }
    this.#closeFilled();
  }

  /** Returns the gap without the messages that were fetched by their numbers. */
  #without({ from, to }: Gap): Gap[] {
    const left: number[] = [];
    for (let n = from; n <= to; n++) if (!this.#outstanding.has(n) && !this.#done.has(n)) left.push(n);
    return rangesOf(left);
  }

  /** Sets whether the server also sends messages to an old server subscription of ours that nobody listens to. */
  cross(crossing: boolean): void {
    this.#crossing = crossing;
  }

  /** Whether members in other processes get messages. */
  get shared(): boolean {
    return this.#shared;
  }

  /** Whether messages of a leap have not come. */
  get unsure(): boolean {
    return this.#leaps.length > 0;
  }

  /** Whether messages of a leap may be gone, in a group where all other messages came to us. */
  get lacking(): boolean {
    return this.#leaps.some(({ ours, telling }) => ours && !telling);
  }

  trust(time: number): void {
    if (time > this.#latest) this.#latest = time;
  }

  get lastSequence(): number {
    return this.#outstanding.size === 0 ? this.#highest : this.#outstanding.min - 1;
  }

  get highest(): Position | undefined {
    return this.#highest === 0 ? undefined : { sequence: this.#highest, time: this.#highestTime };
  }

  /** Returns the lowest sequence in hand that is at most `window` below the highest one. It is undefined if there is none. */
  oldestOutstanding(window: number): number | undefined {
    return this.#outstanding.rangeFrom(this.#highest - window)?.low;
  }

  get outstanding(): number {
    return this.#outstanding.size;
  }

  get cost(): number {
    return this.#outstanding.ranges + this.#done.ranges;
  }
}
