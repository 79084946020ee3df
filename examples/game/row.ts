/** The row of dots. On a terminal it grows dot by dot; elsewhere (a file, a pipe) it comes in whole lines. */

export interface Output {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
  hasColors?(): boolean;
}

export type Tone = 'bad' | 'good' | 'dim';

const COLOURS: Readonly<Record<Tone, number>> = { bad: 31, good: 32, dim: 2 };
/** How many dots a full row has: five seconds at ten dots a second. */
const FULL = 50;
/** The beginning of a row: the time. */
const MARGIN = 8;

export class Row {
  readonly #out: Output;
  readonly #elapsed: () => number;
  readonly #live: boolean;
  readonly #colours: boolean;
  #used = 0;
  #gap = true;
  /** What is not written yet, where the output is not a terminal. */
  #held = '';

  /** @param elapsed ms since the beginning */
  constructor(out: Output, elapsed: () => number) {
    this.#out = out;
    this.#elapsed = elapsed;
    this.#live = out.isTTY === true;
    this.#colours = this.#live && out.hasColors?.() !== false;
  }

  dot(): void {
    this.#put('.', 1);
    this.#gap = false;
    if (this.#used >= this.#width) this.end();
  }

  /** Writes a short word among the dots. */
  word(text: string, tone: Tone): void {
    if (this.#used > 0 && this.#used + text.length + 2 > this.#width) this.end();
    const before = this.#gap ? '' : ' ';
    this.#put(`${before}${this.#paint(text, tone)} `, before.length + text.length + 1);
    this.#gap = true;
    // A reader of lines wants to know it now, and not when the dots are back.
    if (!this.#live) this.end();
  }

  /** Writes a line of its own. */
  line(text: string, tone?: Tone): void {
    this.end();
    this.#out.write(`${tone === undefined ? text : this.#paint(text, tone)}\n`);
  }

  /** Ends the row, if one has begun. */
  end(): void {
    if (this.#used === 0) return;
    this.#out.write(this.#live ? '\n' : `${this.#held.trimEnd()}\n`);
    this.#held = '';
    this.#used = 0;
    this.#gap = true;
  }

  get #width(): number {
    return Math.min(FULL, Math.max(10, (this.#out.columns ?? 80) - MARGIN - 1));
  }

  #put(text: string, width: number): void {
    if (this.#used === 0) this.#write(this.#paint(clock(this.#elapsed()).padStart(MARGIN - 2), 'dim') + '  ');
    this.#write(text);
    this.#used += width;
  }

  #write(text: string): void {
    if (this.#live) this.#out.write(text);
    else this.#held += text;
  }

  #paint(text: string, tone: Tone): string {
    return this.#colours ? `\x1b[${COLOURS[tone]}m${text}\x1b[0m` : text;
  }
}

/** A time in ms as text: `1:05` for 65 000. */
export function clock(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}
