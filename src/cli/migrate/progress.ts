/** Shows how far a step is: a bar in a terminal, and elsewhere a line every few seconds. */
import { formatCount, formatDuration } from '../../testing/report/format.js';
import { say } from '../say.js';
import { columnsOf } from '../text.js';

/** How far a step is. */
export interface Measure {
  readonly done: number;
  readonly total: number;
  /** What goes behind the figures, as `lag 3`. */
  readonly note?: string;
}

/** How often a line is written where there is no terminal, in ms. */
const LINES = 5000;
/** The rate is that of so many ms. */
const RATE_OVER = 5000;
const BAR = 24;

export class ProgressView {
  readonly #stream: NodeJS.WriteStream;
  readonly #now: () => number;
  readonly #began: number;
  readonly #samples: { at: number; done: number }[] = [];
  #lastLine: number;
  #shown = false;

  constructor(stream: NodeJS.WriteStream = process.stderr, now: () => number = () => performance.now()) {
    this.#stream = stream;
    this.#now = now;
    this.#began = now();
    this.#lastLine = this.#began;
  }

  /** Shows the latest state. */
  show(measure: Measure): void {
    const now = this.#now();
    this.#samples.push({ at: now, done: measure.done });
    while (this.#samples.length > 2 && now - this.#samples[1]!.at > RATE_OVER) this.#samples.shift();
    const line = progressLine(measure, this.#rate());
    if (this.#stream.isTTY) {
      this.#stream.write(`\r\u001b[K${line.slice(0, columnsOf(this.#stream))}`);
      this.#shown = true;
    } else if (now - this.#lastLine >= LINES) {
      this.#lastLine = now;
      say(line);
    }
  }

  /** Writes a line of text, above the bar if there is one. */
  say(text: string): void {
    this.clear();
    say(text);
  }

  /** Takes the bar away. */
  clear(): void {
    if (this.#shown) this.#stream.write('\r\u001b[K');
    this.#shown = false;
  }

  /** Messages a second. Undefined before it is known. */
  #rate(): number | undefined {
    const first = this.#samples[0]!;
    const last = this.#samples.at(-1)!;
    return last.at - first.at < 500 ? undefined : ((last.done - first.done) / (last.at - first.at)) * 1000;
  }
}

/** `[=====>    ] 45 % · 450 of 1 000 · 12 000/s · 2 min left`. Pure. */
export function progressLine({ done, total, note }: Measure, rate: number | undefined): string {
  const share = total === 0 ? 1 : Math.min(1, done / total);
  const full = Math.floor(share * BAR);
  const bar = `[${'='.repeat(full)}${full < BAR ? '>' : ''}${' '.repeat(Math.max(0, BAR - full - 1))}]`;
  const parts = [`${bar} ${Math.floor(share * 100)} %`, `${formatCount(done)} of ${formatCount(total)}`];
  if (rate !== undefined) parts.push(`${formatCount(rate)}/s`);
  if (rate !== undefined && rate > 0 && done < total) {
    parts.push(`${formatDuration(((total - done) / rate) * 1000)} left`);
  }
  if (note !== undefined) parts.push(note);
  return parts.join(' · ');
}
