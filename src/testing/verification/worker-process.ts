/** A process of the run, as its parent sees it. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { InvalidArgumentError, ResilientStanError, TimeoutError } from '../../errors.js';
import { within } from '../../within.js';
import { processState } from '../process-state.js';
import { reaper } from '../reaper.js';
import { realTime, waitFor } from '../wait.js';
import { EVENT_FD, type Order, type WorkerEvent } from './protocol.js';

/**
 * Returns the program of a process. It lies beside this file: built, or as TypeScript under a loader. It is looked for when it is
 * needed, because a bundle that only loads the harness has none.
 * @throws InvalidArgumentError when it is not there
 */
function workerFile(): string {
  let file: string | undefined;
  try {
    file = fileURLToPath(new URL(import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js', import.meta.url));
  } catch {
    // Some bundles do not know where they are.
  }
  if (file !== undefined && existsSync(file)) return file;
  throw new InvalidArgumentError(
    'verify',
    'verify() starts processes from a file of resilient-stan, and a bundle does not have it: keep resilient-stan out of the bundle (external)',
  );
}

export interface WorkerSettings {
  name: string;
  /** The file for the output of the process, in all its lives. */
  logFile: string;
  onEvent(event: WorkerEvent, life: number): void;
  /** Called when the process is gone and all its events were read. */
  onEnd(end: 'killed' | 'died' | 'stopped', text: string): void;
}

export class WorkerProcess {
  readonly name: string;
  readonly #settings: WorkerSettings;
  #child: ChildProcess | undefined;
  /** A process that waits to be used. */
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
        if (!event) return; // the line was cut off when the process died
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
          // Ctrl-C can reach it only in the moment before it has a group of its own, and then this process ends the run.
          const end = this.#asked ?? (signal === 'SIGINT' ? 'stopped' : 'died');
          this.#settings.onEnd(end, signal ?? `exit code ${code}`);
          resolve();
        });
      });
    });
    this.order(order);
    await this.#within(this.#ready, timeout);
  }

  /** Starts a process for the next life ahead of time, so that the next start is quick. */
  prepare(): void {
    if (this.#spare?.connected) return;
    const file = workerFile();
    const log = openSync(this.#settings.logFile, 'a');
    const child = fork(file, [], {
      execArgv: [...process.execArgv.filter((arg) => !/^--(inspect|cpu-prof|test)/.test(arg)), '--expose-gc'],
      // Events have a pipe of their own, which is read to its end even when the process was killed.
      stdio: ['ignore', log, log, 'pipe', 'ipc'],
      // A terminal sends Ctrl-C to the whole group of this process, and whoever has just started has no handler yet. So it has
      // a group of its own from its first moment, and only this process decides when it ends.
      detached: true,
    });
    closeSync(log);
    child.on('error', () => {}); // it could not be started, which 'exit' or the next start tells
    // It ends by itself when this process ends, but not while it is frozen.
    reaper.adopt(child);
    this.#spare = child;
  }

  order(order: Order): void {
    // An order to a process that has ended is dropped.
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

  /** Sends SIGCONT, so that the process goes on. */
  async resume(): Promise<void> {
    this.#child?.kill('SIGCONT');
  }

  /** Sends SIGKILL. Resolves when the process is gone and all its events were read. */
  async kill(): Promise<void> {
    this.#spare?.kill('SIGKILL');
    this.#spare = undefined;
    this.#asked ??= 'killed';
    this.#child?.kill('SIGKILL');
    await this.#gone;
  }

  /** Closes the client in good order. Kills the process when that takes too long. */
  async close(timeout: number): Promise<void> {
    if (!this.#child) return;
    this.#asked = 'stopped';
    this.order({ do: 'close' });
    const timer = setTimeout(() => this.#child?.kill('SIGKILL'), timeout);
    await this.#gone;
    clearTimeout(timer);
  }

  #lastWords(lines: number): string {
    const log = readFileSync(this.#settings.logFile, 'utf8').trimEnd().split('\n').slice(-lines).join('\n  ');
    return log === '' ? '' : `. The last it wrote:\n  ${log}`;
  }

  async #within(ready: Promise<void>, timeout: number): Promise<void> {
    const late = (): never => {
      const what = `the client of process '${this.name}' was not connected after ${timeout} ms`;
      throw new TimeoutError(what + this.#lastWords(2));
    };
    const died = this.#gone.then(() => {
      const what = `process '${this.name}' ended before it was at work`;
      throw new ResilientStanError('ERR_STAN_CLOSED', what + this.#lastWords(8));
    });
    try {
      await within(Promise.race([ready, died]), timeout, late, realTime);
    } finally {
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
