/** A run: publishers and subscribers in processes of their own, a cluster that is broken under them, and the verdict. */
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseServers } from '../../connection/servers.js';
import { AbortedError, describe, ResilientStanError } from '../../errors.js';
import { StanCluster } from '../cluster.js';
import type { ConfigValue } from '../config.js';
import { Nemesis, type KillableClient, type TimelineEntry } from '../nemesis/nemesis.js';
import { planFaults, type PlannedFault } from '../nemesis/plan.js';
import { TEMPORARY_PREFIX } from '../reaper.js';
import { isClean, type ReportData, type RunEnd } from '../report/data.js';
import { sleep } from '../wait.js';
import { loadAdapter } from './adapter.js';
import { castOf, durablesOf, STAND_IN, subscribeOptionsOf, type Cast } from './cast.js';
import { growth } from './growth.js';
import { channelsOf } from './idle-crowd.js';
import { Merge } from './merge.js';
import { checkVerifyOptions, type CheckedVerifyOptions, type VerifyOptions } from './options.js';
import type { Progress, RunNote } from './progress.js';
import { machineClock, type Order } from './protocol.js';
import type { ProcessPlan } from './process-plan.js';
import { Recorder, type RunEvent } from './recorder.js';
import { WorkerProcess } from './worker-process.js';

/** Turns of the book-keeping, in ms. What happened before the turn before has been read by now. */
const TICK = 50;
const LEADER_INTERVAL = 200;
/** How long the leader has to be the same before a consumer is killed, in ms. */
const CALM = 2000;
/** For a client to be connected, at first and after it was killed, in ms. */
const CONNECT_TIMEOUT = 60_000;
const CLOSE_TIMEOUT = 6000;
/** Quiet before the first fault and after the last, in ms: how it is when nothing is broken. */
const QUIET = 1000;
/** Who interrupts a run waits no longer than this for things to settle, in ms. */
const INTERRUPTED_SETTLE = 2000;
/** What the server itself may have lost may come yet: a member waits for what another one had for `ackWait`. In ms. */
const EXPOSED_SETTLE = 15_000;
/** For the idle subscriptions to get a message, in ms. */
const ROLL_CALL = 30_000;
const INTERRUPTED_MEND = 15_000;
/** How many a publisher may have unacknowledged: an outage of some ten seconds does not silence it. */
const WINDOW = 2000;

/**
 * Verifies that nothing is lost, with a real cluster, real faults, and clients in real processes. Resolves to the report
 * also when the verdict is not clean, and when the run was ended by its signal or failed on its way.
 *
 * @throws (as a rejection) InvalidArgumentError; ServerBinaryError, ServerStartError, TimeoutError when there is no
 *   cluster to begin with; AbortedError when the signal came before the first publish
 */
export async function verify(options: VerifyOptions = {}): Promise<ReportData> {
  // It reads the pipes of its processes late and out of step: a message seems to arrive before anybody has published it.
  if (process.versions['bun'] !== undefined) {
    throw new ResilientStanError('ERR_STAN_INVALID_ARGUMENT', 'verify() would judge wrongly in Bun: run it with Node');
  }
  const checked = checkVerifyOptions(options);
  // A mistake in it is better told here than by five processes.
  if (checked.client !== undefined) await loadAdapter(checked.client);
  return await new Run(checked).run();
}

class Run {
  readonly #options: CheckedVerifyOptions;
  readonly #cast: readonly Cast[];
  /** There is a process that takes over from others. */
  readonly #standsIn: boolean;
  readonly #recorder: Recorder;
  readonly #merge = new Merge<RunEvent>();
  readonly #workers = new Map<string, WorkerProcess>();
  readonly #id = randomBytes(4).toString('hex');
  /** Aborted when no further fault should begin. */
  readonly #enough = new AbortController();
  readonly #interrupted: Promise<void>;
  #cluster: StanCluster | undefined;
  #nemesis: Nemesis | undefined;
  #servers: string[];
  #logs = '';
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
    // Minutes are looked at in tenths of a second, hours in seconds.
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
      await mkdir(this.#logs, { recursive: true });
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
  }

  #logFile(name: string): string {
    return join(this.#logs, `${name}.log`);
  }

