/** The parent's end of a process of the run. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { ResilientStanError, TimeoutError } from '../../errors.js';
import { processState } from '../process-state.js';
import { reaper } from '../reaper.js';
import { waitFor } from '../wait.js';
import { EVENT_FD, type Order, type WorkerEvent } from './protocol.js';

/**
 * Beside this file, and as this file: built, or as it is under a loader. Looked for when it is needed, because a bundle that
 * only loads the harness has none.
 * @throws ResilientStanError when it is not there
 */
function workerFile(): string {
  let file: string | undefined;
  try {
    file = fileURLToPath(new URL(import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js', import.meta.url));
  } catch {
    // Some bundles do not know where they are.
  }
  if (file !== undefined && existsSync(file)) return file;
  throw new ResilientStanError(
    'ERR_STAN_INVALID_ARGUMENT',
    'verify() starts processes from a file of resilient-stan, and a bundle does not have it: keep resilient-stan out of the bundle (external)',
  );
}

export interface WorkerSettings {
  name: string;
  /** What its client and what it itself say goes there, of all lives. */
  logFile: string;
  onEvent(event: WorkerEvent, life: number): void;
  /** It is gone, and everything it told has been told. */
  onEnd(end: 'killed' | 'died' | 'stopped', text: string): void;
}

export class WorkerProcess {
  readonly name: string;
  readonly #settings: WorkerSettings;
  #child: ChildProcess | undefined;
  /** Waits to be started. */
  #spare: ChildProcess | undefined;
  #gone: Promise<void> = Promise.resolve();
  #ready: Promise<void> = Promise.resolve();
  #asked: 'killed' | 'stopped' | undefined;
  #lives = 0;

  constructor(settings: WorkerSettings) {
    this.name = settings.name;
    this.#settings = settings;
  }

  get running(): boolean {
    return this.#child !== undefined;
  }

  get lives(): number {
    return this.#lives;
  }

  /**
   * Starts it. Resolves when its client is connected and has subscribed to everything.
   * @throws TimeoutError; ResilientStanError when the process ends before
   */
  async start(order: Extract<Order, { do: 'start' }>, timeout: number): Promise<void> {
    await this.#gone;
    const life = ++this.#lives;
    this.#asked = undefined;
    this.prepare();
    const child = this.#spare!;
    this.#spare = undefined;
    this.#child = child;
    const lines = createInterface({ input: child.stdio[EVENT_FD] as Readable });
    this.#ready = new Promise((resolve) => {
      lines.on('line', (line) => {
        const event = parse(line);
        if (!event) return; // cut off by its death
        this.#settings.onEvent(event, life);
        if (event[0] === 'ready') resolve();
      });
    });
    const drained = once(lines, 'close');
    this.#gone = new Promise((resolve) => {
      child.once('error', () => resolve());
      child.once('exit', (code, signal) => {
        void drained.then(() => {
          this.#child = undefined;
          this.#settings.onEnd(this.#asked ?? 'died', signal ?? `exit code ${code}`);
          resolve();
        });
      });
    });
    this.order(order);
    await this.#within(this.#ready, timeout);
  }

  /** Has a process ready for the next start, so that it costs no time then. */
  prepare(): void {
    if (this.#spare?.connected) return;
    const file = workerFile();
    const log = openSync(this.#settings.logFile, 'a');
    const child = fork(file, [], {
      execArgv: [...process.execArgv.filter((arg) => !/^--(inspect|cpu-prof|test)/.test(arg)), '--expose-gc'],
      // Its events have a pipe of their own, which is read to its end also when the process was killed.
      stdio: ['ignore', log, log, 'pipe', 'ipc'],
    });
    closeSync(log);
    child.on('error', () => {}); // it was not to be had: 'exit', or the next start, tells
    // It ends with us by itself, but not while it is frozen.
    reaper.adopt(child);
    this.#spare = child;
  }

  order(order: Order): void {
    // What is on its way to the dead is of no interest to anybody.
    if (this.#child?.connected) this.#child.send(order, () => {});
  }

  /**
   * SIGSTOP: it stands still, its connections stay open. Resolves when it does.
   * @throws ResilientStanError when there is no process
   */
  async pause(): Promise<void> {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new ResilientStanError('ERR_STAN_CLOSED', `process '${this.name}' is not running`);
    this.#child?.kill('SIGSTOP');
    await waitFor(async () => (['T', undefined].includes(await processState(pid)) ? true : undefined), {
      ...{ timeout: 5000, interval: 2 },
      what: () => `process '${this.name}' was not stopped by SIGSTOP`,
    });
  }

  /** SIGCONT: it goes on as if nothing had been. */
  async resume(): Promise<void> {
    this.#child?.kill('SIGCONT');
  }

  /** SIGKILL. Resolves when it is gone and everything it told has been told. */
  async kill(): Promise<void> {
    this.#spare?.kill('SIGKILL');
    this.#spare = undefined;
    this.#asked ??= 'killed';
    this.#child?.kill('SIGKILL');
    await this.#gone;
  }

  /** Lets its client leave in good order; kills it when that takes too long. */
  async close(timeout: number): Promise<void> {
    if (!this.#child) return;
    this.#asked = 'stopped';
    this.order({ do: 'close' });
    const timer = setTimeout(() => this.#child?.kill('SIGKILL'), timeout);
    await this.#gone;
    clearTimeout(timer);
  }

  async #within(ready: Promise<void>, timeout: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new TimeoutError(`the client of process '${this.name}' was not connected after ${timeout} ms`)),
        timeout,
      );
    });
    const died = this.#gone.then(() => {
      const log = readFileSync(this.#settings.logFile, 'utf8').trimEnd().split('\n').slice(-8).join('\n  ');
      const why = log === '' ? '' : `. The last it wrote:\n  ${log}`;
      throw new ResilientStanError('ERR_STAN_CLOSED', `process '${this.name}' ended before it was at work${why}`);
    });
    try {
      await Promise.race([ready, late, died]);
    } finally {
      clearTimeout(timer);
      died.catch(() => {});
    }
  }
}

function parse(line: string): WorkerEvent | undefined {
  try {
    return JSON.parse(line) as WorkerEvent;
  } catch {
    return undefined;
  }
}
