import type { ChildProcess } from 'node:child_process';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AbortedError, InvalidArgumentError, TimeoutError } from '../errors.js';
import { within } from '../within.js';
import type { NodePorts } from './config.js';
import { ServerStartError } from './errors.js';
import { Monitor } from './monitor.js';
import { handlesHangup, processState } from './process-state.js';
import type { Proxy } from './proxy.js';
import { reaper } from './reaper.js';
import { addressInUse, FRESH, LineRing, readLine, type ServerLogState } from './server-log.js';
import { keepAlive, realTime, sleep, waitFor } from './wait.js';

/** How many lines of its log a node keeps. */
const LOG_LINES = 5000;

/** What a server writes when it has read its configuration again, or could not. */
const RELOADED = /Reloaded server configuration|Failed to reload server configuration/;

export const NOT_PROXIED = 'there is no proxy to break: start the cluster with { proxied: true }';

/**
 * How a server process has ended.
 * @category Cluster
 */
export interface NodeExit {
  /** The exit code. Null after a signal, and when the process could not be run. */
  code: number | null;
  /** The signal that ended it. Null when it ended by itself. */
  signal: NodeJS.Signals | null;
  /** Whether `stop()` or `kill()` was called. */
  asked: boolean;
  /** When it ended. */
  at: Date;
}

/** What a node has to know, from its cluster. */
export interface ServerNodeSettings {
  /** Name of the node: `a`, `b`, `c` … */
  name: string;
  /** Path of the server. */
  server: string;
  /** Absolute path of the directory with its configuration, and with what it stores if that is its own. */
  dir: string;
  /** The URL for clients, with its own port or that of its proxy. */
  url: string;
  ports: NodePorts;
  /** Name of the configuration file in its directory, and the text. */
  config: { file: string; text: string };
  /** Absolute paths of the directories with what it stores. */
  stores: readonly string[];
  /** The proxy in front of it. Undefined when the cluster is not proxied. */
  proxy?: Proxy | undefined;
  /** Called when the server listens. `start()` waits for the promise. */
  onListening?: (() => Promise<void>) | undefined;
  /** Called when the process has ended. */
  onEnd?: (() => void) | undefined;
}

/**
 * One server of a cluster, as a process: a {@link StanNode} or a {@link JetStreamNode}. It can be stopped, killed, frozen and
 * wiped, and started again on the same ports and with the same store.
 * @category Cluster
 */
export abstract class ServerNode {
  /** Name of the node: `a`, `b`, `c` … */
  readonly name: string;
  /** The URL for clients, without credentials. In a proxied cluster it leads through the proxy. */
  readonly url: string;
  /** The directory of the node, with configuration, store and Raft log. */
  readonly dir: string;
  /** The monitoring of the server. It is never behind a proxy. */
  readonly monitor: Monitor;

  readonly #settings: ServerNodeSettings;
  readonly #log = new LineRing(LOG_LINES);
  /** The text of its configuration file. */
  #config: string;
  #child: ChildProcess | undefined;
  #exited: Promise<void> = Promise.resolve();
  /** Settles when the server can be reached, after it has begun to listen. */
  #reachable: Promise<void> = Promise.resolve();
  #starting: Promise<void> | undefined;
  #state: ServerLogState = FRESH;
  #lifeStart = 0;
  #lives = 0;
  #paused = false;
  #asked = false;
  /** Whether its cluster was stopped. */
  #retired = false;
  #lastExit: NodeExit | undefined;

  /** @internal Made by its cluster. */
  constructor(settings: ServerNodeSettings) {
    this.#settings = settings;
    this.#config = settings.config.text;
    this.name = settings.name;
    this.url = settings.url;
    this.dir = settings.dir;
    this.monitor = new Monitor(settings.ports.monitor);
  }

