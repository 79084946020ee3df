import type { ChildProcess } from 'node:child_process';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AbortedError, InvalidArgumentError, TimeoutError } from '../errors.js';
import { within } from '../within.js';
import { nodeConfig, renderConfig, type NodeConfig } from './config.js';
import { ServerStartError } from './errors.js';
import { Monitor } from './monitor.js';
import { processState } from './process-state.js';
import type { Proxy } from './proxy.js';
import { reaper } from './reaper.js';
import { addressInUse, FRESH, LineRing, readLine, type ServerLogState } from './server-log.js';
import { keepAlive, sleep, waitFor } from './wait.js';

/** How many lines of its log a node keeps. */
const LOG_LINES = 5000;

export const NOT_PROXIED = 'there is no proxy to break: start the cluster with { proxied: true }';

/** How the last life of a node ended. */
export interface NodeExit {
  code: number | null;
  signal: NodeJS.Signals | null;
  /** False: nobody called `stop()` or `kill()`. */
  asked: boolean;
  at: Date;
}

/** What a cluster tells a node about itself. */
export interface NodeSettings {
  /** Path of the server. */
  server: string;
  /** Where its configuration, and the store and Raft log that are its own, are. Absolute. */
  dir: string;
  /** Where clients reach it: its own port, or its proxy's. */
  url: string;
  config: NodeConfig;
  /** What clients go through to reach it. */
  proxy?: Proxy | undefined;
  /** It listens: awaited by `start()`. */
  onListening?: (() => Promise<void>) | undefined;
  /** Its process has ended. */
  onEnd?: (() => void) | undefined;
}

/**
 * One server of a {@link StanCluster}: a value that can be stopped, killed, frozen, wiped and started again on its own
 * ports and with its own store.
 */
export class StanNode {
  readonly name: string;
  /** Where clients reach it, without credentials; through its proxy in a proxied cluster. */
  readonly url: string;
  /** Its own directory: configuration, store, Raft log. */
  readonly dir: string;
  /** Its monitoring endpoint, never behind a proxy. */
  readonly monitor: Monitor;

  readonly #settings: NodeSettings;
  readonly #log = new LineRing(LOG_LINES);
  #child: ChildProcess | undefined;
  #exited: Promise<void> = Promise.resolve();
  /** Since it listened last: what has to follow for it to be reached. */
  #reachable: Promise<void> = Promise.resolve();
  #starting: Promise<void> | undefined;
  #state: ServerLogState = FRESH;
  #servingSince = 0;
  #lifeStart = 0;
  #lives = 0;
  #paused = false;
  #asked = false;
  #lastExit: NodeExit | undefined;

  /** @internal Made by {@link StanCluster}. */
  constructor(settings: NodeSettings) {
    this.#settings = settings;
    this.name = settings.config.name;
    this.url = settings.url;
    this.dir = settings.dir;
    this.monitor = new Monitor(settings.config.ports.monitor);
  }

