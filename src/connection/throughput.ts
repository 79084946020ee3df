/**
 * How quickly our bytes get through. On a thin line the answer to something comes late because it stands behind other
 * bytes, and what the operating system has taken over from us is not seen to leave. So it is measured what gets answered, and
 * an answer may take as long as the bytes before it. Pure; times are passed in, in ms of one clock.
 */

/** What is assumed of a line before it has shown what it does, in bytes per ms: 0.4 Mbit/s. */
const UNKNOWN = 50;
/** So many bytes make one sample: fewer pass through the buffers of a thin line as if it were a wide one. */
const SAMPLE = 16 * 1024;
/** Up to here bytes take no time worth mentioning, in any case. */
const FREE = 4 * 1024;
/** A line may become slower by as much as this before it is taken for a dead one. */
const PATIENCE = 2;

export class Throughput {
  /** All bytes up to here are known to have arrived. */
  #arrived = 0;
  #arrivedAt = -Infinity;
  #rate = UNKNOWN;
  /** Since the last sample: bytes that arrived, and how long we waited for them. */
  #bytes = 0;
  #busy = 0;

  /**
   * Something was answered, so it has arrived, and with it all that was sent before.
   * @param end where its last byte stands in all that was sent
   * @param at when it was sent
   * @returns how much of the time since then, in ms, went by for the bytes
   */
  arrived(end: number, at: number, now: number): number {
    if (end <= this.#arrived) return 0;
    const bytes = end - this.#arrived;
    this.#bytes += bytes;
    this.#busy += now - Math.max(at, this.#arrivedAt);
    this.#arrived = end;
    this.#arrivedAt = now;
    if (this.#bytes >= SAMPLE) {
      const rate = this.#bytes / Math.max(this.#busy, 1);
      // To become slower it takes two samples, to become quicker many: a burst that a buffer took in says little.
      this.#rate += (rate - this.#rate) * (rate < this.#rate ? 1 / 2 : 1 / 8);
      this.#bytes = 0;
      this.#busy = 0;
    }
    return bytes <= FREE ? 0 : Math.min(now - at, bytes / this.#rate);
  }

  /** How long the bytes up to this one may take, over and above a round trip, in ms. */
  allowance(end: number): number {
    const ahead = end - this.#arrived - FREE;
    return ahead <= 0 ? 0 : (PATIENCE * ahead) / this.#rate;
  }
}
