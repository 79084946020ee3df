import { below, type Cursor, type Gap, type Leap, type Position, type Verdict } from './cursor.js';
import { RangeSet, rangesOf } from './range-set.js';

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
  readonly #outstanding = new RangeSet();
  readonly #done = new RangeSet();
  /** After the verdict 'leap'. */
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

  /** @param window how many ranges of processed sequences are remembered. */
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
    if (this.#done.ranges > this.#window) this.#done.dropLowest();
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
    return rangesOf(left);
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
    return this.#outstanding.rangeFrom(this.#highest - window)?.low;
  }

  get outstanding(): number {
    return this.#outstanding.size;
  }

  get cost(): number {
    return this.#outstanding.ranges + this.#done.ranges;
  }
}