  /** A cluster, and everybody connected to it. */
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
    }
    this.#assertNotInterrupted();
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

  #assertNotInterrupted(): void {
    const { signal } = this.#options;
    if (signal?.aborted) throw new AbortedError('the run was ended before it began', { cause: signal.reason });
  }

  async #start(cast: Cast): Promise<void> {
    const worker = this.#workers.get(cast.name)!;
    await worker.start(this.#order(cast), CONNECT_TIMEOUT);
  }

  /** Limits, where there are to be some, or more than usual. */
  #serverConfig(): { [key: string]: ConfigValue } {
    const { maxMessages, subscriptions } = this.#options;
    // The one that is judged, and the usual hundred.
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
    const { client, clusterId, ordering, rate, size } = this.#options;
    const publishers = this.#cast.filter((cast) => cast.role === 'publisher').length;
    return {
      do: 'start',
      client,
      servers: this.#servers,
      clusterId: this.#cluster?.clusterId ?? clusterId,
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

  /** For as long as is asked for. Returns why it could not be done to its end. */
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
      await within(done, INTERRUPTED_MEND);
      return undefined;
    } catch (error) {
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
        // What the server itself may lose of a group has a verdict of its own.
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
        // Where it has to go on is known when everything the one before told is in the book.
        await this.#caughtUp();
        await this.#start(cast);
        worker.order({ do: 'publish' });
      },
    };
  }

  /**
   * What a leader has sent in its last second no other node knows; and if it loses its lease for a moment, and goes on,
   * no other ever will: what of that was still on its way, the next leader does not send again. A living client sees the
   * hole and fills it. The next life of one that is killed in that second cannot know of it, so it is killed in another.
   */
  async #calm(): Promise<void> {
    const patience = performance.now() + 5 * CALM;
    while (machineClock() - this.#leaderSince < CALM && performance.now() < patience) await sleep(TICK);
  }

  /** Publishes settle, deliveries arrive; or not, and then that is how it is. */
  async #settle(): Promise<void> {
    const { settleTimeout, signal } = this.#options;
    this.#phase = 'settling';
    this.#all({ do: 'stop-publishing' });
    this.#publishedUntil = machineClock() - this.#begin;
    const { history } = this.#recorder;
    const until = async (settled: () => boolean): Promise<void> => {
      const deadline = performance.now() + settleTimeout;
      for (let interrupted = Infinity; !settled(); await sleep(TICK)) {
        if (signal?.aborted) interrupted = Math.min(interrupted, performance.now() + INTERRUPTED_SETTLE);
        if (performance.now() > Math.min(deadline, interrupted)) return;
      }
    };
    await this.#caughtUp();
    this.#doing = 'waiting for publishes to settle';
    await until(() => history.pending === 0);
    this.#doing = 'waiting for deliveries';
    const begin = performance.now();
    await until(() => {
      if (history.owed > 0 && performance.now() - begin < EXPOSED_SETTLE) return false;
      // What the server itself may have lost is still owed; what nobody has seen is not known to be.
      return history.judge(0).subscriptions.every(({ lost, untold }) => lost.total === 0 && untold === 0);
    });
    if (!signal?.aborted) await this.#rollCall();
    // What comes now should not come.
    await this.#within(sleep(500), Infinity);
    await this.#caughtUp();
  }

  /** The idle ones say whether they are there. */
  async #rollCall(): Promise<void> {
    const { rollCalls, incidents } = this.#recorder;
    const crowds = this.#cast.filter(({ idle }) => idle > 0);
    if (crowds.length === 0) return;
    this.#doing = 'calling the roll of the idle subscriptions';
    const timeout = Math.min(this.#options.settleTimeout, ROLL_CALL);
    for (const { name } of crowds) this.#workers.get(name)!.order({ do: 'roll-call', timeout });
    // It keeps to its deadline by itself; what it says then has yet to be read.
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
    const verdict = recorder.history.judge(duration, { ordering });
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
      verdict,
      incidents: [...recorder.incidents, ...recorder.processes.flatMap(growth)],
      faults: recorder.faults(verdict.faults),
      processes: recorder.processes,
      marks: recorder.marks,
      leaders: recorder.leaders,
      series: recorder.series.result(duration),
    };
  }

  /** Everybody leaves in good order; who cannot is an incident. */
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

  /** Into the book, at its time. */
  #push(event: RunEvent): void {
    this.#merge.push(event);
    const note = noteOf(event, this.#options.maxMessages !== undefined);
    if (note && this.#begin > 0) this.#options.onNote({ at: Math.max(event.at - this.#begin, 0), ...note });
  }

  #onNemesis({ at, event, id, kind, target, whom, text }: TimelineEntry): void {
    const words = text.replace(/^#\d+ /, '');
    const notes = { begin: 'fault', mended: 'mended', skipped: 'fault', mend: undefined } as const;
    const note = notes[event];
    if (note) this.#options.onNote({ at: at - this.#begin, kind: note, text: words });
    if (event === 'begin') {
      const everybody = whom.length > 1 && target === 'all';
      this.#push({ at, fault: { id, kind, whom, text: words, everybody } });
    } else if (event === 'mended') {
      this.#push({ at, mended: id });
    }
  }

  /**
   * An interval would not do: after a turn that took long it is due again at once, and has its next turn before anything
   * was read.
   */
  async #turns(): Promise<void> {
    while (this.#watching) {
      this.#tick();
      await sleep(TICK);
      await new Promise((resolve) => setImmediate(resolve)); // what there is to be read has been read by then
    }
  }

  /**
   * All that was told before the turn before this one has been read in between, from whatever pipe: that much of the
   * story is complete.
   */
  #tick(): void {
    const complete = this.#read;
    this.#read = machineClock();
    for (const event of this.#merge.take(complete)) {
      this.#recorder.apply({ ...event, at: Math.max(event.at - this.#begin, 0) });
    }
    this.#applied = complete;
  }

  /** Everything that has happened until now is in the book. */
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

  /** Resolves at the end of the time, or of the patience of whoever interrupts. */
  #ended(): Promise<void> {
    const { signal } = this.#enough;
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  }

  async #within(promise: Promise<void>, timeout: number): Promise<void> {
    await within(Promise.race([promise, this.#interrupted]), timeout);
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

/** What of it people want to see at once. `limited`: messages may be gone. */
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

async function within<T>(promise: Promise<T>, timeout: number): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    if (timeout !== Infinity) timer = setTimeout(() => resolve(undefined), timeout);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
