import type { ChildProcess } from 'node:child_process';
import { reaper } from '../../src/testing/reaper.js';
import { waitFor } from '../../src/testing/wait.js';

/** A server in a process of its own, which ends with the tests. */
export class ServerProcess {
  readonly #child: ChildProcess;
  #log = '';

  constructor(file: string, args: readonly string[], dir: string) {
    this.#child = reaper.launch(file, args, dir);
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on('data', (text: Buffer) => (this.#log += text.toString()));
    }
  }

  get log(): string {
    return this.#log;
  }

  /** Waits for a line of its log. */
  async logs(line: RegExp): Promise<void> {
    await waitFor(() => Promise.resolve(line.test(this.#log) ? true : undefined), {
      timeout: 30_000,
      interval: 10,
      what: () => `no ${String(line)} in the log: ${this.#log}`,
    });
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = new Promise<void>((resolve) => this.#child.once('exit', () => resolve()));
    this.#child.kill('SIGKILL');
    await ended;
  }
}
