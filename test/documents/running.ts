/** One program of a page while it runs. */
import { spawn, type ChildProcess } from 'node:child_process';
import { expected, written } from './output.js';

/** How long a program may take, in ms: a busy machine starts a cluster late. */
const LIMIT = 90_000;
/** How long a program that has written everything may take to end by itself, in ms, before it is asked to. */
const GRACE = 500;

export interface Task {
  /** For messages. */
  place: string;
  command: string;
  args: readonly string[];
  cwd: string;
  env: NodeJS.ProcessEnv;
  output: string | undefined;
  keep: boolean;
  fails: boolean;
}

export class Running {
  readonly #task: Task;
  readonly #child: ChildProcess;
  readonly #closed: Promise<void>;
  #text = '';
  #changed: () => void = () => undefined;
  #asked = false;

  constructor(task: Task) {
    this.#task = task;
    // In one stream, as a terminal shows it.
    this.#child = spawn('/bin/sh', ['-c', 'exec "$@" 2>&1', 'sh', task.command, ...task.args], {
      cwd: task.cwd,
      env: task.env,
      detached: true,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    this.#child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.#text += text;
      this.#changed();
    });
    this.#closed = new Promise((resolve) => {
      this.#child.once('close', () => {
        resolve();
        this.#changed();
      });
    });
  }

  /** Resolves when it has done what the page says; one that is kept runs on. */
  async done(): Promise<void> {
    const { output, keep } = this.#task;
    const wanted = output === undefined ? undefined : expected(output);
    const isThere = (): boolean => {
      if (this.#hasEnded) return true;
      if (wanted !== undefined) return wanted.before.test(written(this.#text));
      return keep && this.#text.includes('\n');
    };
    await this.#until(isThere, keep ? 'it has not written what it should' : this.#hint());
    if (keep && !this.#hasEnded) return;
    if (!this.#hasEnded && wanted?.interrupt === true) this.#ask('SIGINT');
    if (!this.#hasEnded && wanted?.interrupt === false) {
      await Promise.race([this.#closed, new Promise((resolve) => setTimeout(resolve, GRACE))]);
      if (!this.#hasEnded) this.#ask('SIGTERM');
    }
    await this.#until(() => this.#hasEnded, 'it does not end');
    this.#judge();
  }

  /** Ends one that was kept, as a deployment does. */
  async end(): Promise<void> {
    if (!this.#hasEnded) this.#ask('SIGTERM');
    await this.#until(() => this.#hasEnded, 'it does not end after SIGTERM');
    this.#judge();
  }

  kill(): void {
    this.#signal('SIGKILL');
  }

  get #hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  #hint(): string {
    return this.#task.output === undefined
      ? 'it does not end: a program that stays needs a block `text output` behind it, or the word keep'
      : 'it has not written what it should';
  }

  #ask(signal: NodeJS.Signals): void {
    this.#asked = true;
    this.#signal(signal);
  }

  #signal(signal: NodeJS.Signals): void {
    try {
      // With what it has started, as a terminal does.
      process.kill(-this.#child.pid!, signal);
    } catch {
      // It has ended.
    }
  }

  #judge(): void {
    const { exitCode, signalCode } = this.#child;
    const { fails, output } = this.#task;
    const isGood = exitCode === 0 || (this.#asked && (exitCode === null || exitCode >= 128));
    if (fails ? exitCode === 0 : !isGood) {
      throw this.#error(`it ended with ${exitCode ?? signalCode}${fails ? ', though it is said to fail' : ''}`);
    }
    if (output !== undefined && !expected(output).all.test(written(this.#text))) {
      throw this.#error('it has written something else');
    }
  }

  async #until(condition: () => boolean, what: string): Promise<void> {
    const limit = AbortSignal.timeout(LIMIT);
    while (!condition()) {
      if (limit.aborted) throw this.#error(`${what} (after ${LIMIT / 1000} s)`);
      const changed = new Promise<void>((resolve) => (this.#changed = resolve));
      await Promise.race([changed, new Promise((resolve) => setTimeout(resolve, 200))]);
    }
    if (this.#hasEnded) await this.#closed;
  }

  #error(what: string): Error {
    const said = this.#task.output === undefined ? '' : `\n--- the page says:\n${this.#task.output}`;
    return new Error(`${this.#task.place}: ${what}\n--- it wrote:\n${this.#text}${said}`);
  }
}