  /** The ports the server itself listens on, on 127.0.0.1. */
  get ports(): { client: number; monitor: number; route: number } {
    return { ...this.#settings.config.ports };
  }

  /**
   * The proxy between its clients and it, to put toxics in: in a proxied cluster only.
   * @throws InvalidArgumentError in any other
   */
  get proxy(): Proxy {
    if (this.#settings.proxy) return this.#settings.proxy;
    throw new InvalidArgumentError('proxied', NOT_PROXIED);
  }

  /** Process ID of the server itself; undefined while it is down. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Whether the process exists. A paused node is running. */
  get running(): boolean {
    return this.#child !== undefined;
  }

  /** Whether it is frozen by {@link pause}. */
  get paused(): boolean {
    return this.#paused;
  }

  /** Whether, by its own log, it serves streaming clients: as the leader, as the active one, or alone. */
  get serving(): boolean {
    return this.#child !== undefined && this.#state.serving;
  }

  /** Whether, by its own log, it stands by for the active node of its group (fault-tolerant mode). */
  get standby(): boolean {
    return this.#child !== undefined && this.#state.standby;
  }

  /** `performance.now()` of the moment it last became {@link serving}. */
  get servingSince(): number {
    return this.#servingSince;
  }

  /** How often it was started. */
  get lives(): number {
    return this.#lives;
  }

  /** How the last life ended; undefined before the first end. */
  get lastExit(): NodeExit | undefined {
    return this.#lastExit;
  }

  /** The last 5000 lines of its log over all its lives, with what was done to it in between. */
  log(): string[] {
    return this.#log.lines();
  }

  /**
   * Starts the server on its ports, with the store it has. Resolves when it is up: alone and ready, serving or standing
   * by in its group, or a member of its Raft cluster (which may not have a leader yet: see `cluster.ready()`).
   * Does nothing when it runs. A port that somebody else holds at the moment is waited for.
   * @param options.timeout ms, default 20 000
   * @throws ServerStartError with the server's own words; TimeoutError
   */
  start(options: { timeout?: number } = {}): Promise<void> {
    if (this.#starting) return this.#starting;
    if (this.#child && !this.#asked) return Promise.resolve();
    const starting = this.#start(options.timeout ?? 20_000).finally(() => {
      this.#starting = undefined;
    });
    this.#starting = starting;
    return starting;
  }

  /**
   * SIGTERM: the server shuts down in its own time. Resolves when the process is gone. Thaws it first if it is paused.
   * Does nothing when it is down.
   * @param options.timeout ms, default 10 000; then it is killed
   * @throws TimeoutError when it had to be killed
   */
  async stop(options: { timeout?: number } = {}): Promise<void> {
    const { timeout = 10_000 } = options;
    const child = this.#child;
    if (!child) return;
    this.#signal('SIGTERM');
    if (this.#paused) await this.resume();
    const exited = this.#exited.then(() => true);
    if (await within(exited, timeout, () => false)) return;
    await this.kill();
    throw new TimeoutError(`node '${this.name}' did not exit within ${timeout} ms of SIGTERM, and was killed`);
  }

  /** SIGKILL: as if the machine lost power. Resolves when the process is gone. Does nothing when it is down. */
  async kill(): Promise<void> {
    if (!this.#child) return;
    this.#signal('SIGKILL');
    await keepAlive(this.#exited);
  }

  /**
   * SIGSTOP: the process freezes, its connections stay open and mute. Resolves when it is frozen.
   * @throws InvalidArgumentError when it is down
   */
  async pause(): Promise<void> {
    const child = this.#running('pause');
    this.#signal('SIGSTOP');
    this.#paused = true;
    await waitFor(async () => (['T', undefined].includes(await processState(child.pid as number)) ? true : undefined), {
      timeout: 5000,
      interval: 2,
      what: () => `node '${this.name}' was not stopped by SIGSTOP`,
    });
  }

  /** SIGCONT: it goes on as if nothing had been. Does nothing when it is not paused. */
  async resume(): Promise<void> {
    const child = this.#child;
    if (!child || !this.#paused) return;
    this.#signal('SIGCONT');
    this.#paused = false;
    await waitFor(async () => ((await processState(child.pid as number)) === 'T' ? undefined : true), {
      timeout: 5000,
      interval: 2,
      what: () => `node '${this.name}' was not continued by SIGCONT`,
    });
  }

  /**
   * Removes its store and its Raft log, together: it comes back as an empty member, and its peers fill it up.
   *
   * Raft does not survive just any loss of a disk: a member that forgot what it acknowledged votes for anybody. Acknowledged
   * messages are safe when it is wiped while it is down, and the others have a leader and are `cluster.replicated()`
   * without it; and when nothing else happens until they are so again with it.
   * @throws InvalidArgumentError while it runs, and in fault-tolerant mode, where the store is not its own
   */
  async wipe(): Promise<void> {
    if (this.#child) throw new InvalidArgumentError('node', `node '${this.name}' runs: stop or kill it before wipe()`);
    const { config } = this.#settings;
    if (config.mode === 'fault-tolerant') {
      throw new InvalidArgumentError(
        'node',
        `node '${this.name}' has no store of its own: in fault-tolerant mode all nodes share one`,
      );
    }
    await Promise.all([config.storeDir, config.raftDir].map((dir) => rm(dir, { recursive: true, force: true })));
    this.#note('wiped');
  }

  async #start(timeout: number): Promise<void> {
    const deadline = performance.now() + timeout;
    for (;;) {
      await keepAlive(this.#exited); // of an earlier life that is just being ended
      try {
        return await this.#launch(deadline, timeout);
      } catch (error) {
        // An outgoing connection may hold our port for a moment, or an earlier life's socket.
        const passing = error instanceof ServerStartError && error.addressInUse !== undefined && this.#lives > 1;
        if (!passing || performance.now() + 1000 > deadline) throw error;
        await sleep(200);
      }
    }
  }

  async #launch(deadline: number, timeout: number): Promise<void> {
    const { config, server, dir } = this.#settings;
    await mkdir(dir, { recursive: true });
    const file = join(dir, 'server.conf');
    await writeFile(file, renderConfig(nodeConfig(config)), { mode: 0o600 });

    this.#lives++;
    this.#state = FRESH;
    this.#asked = false;
    this.#paused = false;
    this.#note(`started (life ${this.#lives})`);
    this.#lifeStart = this.#log.count;
    const child = reaper.launch(server, ['-c', file], dir);
    this.#child = child;
    this.#exited = this.#watch(child);

    try {
      await waitFor(() => this.#isUp(child), {
        timeout: Math.max(deadline - performance.now(), 0),
        interval: 10,
        what: () => `(of ${timeout} ms in all) node '${this.name}' is not up. ${this.#lastWords()}`,
      });
      await this.#reachable;
    } catch (error) {
      const killed = this.#asked;
      await this.kill();
      if (killed) throw new AbortedError(`node '${this.name}' was stopped while it started`, { cause: error });
      throw error;
    }
  }

  /** @throws ServerStartError when it never will be. */
  async #isUp(child: ChildProcess): Promise<true | undefined> {
    if (this.#child !== child || this.#state.fatal !== undefined) throw this.#startError();
    switch (this.#settings.config.mode) {
      case 'single':
        return this.#state.serving || undefined;
      case 'fault-tolerant':
        return this.#state.serving || this.#state.standby || undefined;
      case 'clustered':
        // Raft comes after NATS, and can fail by itself.
        return this.#state.accepting && (await this.monitor.serverz())?.role ? true : undefined;
    }
  }

  #startError(): ServerStartError {
    const log = this.#log.lines(this.#lifeStart);
    const address = addressInUse(this.#state.fatal ?? log.slice(-3).join('\n'));
    const why = address
      ? `somebody else listens on ${address}`
      : this.#asked
        ? 'it was stopped while it started'
        : 'the server refused to run';
    return new ServerStartError(
      this.name,
      `node '${this.name}' did not start: ${why}. ${this.#lastWords()}`,
      log,
      address,
    );
  }

  /** What the server itself says, in an error message. */
  #lastWords(): string {
    const log = this.#log.lines(this.#lifeStart);
    if (this.#state.fatal !== undefined) return `The server says: ${this.#state.fatal}`;
    if (log.length === 0) return 'The server wrote nothing.';
    return `The last the server wrote:\n${log
      .slice(-8)
      .map((line) => `  ${line}`)
      .join('\n')}`;
  }

  /** Resolves when the process is gone and all it wrote has been read. */
  #watch(child: ChildProcess): Promise<void> {
    for (const stream of [child.stdout, child.stderr]) {
      let rest = '';
      stream?.setEncoding('utf8');
      stream?.on('data', (text: string) => {
        const lines = (rest + text).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) this.#read(line);
      });
      stream?.on('end', () => {
        if (rest !== '') this.#read(rest);
      });
    }
    return new Promise((resolve) => {
      const over = (code: number | null, signal: NodeJS.Signals | null) => {
        if (this.#child !== child) return;
        this.#child = undefined;
        this.#paused = false;
        this.#lastExit = { code, signal, asked: this.#asked, at: new Date() };
        this.#settings.onEnd?.();
        this.#note(`ended: ${signal ?? `exit code ${code}`}${this.#asked ? '' : ' (nobody asked for it)'}`);
        resolve();
      };
      child.once('error', (error) => {
        this.#read(`cannot run ${this.#settings.server}: ${error.message}`);
        over(null, null);
      });
      child.once('close', over);
    });
  }

  #read(line: string): void {
    this.#log.push(line);
    const before = this.#state;
    this.#state = readLine(before, line);
    if (this.#state.serving && !before.serving) this.#servingSince = performance.now();
    if (this.#state.accepting && !before.accepting) {
      this.#reachable = this.#settings.onListening?.() ?? Promise.resolve();
      this.#reachable.catch(() => {}); // start() tells
    }
  }

  /** What the harness did, between the server's own lines. */
  #note(what: string): void {
    this.#log.push(`[harness] ${new Date().toISOString()} node '${this.name}' ${what}`);
  }

  #signal(signal: NodeJS.Signals): void {
    if (signal === 'SIGTERM' || signal === 'SIGKILL') this.#asked = true;
    this.#note(`gets ${signal}`);
    this.#child?.kill(signal); // never a wrong process: the ID is ours until we have seen the end
  }

  #running(what: string): ChildProcess {
    if (!this.#child) throw new InvalidArgumentError('node', `node '${this.name}' is down: start it before ${what}()`);
    return this.#child;
  }
}
