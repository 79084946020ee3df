/** The copy that follows STAN while the readers move, as `migrate copy --follow` in a terminal of its own. */
import { describe } from '../../errors.js';
import { copy, type CopyReport } from '../../migrate/copy.js';
import { MigrationTargetError } from '../../migrate/errors.js';
import type { MigrateOptions } from '../../migrate/options.js';
import type { Stage } from './stage.js';
import { waitFor } from '../wait.js';
import { PATIENCE } from './stage.js';

export class FollowingCopy {
  readonly #stage: Stage;
  readonly #stop = new AbortController();
  readonly #copied: Promise<CopyReport>;
  #stored = 0;
  #waiting = '';

  /** Begins to copy. When the copy ends before {@link stop}, so does the rehearsal. */
  constructor(stage: Stage, migration: MigrateOptions) {
    this.#stage = stage;
    this.#copied = copy({
      ...migration,
      follow: true,
      signal: AbortSignal.any([this.#stop.signal, stage.signal]),
      onProgress: ({ messagesDone, waiting }) => {
        this.#stored = messagesDone;
        this.#waiting = waiting.map(({ reason }) => `, and waits: ${reason}`).join('');
      },
    });
    this.#copied.then(
      ({ problems }) => {
        if (this.#stop.signal.aborted) return;
        const why = problems.map(({ message }) => message).join('; ');
        stage.fail(new MigrationTargetError(`the copy ended before it was told to: ${why}`));
      },
      (error: unknown) => {
        stage.fail(
          new MigrationTargetError(`the copy ended before it was told to: ${describe(error)}`, { cause: error }),
        );
      },
    );
  }

  /** Resolves when so many messages are copied. */
  async reached(messages: number): Promise<void> {
    await this.#stage.wait(
      waitFor(() => (this.#stored >= messages ? true : undefined), {
        timeout: PATIENCE,
        what: () => this.#state(messages),
        signal: this.#stage.signal,
      }),
      { what: () => this.#state(messages) },
    );
  }

  /** Ends it, as Ctrl-C does. */
  async stop(): Promise<CopyReport> {
    this.#stop.abort();
    return await this.#stage.wait(this.#copied, { what: `the copy does not end, at message ${this.#stored}` });
  }

  #state(wanted: number): string {
    return `the copy is at ${this.#stored} of ${wanted}${this.#waiting}`;
  }
}
