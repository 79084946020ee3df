/** A run: publishers and subscribers in processes of their own, a cluster with faults, and the verdict. */
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, rmdir } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { parseServers } from '../../connection/servers.js';
import { AbortedError, describe, InvalidArgumentError } from '../../errors.js';
import { within } from '../../within.js';
import { StanCluster } from '../cluster.js';
import type { ConfigValue } from '../config.js';
import { Nemesis, type KillableClient, type TimelineEntry } from '../nemesis/nemesis.js';
import { planFaults, type PlannedFault } from '../nemesis/plan.js';
import { TEMPORARY_PREFIX } from '../reaper.js';
import { isClean, type ReportData, type RunEnd } from '../report/data.js';
import { realTime, sleep } from '../wait.js';
import { loadAdapter } from './adapter.js';
import { castOf, durablesOf, STAND_IN, subscribeOptionsOf, type Cast } from './cast.js';
import { growth } from './growth.js';
import { channelsOf } from './idle-crowd.js';
import { Merge } from './merge.js';
import { checkVerifyOptions, type CheckedVerifyOptions, type VerifyOptions } from './options.js';
import type { Progress, RunNote } from './progress.js';
import { machineClock, type Order } from './protocol.js';
import type { ProcessPlan } from './process-plan.js';
import { assertReachable } from './reach.js';
import { Recorder, type RunEvent } from './recorder.js';
import { WorkerProcess } from './worker-process.js';

/** Time between two turns of the record, in ms. In each turn what happened before the last one has been read. */
const TICK = 50;
const LEADER_INTERVAL = 200;
/** How long the same node has to lead before a subscriber is killed, in ms. */
const CALM = 2000;
/** How long a client may take to connect, in ms. */
const CONNECT_TIMEOUT = 60_000;
const CLOSE_TIMEOUT = 6000;
/** Quiet time before the first fault and after the last, in ms. It shows the run without faults. */
const QUIET = 1000;
/** How long an interrupted run waits for publishes and deliveries, in ms. */
const INTERRUPTED_SETTLE = 2000;
/** How long to wait for messages that the server may have lost, in ms. They may come after `ackWait`. */
const EXPOSED_SETTLE = 15_000;
/** How long the idle subscriptions may take to get a message, in ms. */
const ROLL_CALL = 30_000;
const INTERRUPTED_MEND = 15_000;
/** How many messages of a publisher may be unacknowledged. So it goes on for some ten seconds of an outage. */
const WINDOW = 2000;

/**
 * Verifies a client with a real cluster, real faults, and clients in processes of their own. The promise resolves to the
 * report also when the verdict is not clean, when the signal ended the run, and when the run failed on its way.
 *
 * @param options default: this library, for two minutes, in a cluster of three with all faults
 * @throws InvalidArgumentError when an option is wrong
 * @throws ServerBinaryError when no server can be found, downloaded or built
 * @throws ServerStartError when a server refuses to run
 * @throws TimeoutError when the cluster or a client does not come up at the beginning
 * @throws ConnectError when `servers` cannot be connected to, or no leader of the cluster answers for 9 s
 * @throws AuthorizationError when they refuse the credentials
 * @throws AbortedError when the signal is aborted before the first publish
 * @example
 * ```ts
 * const report = await verify({ seed: 42, publishFor: 30_000, onNote: ({ text }) => console.log(text) });
 * assert.ok(isClean(report), report.verdict.violations.join('\n'));
 * ```
 * @category Verification
 */
export async function verify(options: VerifyOptions = {}): Promise<ReportData> {
  // Bun reads the pipes of child processes late and out of order, so a message seems to arrive before it was published.
  if (process.versions['bun'] !== undefined) {
    throw new InvalidArgumentError('verify', 'verify() would judge wrongly in Bun: run it with Node');
  }
  const checked = checkVerifyOptions(options);
  // A mistake in the adapter is told here once, and not by five processes.
  if (checked.client !== undefined) await loadAdapter(checked.client);
  return await new Run(checked).run();
}

