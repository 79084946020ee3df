/** Finds out whether memory, handles or listeners of a process have grown. Pure. */
import type { ReportProcess, ResourceSample } from '../report/data.js';
import { percentile } from '../report/statistics.js';

/** Length of the start-up of a life, in ms. In it caches fill and code is compiled, so its samples do not count. */
const WARM_UP = 60_000;
/** How many samples are needed. */
const ENOUGH = 12;

interface Measure {
  what: string;
  of: (sample: ResourceSample) => number;
  /** By how much a measure has to be higher to count as growth. What is in use for a moment differs from sample to sample. */
  allowed: (early: number) => number;
  show: (value: number) => string;
}

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;

const MEASURES: readonly Measure[] = [
  {
    what: 'heap',
    of: ({ heap }) => heap,
    // A leak for each message of a run would be tens of MB.
    allowed: (early) => Math.max(early * 0.2, 2e6),
    show: megabytes,
  },
  { what: 'number of handles', of: ({ handles }) => handles, allowed: () => 3, show: String },
  {
    what: 'number of listeners',
    of: ({ listeners }) => listeners,
    // The two connections of a publisher have 12, and an outage none. A leak for each reconnect of a run would be a hundred.
    allowed: () => 20,
    show: String,
  },
];

/** A low value of the samples. What a reconnect takes for a second or two is given back, and a leak is not. */
const CALM = 0.05;

/** One sentence for each measure that is higher in the last third of a life than in the first, without its start-up. */
export function growth(process: ReportProcess): string[] {
  const lives = [...new Set(process.samples.map(({ life }) => life))];
  return lives.flatMap((life) => {
    const all = process.samples.filter((sample) => sample.life === life);
    const samples = all.filter(({ at }) => at - all[0]!.at >= WARM_UP);
    if (samples.length < ENOUGH) return [];
    const third = Math.floor(samples.length / 3);
    return MEASURES.flatMap(({ what, of, allowed, show }) => {
      const early = percentile(samples.slice(0, third).map(of), CALM)!;
      const late = percentile(samples.slice(-third).map(of), CALM)!;
      if (late - early <= allowed(early)) return [];
      return [`process '${process.name}' (life ${life}): its ${what} grew from ${show(early)} to ${show(late)}`];
    });
  });
}