  /** The ports of the server itself, on 127.0.0.1. */
  get ports(): {
    /** The port for clients. */
    client: number;
    /** The port for monitoring. */
    monitor: number;
    /** The port for other servers. */
    route: number;
  } {
    return { ...this.#settings.ports };
  }

  /**
   * The proxy between the node and its clients, in a proxied cluster.
   * @throws InvalidArgumentError (at once) when the cluster is not proxied
   */
  get proxy(): Proxy {
    if (this.#settings.proxy) return this.#settings.proxy;
    throw new InvalidArgumentError('proxied', NOT_PROXIED);
  }

  /** Process ID of the server. Undefined while it is down. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Whether the process exists. A paused node is running as well. */
  get running(): boolean {
    return this.#child !== undefined;
  }

  /** Whether the node is frozen by {@link pause}. */
  get paused(): boolean {
    return this.#paused;
  }

  /** How often the node was started. */
  get lives(): number {
    return this.#lives;
  }

  /** How the process ended last. Undefined before the first end. */
  get lastExit(): NodeExit | undefined {
    return this.#lastExit;
  }

  /** The last 5000 lines of the log, over all starts, and what was done to the node between them. */
  log(): string[] {
    return this.#log.lines();
  }

  /**
   * Starts the server on its ports, with the store it has. The promise resolves when the server is up; a cluster may still be
   * without a leader then: see {@link ServerCluster.ready}. Does nothing when it runs. A port that another process holds for the
   * moment is waited for.
   *
   * @param options `timeout`: how long the start may take, in ms, default 20 000
   * @throws ServerStartError with the server's own words, when it refuses to run
   * @throws TimeoutError when the time is over
   * @throws AbortedError when it is stopped or killed meanwhile, and after the end of its cluster
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
   * Sends SIGTERM, so that the server shuts down in order. The promise resolves when the process is gone. A paused node is
   * resumed for it. Does nothing when the node is down.
   *
   * @param options `timeout`: after this time the process is killed, in ms, default 10 000
   * @throws TimeoutError when the process had to be killed
   */
  async stop(options: { timeout?: number } = {}): Promise<void> {
    const { timeout = 10_000 } = options;
    const child = this.#child;
    if (!child) return;
    this.#signal('SIGTERM');
    if (this.#paused) await this.resume();
    const exited = this.#exited.then(() => true);
    if (await within(exited, timeout, () => false, realTime)) return;
    await this.kill();
    throw new TimeoutError(`node '${this.name}' did not exit within ${timeout} ms of SIGTERM, and was killed`);
  }

  /** Sends SIGKILL, as if the process crashed. The promise resolves when it is gone. Does nothing when the node is down. */
  async kill(): Promise<void> {
    if (!this.#child) return;
    this.#signal('SIGKILL');
    await keepAlive(this.#exited);
  }

  /**
   * Sends SIGSTOP, so that the process freezes and its connections stay open and are silent. The promise resolves when it is
   * frozen.
   * @throws InvalidArgumentError when the node is down
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

  /** Sends SIGCONT, so that a frozen process goes on. Does nothing when the node is not paused. */
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
   * Removes everything that a node has stored, which is down. It comes back empty, and the other nodes send it what it needs.
   *
   * Raft may lose messages over this, because a member that has forgotten what it acknowledged votes for any other one. No
   * acknowledged message is lost if the other nodes have a leader and are {@link ServerCluster.replicated} without the node,
   * and if no other fault happens until they are so again with it.
   * @throws InvalidArgumentError while the node runs
   */
  async wipe(): Promise<void> {
    if (this.#child) throw new InvalidArgumentError('node', `node '${this.name}' runs: stop or kill it before wipe()`);
    await Promise.all(this.#settings.stores.map((dir) => rm(dir, { recursive: true, force: true })));
    this.#note('wiped');
  }

  /**
   * Changes the configuration file, for this life and for later ones. A server that runs reads it by {@link reload}, or when it is
   * started again.
   * @param change gets the text of the file, and returns the new text
   */
  async configure(change: (text: string) => string): Promise<void> {
    this.#config = change(this.#config);
    await this.#writeConfig();
  }

  /**
   * Sends SIGHUP, so that the server reads its configuration file again. The promise resolves when it has.
   *
   * @param options `timeout`: how long it may take, in ms, default 10 000
   * @throws InvalidArgumentError when the node is down
   * @throws ServerStartError with the server's own words, when it refuses the file. It goes on with what it had
   * @throws TimeoutError when the time is over
   */
  async reload(options: { timeout?: number } = {}): Promise<void> {
    const { timeout = 10_000 } = options;
    this.#running('reload');
    // A server says that it is ready before it handles the signal, which would end it.
    await waitFor(async () => (await handlesHangup(this.pid!)) || undefined, {
      timeout,
      what: () => `node '${this.name}' does not take SIGHUP`,
    });
    const from = this.#log.count;
    this.#signal('SIGHUP');
    const answer = await waitFor(() => this.#log.lines(from).find((line) => RELOADED.test(line)), {
      timeout,
      what: () => `node '${this.name}' has not read its configuration again. ${this.#lastWords()}`,
    });
    if (answer.includes('Reloaded')) return;
    throw new ServerStartError(
      this.name,
      `node '${this.name}' did not take its new configuration: ${answer}`,
      this.#log.lines(from),
      undefined,
    );
  }

  /** @internal Ends it for good, because its cluster ends: whoever is about to start it again is refused. */
  async retire(how: 'kill' | 'stop'): Promise<void> {
    this.#retired = true;
    await this[how]();
    await this.#starting?.catch(() => {});
  }

  /** Whether the server is up, so that {@link start} resolves. It is asked again while the answer is false. */
  protected abstract isUp(state: ServerLogState): boolean | Promise<boolean>;

  /**
   * What the log says of the state of the server. Undefined while it is down.
   * @hidden
   */
  protected get state(): ServerLogState | undefined {
    return this.#child && this.#state;
  }

  /** Called at each line of the log that changes the state. */
  protected stateChanged(_before: ServerLogState, _now: ServerLogState): void {}

  async #start(timeout: number): Promise<void> {
    const deadline = performance.now() + timeout;
    for (;;) {
      await keepAlive(this.#exited); // of an earlier life that is just being ended
      try {
        return await this.#launch(deadline, timeout);
      } catch (error) {
        // An outgoing connection, or a socket of the last process, may hold the port for a moment.
        const passing = error instanceof ServerStartError && error.addressInUse !== undefined && this.#lives > 1;
        if (!passing || performance.now() + 1000 > deadline) throw error;
        await sleep(200);
      }
    }
  }

  async #launch(deadline: number, timeout: number): Promise<void> {
    const { server, dir } = this.#settings;
    if (!this.#retired) await this.#writeConfig();
    if (this.#retired) throw new AbortedError(`node '${this.name}' is not started: its cluster was stopped`);

    this.#lives++;
    this.#state = FRESH;
    this.#asked = false;
    this.#paused = false;
    this.#note(`started (life ${this.#lives})`);
    this.#lifeStart = this.#log.count;
    const child = reaper.launch(server, ['-c', this.#configFile], dir);
    this.#child = child;
    this.#exited = this.#watch(child);

    try {
      await waitFor(() => this.#upOrDead(child), {
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

  get #configFile(): string {
    return join(this.dir, this.#settings.config.file);
  }

  async #writeConfig(): Promise<void> {
    await mkdir(this.dir, { recursive: true });
    await writeFile(this.#configFile, this.#config, { mode: 0o600 });
  }

  /** Answers true when the server is up. @throws ServerStartError when it never will be */
  async #upOrDead(child: ChildProcess): Promise<true | undefined> {
    if (this.#child !== child || this.#state.fatal !== undefined) throw this.#startError();
    return (await this.isUp(this.#state)) || undefined;
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

  /** What the server wrote last, for an error message. */
  #lastWords(): string {
    const log = this.#log.lines(this.#lifeStart);
    if (this.#state.fatal !== undefined) return `The server says: ${this.#state.fatal}`;
    if (log.length === 0) return 'The server wrote nothing.';
    return `The last the server wrote:\n${log
      .slice(-8)
      .map((line) => `  ${line}`)
      .join('\n')}`;
  }

  /** Resolves when the process is gone and everything that it wrote has been read. */
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
    if (this.#state !== before) this.stateChanged(before, this.#state);
    if (this.#state.accepting && !before.accepting) {
      this.#reachable = this.#settings.onListening?.() ?? Promise.resolve();
      this.#reachable.catch(() => {}); // start() awaits it and tells the error
    }
  }

  /** Writes what the harness did into the log, between the server's own lines. */
  #note(what: string): void {
    this.#log.push(`[harness] ${new Date().toISOString()} node '${this.name}' ${what}`);
  }

  #signal(signal: NodeJS.Signals): void {
    if (signal === 'SIGTERM' || signal === 'SIGKILL') this.#asked = true;
    this.#note(`gets ${signal}`);
    this.#child?.kill(signal); // the ID cannot belong to another process before we have seen this one end
  }

  #running(what: string): ChildProcess {
    if (!this.#child) throw new InvalidArgumentError('node', `node '${this.name}' is down: start it before ${what}()`);
    return this.#child;
  }
}
