/** Records counts and latencies for the charts, in buckets. Pure. */
import type { LatencySeries, ReportSeries } from '../report/data.js';

export class SeriesRecorder {
  readonly #interval: number;
  readonly #acknowledged = new Latencies();
  readonly #delivered = new Latencies();
  readonly #failed: number[] = [];

  /** @param interval length of a bucket, in ms */
  constructor(interval: number) {
    this.#interval = interval;
  }

  acknowledged(at: number, took: number): void {
    this.#acknowledged.add(this.#bucket(at), took);
  }

  delivered(at: number, took: number): void {
    this.#delivered.add(this.#bucket(at), took);
  }

  failed(at: number): void {
    const bucket = this.#bucket(at);
    this.#failed[bucket] = (this.#failed[bucket] ?? 0) + 1;
  }

  /** The series. @param duration of the run, in ms; buckets without a number are 0 */
  result(duration: number): ReportSeries {
    const length = Math.max(Math.ceil(duration / this.#interval), 1);
    const acknowledged = this.#acknowledged.result(length);
    const delivered = this.#delivered.result(length);
    return {
      interval: this.#interval,
      acknowledged: acknowledged.counts,
      failed: Array.from({ length }, (_, i) => this.#failed[i] ?? 0),
      delivered: delivered.counts,
      ackLatency: acknowledged.latency,
      deliveryLatency: delivered.latency,
    };
  }

  #bucket(at: number): number {
    return Math.max(Math.floor(at / this.#interval), 0);
  }
}

/** Latencies of buckets. All of a bucket are kept for its median, until the time of the bucket is over. */
class Latencies {
  readonly #counts: number[] = [];
  readonly #p50: (number | null)[] = [];
  readonly #max: (number | null)[] = [];
  #open: number[] = [];
  #bucket = 0;

  add(bucket: number, took: number): void {
    // A late value counts in its own bucket, but no more for a median that is fixed.
    if (bucket > this.#bucket) this.#settle(bucket);
    if (bucket === this.#bucket) this.#open.push(took);
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
    this.#max[bucket] = Math.max(this.#max[bucket] ?? 0, took);
  }

  result(length: number): { counts: number[]; latency: LatencySeries } {
    this.#settle(this.#bucket + 1);
    return {
      counts: Array.from({ length }, (_, i) => this.#counts[i] ?? 0),
      latency: {
        p50: Array.from({ length }, (_, i) => rounded(this.#p50[i])),
        max: Array.from({ length }, (_, i) => rounded(this.#max[i])),
      },
    };
  }

  #settle(next: number): void {
    const sorted = this.#open.sort((a, b) => a - b);
    if (sorted.length > 0) this.#p50[this.#bucket] = sorted[Math.floor((sorted.length - 1) / 2)]!;
    this.#open = [];
    this.#bucket = next;
  }
}

/** Rounds to hundredths of a ms, so that the file stays small. */
function rounded(ms: number | null | undefined): number | null {
  return ms === null || ms === undefined ? null : Math.round(ms * 100) / 100;
}
