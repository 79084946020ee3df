/** Writes results to stdout, no faster than whoever reads them. */

/** Whoever read the results has gone, as `head` does after its lines. That is no failure. */
export class ReaderGone extends Error {}

export class Output {
  readonly #gone: Promise<void>;
  #over = false;

  constructor() {
    this.#gone = new Promise((resolve) => {
      process.stdout.on('error', (error: NodeJS.ErrnoException) => {
        this.#over = true;
        // Windows has another word for it.
        if (error.code !== 'EPIPE' && error.code !== 'EOF') console.error(`stdout: ${error.message}`);
        resolve();
      });
    });
  }

  /** Resolves when nobody reads any more. That shows only at a write. */
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
