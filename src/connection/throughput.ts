/**
 * Measures how quickly large frames of ours get through. On a slow connection the answer to a large frame comes late, and so do
 * all answers behind it. We cannot see when the operating system sends the bytes, so the time until the answer is measured.
 * Each answer ends a silence, so no silence is longer than the time of the largest frame on its way. That time excuses a path,
 * and never the sum of all frames. Pure; times are in ms of one clock.
 */

/** Assumed throughput of a connection before it is measured, in bytes per ms. It is 0.5 Mbit/s. */
const UNKNOWN = 60;
/** The factor by which a connection may become slower until it counts as dead. */
const PATIENCE = 1.5;

/** The measured throughput of the path to the servers. It lasts from session to session. */
export class Line {
  #rate = UNKNOWN;

  /** In bytes per ms. */
  get rate(): number {
    return this.#rate;
  }

  /** Notes the time that a frame took, in ms. */
  took(bytes: number, time: number): void {
    // A quick frame may have found empty buffers, so one frame at most doubles the rate.
    const rate = Math.min(bytes / Math.max(time, 0.5), 2 * this.#rate);
    this.#rate += rate > this.#rate ? rate - this.#rate : (rate - this.#rate) / 2;
  }
}

interface Frame {
  /** The position of its last byte among all sent bytes. */
  readonly end: number;
  readonly bytes: number;
  readonly at: number;
}

export class Throughput {
  readonly #line: Line;
  /** The frames on their way that are no smaller than all later ones, in the order of sending. The first one is the largest. */
  readonly #frames: Frame[] = [];
  #arrivedAt = -Infinity;
  /** The shortest round trip, in ms. */
  #roundTrip: number;

  /** @param roundTrip the round trip of a small question, in ms */
  constructor(line: Line, roundTrip: number) {
    this.#line = line;
    this.#roundTrip = roundTrip;
  }

  /** Notes that a large frame was handed over. Smaller ones take no noticeable time on any connection. */
  sent(end: number, bytes: number, at: number): void {
    while (this.#frames.length > 0 && this.#frames.at(-1)!.bytes < bytes) this.#frames.pop();
    this.#frames.push({ end, bytes, at });
  }

  /**
   * Notes an answer, so that everything up to its question has arrived.
   * @param end the position of the last byte of the question among all sent bytes
   * @param at when the question was sent
   * @returns how much of the time since then was needed for the bytes, in ms
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
    // If a later question was answered instead, nothing is known about the frame, which may not have arrived.
    if (last.end === end) {
      const waited = now - since;
      this.#line.took(last.bytes, Math.max(waited - this.#roundTrip, waited / 4));
    }
    return time;
  }

  /** The time until which frames on their way excuse a silence; -Infinity if there are none. */
  get excusedUntil(): number {
    const [frame] = this.#frames;
    if (frame === undefined) return -Infinity;
    return Math.max(frame.at, this.#arrivedAt) + (PATIENCE * frame.bytes) / this.#line.rate;
  }

  /** Returns the same for the answer to a question whose last byte is at this position. */
  excusedUpTo(end: number): number {
    const [frame] = this.#frames;
    return frame !== undefined && frame.end <= end ? this.excusedUntil : -Infinity;
  }
}
