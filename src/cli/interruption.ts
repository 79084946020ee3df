/** Ctrl-C and SIGTERM. The first one asks the command to end in good order, the second one ends it at once. */
import '../dispose.js';

/**
 * How long after the first signal another one counts as the same, in ms. A terminal sends Ctrl-C to npx and to this process,
 * and npx sends it on.
 */
const SAME = 300;

const CODES = { SIGINT: 130, SIGTERM: 143 } as const;

/** A command was interrupted before it could do anything. Nothing is said of it. */
export class Interrupted extends Error {
  readonly exitCode: number;
  constructor(exitCode: number) {
    super('interrupted');
    this.exitCode = exitCode;
  }
}

export class Interruption {
  readonly #controller = new AbortController();
  #name: 'SIGINT' | 'SIGTERM' | undefined;
  #at = 0;
  readonly #listeners = (['SIGINT', 'SIGTERM'] as const).map((name) => {
    const listener = (): void => {
      const now = performance.now();
      if (this.#name !== undefined) {
        if (now - this.#at < SAME) return;
        process.exit(CODES[name]); // everything that was started ends with this process
      }
      this.#name = name;
      this.#at = now;
      // A process that runs out of work lets go of its signals before it ends, and a further one would kill it. One that exits keeps them.
      process.once('beforeExit', () => process.exit());
      this.#controller.abort(name);
    };
    process.on(name, listener);
    return { name, listener };
  });

  /** Is aborted by the first one. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** The exit code of a command that did not do what it was asked for. Undefined when there was none. */
  get exitCode(): number | undefined {
    return this.#name && CODES[this.#name];
  }

  /** Resolves at the first one. */
  get came(): Promise<void> {
    const { signal } = this;
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  }

  /** Stops listening, unless there was one: what npx sends on of the same Ctrl-C may still come, and must not kill the process. */
  [Symbol.dispose](): void {
    if (this.#name !== undefined) return;
    for (const { name, listener } of this.#listeners) process.off(name, listener);
  }
}
