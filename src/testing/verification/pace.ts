/** Finds out which rate the publishers have reached where nothing was broken. Pure. */

/** Length of a bucket, in ms. */
const BUCKET = 250;
/** How long after a fault, or after a new leader, its moment is not calm yet, in ms. */
const AFTERMATH = 500;
/** How many calm buckets are needed: three seconds. */
const ENOUGH = 12;

interface Disturbance {
  readonly from: number;
  readonly to: number;
}

export class Pace {
  readonly #attempted: number[] = [];
  readonly #acknowledged: number[] = [];

  attempted(at: number): void {
    count(this.#attempted, at);
  }

  acknowledged(at: number): void {
    count(this.#acknowledged, at);
  }

  /**
   * Messages a second that were both published and acknowledged in calm moments. A bucket without any acknowledgement is not calm:
   * somebody may have broken servers of his own. Undefined when there were not enough of them.
   * @param until when publishing ended, in ms
   */
  reached(disturbances: readonly Disturbance[], until: number): number | undefined {
    let [buckets, attempted, acknowledged] = [0, 0, 0];
    // In the first second connections and caches are new.
    for (let i = 1000 / BUCKET; (i + 1) * BUCKET <= until; i++) {
      const [from, to] = [i * BUCKET, (i + 1) * BUCKET];
      const broken = disturbances.some((one) => one.from < to && one.to + AFTERMATH > from);
      if (broken || (this.#acknowledged[i] ?? 0) === 0) continue;
      buckets++;
      attempted += this.#attempted[i] ?? 0;
      acknowledged += this.#acknowledged[i] ?? 0;
    }
    if (buckets < ENOUGH) return undefined;
    return (Math.min(attempted, acknowledged) * 1000) / (buckets * BUCKET);
  }
}

function count(buckets: number[], at: number): void {
  const i = Math.floor(at / BUCKET);
  buckets[i] = (buckets[i] ?? 0) + 1;
}