class Run {
  readonly #options: CheckedVerifyOptions;
  readonly #cast: readonly Cast[];
  /** Whether there is a process that takes over from others. */
  readonly #standsIn: boolean;
  readonly #recorder: Recorder;
  readonly #merge = new Merge<RunEvent>();
  readonly #workers = new Map<string, WorkerProcess>();
  readonly #id = randomBytes(4).toString('hex');
  /** It is aborted when no further fault may begin. */
  readonly #enough = new AbortController();
  readonly #interrupted: Promise<void>;
  #cluster: StanCluster | undefined;
  #nemesis: Nemesis | undefined;
  #servers: string[];
  #logs = '';
  /** The first directory on the way to the logs that was not there before. */
  #madeForLogs: string | undefined;
  #begin = 0;
  #publishedUntil = 0;
  #read = 0;
  #applied = 0;
  #leader: string | undefined;
  #leaderSince = 0;
  #phase: Progress['phase'] = 'starting';
  #doing = '';
  #watching = true;

  constructor(options: CheckedVerifyOptions) {
    this.#options = options;
    this.#servers = options.servers;
    // A run of minutes has buckets of a tenth of a second, one of hours of a second.
    this.#cast = castOf(options);
    this.#standsIn = options.faults.includes('client-replace');
    const standIn: ProcessPlan = { name: STAND_IN, role: 'subscriber', subscriptions: [], standIn: true };
    this.#recorder = new Recorder(this.#standsIn ? [...this.#cast, standIn] : this.#cast, {
      interval: options.publishFor > 900_000 && options.publishFor !== Infinity ? 1000 : 100,
      retention: options.maxMessages,
    });
    const { signal } = options;
    this.#interrupted = new Promise((resolve) => {
      if (signal?.aborted) resolve();
      signal?.addEventListener('abort', () => resolve(), { once: true });
    });
    void this.#interrupted.then(() => this.#enough.abort());
  }

  async run(): Promise<ReportData> {
    const { logDir } = this.#options;
    this.#logs = logDir ?? (await mkdtemp(join(tmpdir(), TEMPORARY_PREFIX)));
    let keepLogs = logDir !== undefined;
    const progress = setInterval(() => this.#progress(), 100);
    try {
      await this.#boot();
      const data = await this.#perform();
      keepLogs &&= !isClean(data);
      if (keepLogs) await this.#cluster?.writeLogs(this.#logs);
      return data;
    } finally {
      this.#phase = 'stopping';
      this.#doing = 'stopping everything';
      await Promise.all([...this.#workers.values()].map((worker) => worker.kill()));
      await this.#cluster?.stop();
      clearInterval(progress);
      if (!keepLogs) await this.#removeLogs();
    }
  }

  async #removeLogs(): Promise<void> {
    if (this.#options.logDir === undefined) return rm(this.#logs, { recursive: true, force: true });
    await Promise.all([...this.#workers.keys()].map((name) => rm(this.#logFile(name), { force: true })));
    if (this.#madeForLogs === undefined) return;
    // A directory that was there before stays, and so does one with something in it.
    const removed = (dir: string): Promise<boolean> =>
      rmdir(dir).then(
        () => true,
        () => false,
      );
    for (let dir = this.#logs; dir.length >= this.#madeForLogs.length; dir = dirname(dir)) {
      if (!(await removed(dir))) return;
    }
  }

  #logFile(name: string): string {
    return join(this.#logs, `${name}.log`);
  }

  /** Starts the cluster and the processes. Resolves when all are connected. */
  async #boot(): Promise<void> {
    const { cluster } = this.#options;
    if (cluster) {
      this.#doing = 'booting the cluster';
      const { nodes, mode, proxied, raft, server } = cluster;
      const { seed } = this.#options;
      this.#cluster = await StanCluster.start({
        ...{ nodes, mode, proxied, raft, seed },
        ...(server !== undefined && { server }),
        config: this.#serverConfig(),
      });
      this.#servers = this.#cluster.urls;
    } else {
      await this.#reach();
    }
    this.#assertNotInterrupted();
    this.#madeForLogs = await mkdir(this.#logs, { recursive: true });
    this.#doing = 'connecting the clients';
    for (const name of [...this.#cast.map((cast) => cast.name), ...(this.#standsIn ? [STAND_IN] : [])]) {
      const worker = new WorkerProcess({
        name,
        logFile: this.#logFile(name),
        onEvent: (event, life) => this.#push({ at: event[1], process: name, life, event }),
        onEnd: (end, text) => this.#push({ at: machineClock(), process: name, end, text }),
      });
      this.#workers.set(name, worker);
    }
    if (this.#standsIn) this.#workers.get(STAND_IN)!.prepare();
    const connected = Promise.all(this.#cast.map((cast) => this.#start(cast)));
    await Promise.race([connected, this.#interrupted]);
    connected.catch(() => {});
    this.#assertNotInterrupted();
  }

  /** Finds out whether somebody else's servers can be used, so that their answer is told here once, and not by no process. */
  async #reach(): Promise<void> {
    const { servers, clusterId, connectOptions, signal, onNote } = this.#options;
    this.#doing = 'connecting to the servers';
    await assertReachable({
      ...{ servers, clusterId, connectOptions, signal, clientId: `verify-${this.#id}-scout` },
      onWait: ({ message }) => {
        this.#doing = 'waiting for a leader';
        onNote({ at: 0, kind: 'trouble', text: message });
      },
    });
  }

  #assertNotInterrupted(): void {
    const { signal } = this.#options;
    if (signal?.aborted) throw new AbortedError('the run was ended before it began', { cause: signal.reason });
  }

  async #start(cast: Cast): Promise<void> {
    const worker = this.#workers.get(cast.name)!;
    await worker.start(this.#order(cast), CONNECT_TIMEOUT);
  }

  /** Limits of the channels, where the run needs other ones than the server's own. */
  #serverConfig(): { [key: string]: ConfigValue } {
    const { maxMessages, subscriptions } = this.#options;
    // The channel that is judged, and the server's usual hundred.
    const channels = channelsOf(subscriptions) + 100;
    return {
      streaming: {
        store_limits: {
          ...(maxMessages !== undefined && { max_msgs: maxMessages }),
          ...(subscriptions > 0 && { max_channels: channels, max_subs: subscriptions + 1000 }),
        },
      },
    };
  }

  #order({ name, role, subscriptions, idle }: Cast): Extract<Order, { do: 'start' }> {
    const { client, clusterId, connectOptions, ordering, rate, size } = this.#options;
    const publishers = this.#cast.filter((cast) => cast.role === 'publisher').length;
    return {
      do: 'start',
      client,
      servers: this.#servers,
      clusterId: this.#cluster?.clusterId ?? clusterId,
      connectOptions,
      clientId: `verify-${this.#id}-${name}`,
      channel: `verify.${this.#id}`,
      ordering,
      publisher:
        role === 'publisher'
          ? { name, from: this.#recorder.next(name), rate: rate / publishers, size, window: WINDOW }
          : undefined,
      subscriptions: subscriptions.map((member) => ({ name: member.name, options: subscribeOptionsOf(member) })),
      idle: idle > 0 ? { count: idle, channel: `idle.${this.#id}` } : undefined,
    };
  }

  async #perform(): Promise<ReportData> {
    this.#begin = this.#read = this.#applied = machineClock();
    const startedAt = new Date().toISOString();
    this.#phase = 'running';
    this.#doing = '';
    const turns = this.#turns();
    const leaders = this.#watchLeader();
    try {
      this.#all({ do: 'publish' });
      await this.#within(sleep(QUIET), Infinity);
      const failure = await this.#breakThings();
      await this.#within(sleep(QUIET), Infinity);
      await this.#settle();
      const end: RunEnd = this.#options.signal?.aborted ? 'interrupted' : failure === undefined ? 'complete' : 'failed';
      const data = await this.#report(startedAt, end, failure);
      if (end !== 'interrupted') await this.#leave(data);
      return data;
    } finally {
      this.#watching = false;
      await Promise.all([leaders, turns]);
    }
  }

  /** Publishes and makes faults for as long as the options say. Resolves to why it could not, if it failed. */
  async #breakThings(): Promise<string | undefined> {
    const { publishFor } = this.#options;
    const timer = publishFor === Infinity ? undefined : setTimeout(() => this.#enough.abort(), publishFor - QUIET);
    try {
      if (!this.#cluster || this.#options.faults.length === 0) {
        await this.#ended();
        return undefined;
      }
      const nemesis = new Nemesis(this.#cluster, {
        now: machineClock,
        onEvent: (entry) => this.#onNemesis(entry),
        clients: this.#cast.map((cast) => this.#killable(cast)),
        signal: this.#enough.signal,
      });
      this.#nemesis = nemesis;
      const done = nemesis.run(this.#plan());
      done.catch(() => {});
      await Promise.race([done, this.#interrupted]);
      await within(done, INTERRUPTED_MEND, () => undefined, realTime);
      return undefined;
    } catch (error) {
      // What cannot be done while everything ends is no failure of the run.
      if (this.#options.signal?.aborted) return undefined;
      return `the cluster could not be broken and mended as planned: ${describe(error)}`;
    } finally {
      clearTimeout(timer);
    }
  }

  *#plan(): Generator<PlannedFault> {
    const { seed, faults, faultCount, maxFaultDuration } = this.#options;
    for (const fault of planFaults({ seed, faults, maxDuration: maxFaultDuration })) {
      if (fault.id > faultCount) return;
      yield fault;
    }
  }

  #killable(cast: Cast): KillableClient {
    const worker = this.#workers.get(cast.name)!;
    return {
      name: cast.name,
      faults: cast.faults,
      kill: async () => {
        // What the server itself may lose of a group is counted apart.
        if (cast.role === 'subscriber' && !cast.faults.includes('group-kill')) await this.#calm();
        await worker.kill();
      },
      pause: () => worker.pause(),
      resume: () => worker.resume(),
      replace: async () => {
        await this.#calm();
        const standIn = this.#workers.get(STAND_IN)!;
        await standIn.start(
          { ...this.#order({ ...cast, subscriptions: durablesOf(cast) }), idle: undefined },
          CONNECT_TIMEOUT,
        );
        return async () => {
          await standIn.close(CLOSE_TIMEOUT);
          standIn.prepare();
        };
      },
      failHandlers: (how) => worker.order({ do: 'fail', ...how }),
      start: async () => {
        // Its first counter is known when everything that the last life told is recorded.
        await this.#caughtUp();
        await this.#start(cast);
        worker.order({ do: 'publish' });
      },
    };
  }

  /**
   * Waits until the same node has led for a while. What a leader has sent in its last second no other node knows, and if it only
   * loses its lease for a moment, no other node ever will. The next leader does not send it again. A living client sees the
   * hole and fills it, but the next life of a killed one cannot. So a client is not killed in such a second.
   */
  async #calm(): Promise<void> {
    const patience = performance.now() + 5 * CALM;
    while (machineClock() - this.#leaderSince < CALM && performance.now() < patience) await sleep(TICK);
  }

  /** Waits until publishes are settled and deliveries have arrived, up to the limit of time. */
  async #settle(): Promise<void> {
    const { settleTimeout, signal } = this.#options;
    this.#phase = 'settling';
    this.#all({ do: 'stop-publishing' });
    this.#publishedUntil = machineClock() - this.#begin;
    const { history } = this.#recorder;
    // On a machine that is too slow for the rate the rest takes its time, and that is no fault as long as it goes on.
    const until = async (settled: () => boolean, progress: () => number): Promise<void> => {
      let [before, deadline, interrupted] = [progress(), performance.now() + settleTimeout, Infinity];
      for (; !settled(); await sleep(TICK)) {
        const now = performance.now();
        if (progress() !== before) [before, deadline] = [progress(), now + settleTimeout];
        if (signal?.aborted) interrupted = Math.min(interrupted, now + INTERRUPTED_SETTLE);
        if (now > Math.min(deadline, interrupted)) return;
      }
    };
    await this.#caughtUp();
    this.#doing = 'waiting for publishes to settle';
    await until(
      () => history.pending === 0,
      () => history.pending,
    );
    this.#doing = 'waiting for deliveries';
    const begin = performance.now();
    const delivered = (): number => this.#recorder.counters.delivered;
    await until(() => {
      if (history.owed > 0 && performance.now() - begin < EXPOSED_SETTLE) return false;
      // What the server itself may have lost counts as missing until the verdict.
      return history.judge(0).subscriptions.every(({ lost, untold }) => lost.total === 0 && untold === 0);
    }, delivered);
    if (!signal?.aborted) await this.#rollCall();
    // What comes now must not come.
    await this.#within(sleep(500), Infinity);
    await this.#caughtUp();
  }

  /** Asks the idle subscriptions whether they get messages. */
  async #rollCall(): Promise<void> {
    const { rollCalls, incidents } = this.#recorder;
    const crowds = this.#cast.filter(({ idle }) => idle > 0);
    if (crowds.length === 0) return;
    this.#doing = 'calling the roll of the idle subscriptions';
    const timeout = Math.min(this.#options.settleTimeout, ROLL_CALL);
    for (const { name } of crowds) this.#workers.get(name)!.order({ do: 'roll-call', timeout });
    // The process keeps its deadline by itself, and its answer has to be read then.
    const deadline = performance.now() + timeout + CLOSE_TIMEOUT;
    while (rollCalls.length < crowds.length && performance.now() < deadline) await sleep(TICK);
    for (const { name } of crowds) {
      if (rollCalls.some(({ process }) => process === name)) continue;
      incidents.push(`process '${name}': it did not say which of its idle subscriptions are there`);
    }
  }

  async #report(startedAt: string, end: RunEnd, failure: string | undefined): Promise<ReportData> {
    const { seed, ordering, rate, size, faults, publishFor, cluster, servers, replay } = this.#options;
    const { maxMessages, subscriptions } = this.#options;
    const recorder = this.#recorder;
    const duration = machineClock() - this.#begin;
    const verdict = recorder.history.judge(duration, { ordering, interrupted: end === 'interrupted' });
    const reachedRate = recorder.reachedRate(this.#publishedUntil);
    const server = (await this.#cluster?.findLeader().then((node) => node?.monitor.serverz()))?.version;
    return {
      format: 1,
      startedAt,
      duration,
      publishedUntil: this.#publishedUntil,
      end,
      ...(failure !== undefined && { failure }),
      client: recorder.client,
      settings: {
        seed,
        publishFor: publishFor === Infinity ? duration : publishFor,
        ordering,
        rate,
        size,
        faults,
        ...(maxMessages !== undefined && { maxMessages }),
        ...(subscriptions > 0 && { subscriptions }),
        ...(cluster ? { cluster: { mode: cluster.mode, nodes: cluster.nodes } } : {}),
        ...(cluster ? {} : { servers: parseServers(servers).map(({ url }) => url) }),
      },
      environment: {
        node: process.versions.node,
        platform: `${process.platform} ${process.arch}`,
        cpus: cpus().length,
        ...(server !== undefined && { server }),
      },
      replay,
      ...(reachedRate !== undefined && { reachedRate }),
      verdict,
      incidents: [...recorder.incidents, ...recorder.processes.flatMap(growth)],
      faults: recorder.faults(verdict.faults),
      processes: recorder.processes,
      marks: recorder.marks,
      leaders: recorder.leaders,
      series: recorder.series.result(duration),
    };
  }

  /** Closes all clients in good order. One that cannot is an incident. */
  async #leave(data: ReportData): Promise<void> {
    this.#doing = 'closing the clients';
    await Promise.all(
      [...this.#workers.values()].map(async (worker) => {
        if (!worker.running) return;
        const closing = performance.now();
        await worker.close(CLOSE_TIMEOUT);
        if (performance.now() - closing >= CLOSE_TIMEOUT) {
          data.incidents.push(`process '${worker.name}': its client did not close within ${CLOSE_TIMEOUT} ms`);
        }
      }),
    );
  }

  #all(order: Order): void {
    for (const worker of this.#workers.values()) worker.order(order);
  }

  /** Adds an event to the record, in the order of the clock. */
  #push(event: RunEvent): void {
    this.#merge.push(event);
    const note = noteOf(event, this.#options.maxMessages !== undefined);
    if (note && this.#begin > 0) this.#options.onNote({ at: Math.max(event.at - this.#begin, 0), ...note });
  }

  #onNemesis({ at, event, id, kind, target, whom, text }: TimelineEntry): void {
    const words = text.replace(/^#\d+ /, '');
    const notes = { begin: 'fault', struck: undefined, mend: undefined, mended: 'mended', skipped: 'fault' } as const;
    const note = notes[event];
    if (note) this.#options.onNote({ at: at - this.#begin, kind: note, text: words });
    if (event === 'begin') {
      const everybody = whom.length > 1 && target === 'all';
      this.#push({ at, fault: { id, kind, whom, text: words, everybody } });
    } else if (event === 'struck') {
      this.#push({ at, struck: id });
    } else if (event === 'mended') {
      this.#push({ at, mended: id });
    }
  }

  /**
   * Takes turns of the record. An interval would not do: after a long turn it would be due again at once, before anything is
   * read.
   */
  async #turns(): Promise<void> {
    while (this.#watching) {
      this.#tick();
      await sleep(TICK);
      await new Promise((resolve) => setImmediate(resolve)); // what has arrived is read meanwhile
    }
  }

  /** One turn. What was told before the last turn has been read from all pipes by now, so it is recorded. */
  #tick(): void {
    const complete = this.#read;
    this.#read = machineClock();
    for (const event of this.#merge.take(complete)) {
      this.#recorder.apply({ ...event, at: Math.max(event.at - this.#begin, 0) });
    }
    this.#applied = complete;
  }

  /** Resolves when everything that has happened until now is recorded. */
  async #caughtUp(): Promise<void> {
    const now = machineClock();
    while (this.#applied < now) await sleep(TICK / 2);
  }

  async #watchLeader(): Promise<void> {
    if (!this.#cluster) return;
    for (let first = true; this.#watching; first = false) {
      const leader = (await this.#cluster.findLeader())?.name;
      if (first || leader !== this.#leader) {
        this.#leaderSince = machineClock();
        this.#push({ at: this.#leaderSince, leader });
      }
      this.#leader = leader;
      await sleep(LEADER_INTERVAL);
    }
  }

  /** Resolves when the time is over, or earlier when the run is interrupted. */
  #ended(): Promise<void> {
    const { signal } = this.#enough;
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  }

  async #within(promise: Promise<void>, timeout: number): Promise<void> {
    await within(Promise.race([promise, this.#interrupted]), timeout, () => undefined, realTime);
  }

  #progress(): void {
    const { publishFor, faultCount, onProgress } = this.#options;
    const { history, counters, connected } = this.#recorder;
    onProgress({
      phase: this.#phase,
      doing: this.#doing,
      at: this.#begin === 0 ? 0 : machineClock() - this.#begin,
      publishFor,
      faultCount,
      faults: this.#nemesis?.begun ?? 0,
      current: this.#nemesis?.current ?? [],
      leader: this.#leader,
      counters: { ...counters },
      pending: history.pending,
      owed: history.owed,
      connected,
      processes: this.#cast.length,
    });
  }
}

/** The note of an event that a person wants to see at once. `limited`: messages may be gone. */
function noteOf(event: RunEvent, limited: boolean): Omit<RunNote, 'at'> | undefined {
  if ('leader' in event) {
    return { kind: 'leader', text: event.leader === undefined ? 'nobody leads' : `${event.leader} leads` };
  }
  if ('end' in event) {
    return { kind: event.end === 'died' ? 'trouble' : 'client', text: `${event.process} ${event.end}` };
  }
  if (!('event' in event)) return undefined;
  const [what] = event.event;
  if (what === 'ready') return { kind: 'client', text: `${event.process} connected` };
  if (what === 'gap') {
    const [, , subscription, from, to] = event.event;
    return { kind: limited ? 'client' : 'trouble', text: `${subscription}: gap, sequences ${from} to ${to}` };
  }
  if (what !== 'news') return undefined;
  const [, , news, text] = event.event;
  const kind = news === 'loss' || news === 'reconnect' ? 'connection' : 'trouble';
  return { kind, text: `${event.process}: ${news}${text === null ? '' : `, ${text}`}` };
}
