/**
 * How quickly large frames of ours get through. On a thin line the answer to one comes late, and so does every answer that
 * stands behind it; what the operating system has taken over from us is not seen to leave. So it is measured how long large
 * frames take until they are answered. As each answer ends a silence, no silence is longer than the largest frame that is on
 * its way takes: that, and never the sum of all, is what a path is excused by. Pure; times are passed in, in ms of one clock.
 */

/** What is assumed of a line before it has shown what it does, in bytes per ms: 0.5 Mbit/s. */
const UNKNOWN = 60;
/** A line may become slower by as much as this before it is taken for a dead one. */
const PATIENCE = 1.5;

/** What is known of the way to the servers, from session to session. */
export class Line {
  #rate = UNKNOWN;

  /** Bytes per ms. */
  get rate(): number {
    return this.#rate;
  }

  /** A frame of so many bytes has taken so long. */
  took(bytes: number, time: number): void {
    // One that was quick may have found the buffers empty: it says little.
    const rate = Math.min(bytes / Math.max(time, 0.5), 2 * this.#rate);
    this.#rate += rate > this.#rate ? rate - this.#rate : (rate - this.#rate) / 2;
  }
}

interface Frame {
  /** Where its last byte stands in all that was sent. */
  readonly end: number;
  readonly bytes: number;
  readonly at: number;
}

export class Throughput {
  readonly #line: Line;
  /** Those on their way that are no smaller than all after them, in the order of sending: the first is the largest. */
  readonly #frames: Frame[] = [];
  #arrivedAt = -Infinity;
  /** The shortest round trip, ms. */
  #roundTrip: number;

  /** @param roundTrip of a small question, in ms */
  constructor(line: Line, roundTrip: number) {
    this.#line = line;
    this.#roundTrip = roundTrip;
  }

  /** A large frame was handed over. Smaller ones take no time worth mentioning on any line. */
  sent(end: number, bytes: number, at: number): void {
    while (this.#frames.length > 0 && this.#frames.at(-1)!.bytes < bytes) this.#frames.pop();
    this.#frames.push({ end, bytes, at });
  }

  /**
   * Something was answered, so it has arrived, and all that was sent before is on its way no more.
   * @param end where its last byte stands in all that was sent
   * @param at when it was sent
   * @returns how much of the time since then, in ms, went by for the bytes
   */
  arrived(end: number, at: number, now: number): number {
    const alone = this.#frames.length === 0;
    let last: Frame | undefined;
    while (this.#frames.length > 0 && this.#frames[0]!.end <= end) last = this.#frames.shift();
    const since = Math.max(at, this.#arrivedAt);
    this.#arrivedAt = now;
    if (last === undefined) {
      if (alone) this.#roundTrip = Math.min(this.#roundTrip, now - at);
      return 0;
    }
    const time = Math.min(now - at, last.bytes / this.#line.rate);
    // Of one that others overtook nothing is known: it may never have arrived.
    if (last.end === end) {
      const waited = now - since;
      this.#line.took(last.bytes, Math.max(waited - this.#roundTrip, waited / 4));
    }
    return time;
  }

  /** Until when there may be no answer because of what is on its way; -Infinity: there is no such reason. */
  get excusedUntil(): number {
    const [frame] = this.#frames;
    if (frame === undefined) return -Infinity;
    return Math.max(frame.at, this.#arrivedAt) + (PATIENCE * frame.bytes) / this.#line.rate;
  }

  /** The same, for the answer to something of which this is the last byte. */
  excusedUpTo(end: number): number {
    const [frame] = this.#frames;
    return frame !== undefined && frame.end <= end ? this.excusedUntil : -Infinity;
  }
}
