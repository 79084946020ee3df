/** A few lines of a terminal that are drawn again in the same place. */

export class Screen {
  readonly #stream: NodeJS.WriteStream;
  #drawn: string[] = [];

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream;
  }

  get width(): number {
    // The last column stays empty, because some terminals wrap as soon as it is written to.
    return Math.max((this.#stream.columns ?? 80) - 1, 20);
  }

  draw(lines: readonly string[]): void {
    // Lines that do not fit would scroll away, and the cursor could not go back to them.
    const fitting = lines.slice(0, Math.max((this.#stream.rows ?? 24) - 1, 1));
    const up = this.#drawn.length > 1 ? `\u001b[${this.#drawn.length - 1}A` : '';
    this.#stream.write(`\u001b[?25l\r${up}${fitting.map((line) => `${line}\u001b[K`).join('\n')}\u001b[J`);
    this.#drawn = fitting;
  }

  /** Removes the lines from the terminal. */
  clear(): void {
    const up = this.#drawn.length > 1 ? `\u001b[${this.#drawn.length - 1}A` : '';
    this.#stream.write(`\r${up}\u001b[J\u001b[?25h`);
    this.#drawn = [];
  }
}
