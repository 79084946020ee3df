/** Writes results to stdout, no faster than whoever reads them. */

/** Whoever read the results has gone, as `head` does after its lines. That is no failure. */
export class ReaderGone extends Error {}

/** Whether a write failed because nobody reads any more. Windows has another word for it. */
export const isReaderGone = ({ code }: NodeJS.ErrnoException): boolean => code === 'EPIPE' || code === 'EOF';

export class Output {
  readonly #gone: Promise<void>;
  #over = false;

  constructor() {
    this.#gone = new Promise((resolve) => {
      // Other failures than that nobody reads are told by `main.ts`.
      process.stdout.on('error', () => {
        this.#over = true;
        resolve();
      });
    });
  }

  /** Resolves when nothing can be written any more. That shows only at a write. */
  get gone(): Promise<void> {
    return this.#gone;
  }

  /** Resolves when the data is handed over. @throws ReaderGone */
  write(data: Uint8Array | string): Promise<void> {
    if (this.#over) return Promise.reject(new ReaderGone());
    return new Promise((resolve, reject) => {
      process.stdout.write(data, (error) => (error ? reject(new ReaderGone('', { cause: error })) : resolve()));
    });
  }
}
