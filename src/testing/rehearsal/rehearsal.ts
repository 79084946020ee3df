/** A complete move from STAN to JetStream on this machine, with a system that is alive meanwhile, with faults, and with a judge. */
import { AbortedError, InvalidArgumentError } from '../../errors.js';
import { copy } from '../../migrate/copy.js';
import { cut } from '../../migrate/cut.js';
import { durables } from '../../migrate/durables.js';
import { streamName } from '../../migrate/names.js';
import type { MigrateOptions } from '../../migrate/options.js';
import type { Report } from '../../migrate/report.js';
import { verify } from '../../migrate/verify.js';
import { OptionReader } from '../../option-reader.js';
import { StanCluster } from '../cluster.js';
import { ContinuityChecker } from '../continuity/checker.js';
import type { Verdict } from '../continuity/verdict.js';
import { JetStreamCluster } from '../jetstream/jetstream-cluster.js';
import { Nemesis, type NemesisOptions } from '../nemesis/nemesis.js';
import { planFaults } from '../nemesis/plan.js';
import { SERVER_VERSION } from '../server-binary/index.js';
import type { ServerCluster } from '../server-cluster.js';
import { sleep, waitFor } from '../wait.js';
import { ToySystem } from './toy-system.js';

/**
 * Options of {@link rehearseMigration}. Times are milliseconds.
 * @category Migration
 */
export interface RehearsalOptions {
  /**
   * Whether STAN's own servers become the servers with JetStream: they have JetStream beside STAN, and plain servers take their places
   * one after the other while the system works. Otherwise it moves to servers of their own. Default true.
   */
  inPlace?: boolean | undefined;
  /** How many servers there are on each side: 1 or 3 to 25. Default 3. */
  nodes?: number | undefined;
  /** The version of `nats-server`. Default: {@link NATS_SERVER_VERSION}. */
  version?: string | undefined;
  /** How many messages the two publishers publish in a second, together. Default 100. */
  rate?: number | undefined;
  /** How long the system works before the move, and again after it, in ms each. With faults it may take longer. Default 10 000. */
  time?: number | undefined;
  /** Whether servers are killed and frozen while the copy follows, and after the move. Default true. */
  faults?: boolean | undefined;
  /** The seed of the faults. Default: a new one each time. */
  seed?: number | undefined;
  /** Called with what happens, in a line for people. Default: none. */
  onEvent?: ((line: string) => void) | undefined;
  /** When it is aborted, everything is ended. Default: none. */
  signal?: AbortSignal | undefined;
}

/**
 * What {@link rehearseMigration} answers.
 * @category Migration
 */
export interface RehearsalReport extends Report {
  /** Whether it was in place. */
  readonly inPlace: boolean;
  /** The version of the streaming server, and of the `nats-server` at the end. */
  readonly versions: {
    /** The version of the streaming server. */
    readonly stan: string;
    /** The version of the server with JetStream at the end. */
    readonly jetstream: string;
  };
  /** The seed of the faults. */
  readonly seed: number;
  /** How many messages were compared on both sides. */
  readonly compared: number;
  /** The last message of STAN. The next one is the first of a native publisher. */
  readonly cutAt: number;
  /** How many messages reached STAN after the cut. */
  readonly stragglers: number;
  /** For how long the system stood still for the move, in ms. */
  readonly pauses: {
    /** From the stop of the publishers until a message was stored again. */
    readonly publishers: number;
    /** For each subscription: from the stop of the publishers until it got a message that was published after that. */
    readonly consumers: Readonly<Record<string, number>>;
  };
  /** The faults, in a line each. */
  readonly faults: readonly string[];
  /** The verdict over the whole: whether anything was lost, doubled or out of order. */
  readonly verdict: Verdict;
}

const NAMES = {
  known: [...['inPlace', 'nodes', 'version', 'rate', 'time', 'faults', 'seed', 'onEvent', 'signal']],
  hints: { duration: "it is called 'time'", jetstream: "did you mean 'inPlace'?" },
};

/** How long a part of the move may take, in ms, on a busy machine too. */
const PATIENCE = 120_000;
/** How long a fault lasts at most, in ms. */
const LONGEST_FAULT = 1500;
/** Which part of the messages the workers fail on before the move, so that something is pending. */
const FAILING = 0.2;

/**
 * Rehearses a migration: boots a STAN cluster, lets a small system work with it (two publishers, a group of two workers, a durable
 * reader and a plain one), moves it to JetStream as {@link "resilient-stan/migrate"} does, with faults, and judges the whole: whether
 * each message has reached everybody, once and in order, over the cut. At the end nothing of it is left.
 *
 * It needs the official client: `npm install @nats-io/transport-node @nats-io/jetstream`.
 *
 * @returns what happened. A loss is no rejection: `ok` is false then
 * @throws InvalidArgumentError when an option is wrong
 * @throws ServerBinaryError when a server cannot be found or got
 * @throws PeerMissingError when the official client is not installed
 * @throws AbortedError when `signal` is aborted
 * @example
 * ```ts
 * const { ok, pauses } = await rehearseMigration({ nodes: 3, onEvent: console.log });
 * console.log(ok, pauses.publishers);
 * ```
 * @category Migration
 */
export async function rehearseMigration(options: RehearsalOptions = {}): Promise<RehearsalReport> {
  const read = new OptionReader(options, 'options', NAMES);
  const nodes = read.number('nodes', 3, { min: 1, max: 25 });
  if (nodes === 2)
    throw new InvalidArgumentError('nodes', 'nodes must be 1, or 3 and more: two servers do not outlive one');
  const version = read.string('version', undefined);
  const rehearsal = new Rehearsal({
    inPlace: read.boolean('inPlace', true),
    nodes,
    version,
    rate: read.number('rate', 100, { min: 1, max: 10_000 }),
    time: read.milliseconds('time', 10_000),
    faults: read.boolean('faults', true),
    seed: read.number('seed', Math.floor(Math.random() * 2 ** 31), { min: 0 }),
    onEvent: read.callback<(line: string) => void>('onEvent', '(line) => …'),
    signal: read.signal(),
  });
  return rehearsal.run();
}

interface Settings {
  readonly inPlace: boolean;
  readonly nodes: number;
  readonly version: string | undefined;
  readonly rate: number;
  readonly time: number;
  readonly faults: boolean;
  readonly seed: number;
  readonly onEvent: ((line: string) => void) | undefined;
  readonly signal: AbortSignal | undefined;
}

class Rehearsal {
  readonly #settings: Settings;
  readonly #problems: Report['problems'][number][] = [];
  readonly #faults: string[] = [];
  readonly #began = performance.now();

  constructor(settings: Settings) {
    this.#settings = settings;
  }

  async run(): Promise<RehearsalReport> {
    const { inPlace, nodes, version, rate } = this.#settings;
    const choice = version === undefined ? {} : { version };
    const mode = nodes === 1 ? 'single' : 'clustered';
    this.#say(`booting ${nodes === 1 ? 'a STAN server' : `${nodes} STAN servers`}${inPlace ? ' with JetStream' : ''}`);
    await using cluster = await StanCluster.start({ mode, nodes, jetstream: inPlace, startTimeout: PATIENCE });
    if (!inPlace) this.#say(`booting ${nodes} nats-server for JetStream`);
    const apart = inPlace ? undefined : await JetStreamCluster.start({ nodes, ...choice, startTimeout: PATIENCE });
    await using _ended = { [Symbol.asyncDispose]: async () => apart?.stop() };
    // It is found, or built, before anybody waits for it.
    const successors = inPlace ? await cluster.natsServers(choice) : undefined;

    const checker = new ContinuityChecker({ channel: 'orders', ordering: 'strict' });
    const toy = new ToySystem();
    await using _closed = { [Symbol.asyncDispose]: () => toy.close() };
    await toy.begin(checker, cluster.urls, cluster.connectOptions, rate);
    this.#say('the system works with STAN: 2 publishers, 2 workers in a group, a durable reader, a plain reader');

    const migration: MigrateOptions = {
      from: cluster.urls,
      ...(apart !== undefined && { to: apart.urls }),
      clusterId: cluster.clusterId,
      monitor: cluster.nodes.map(({ monitor }) => monitor.url),
      channels: ['orders'],
    };
    const stopped = await this.#copyWhile(migration, async (lag) => {
      await this.#work(cluster, checker, { findLeader: () => cluster.findLeader() });
      await cluster.settled({ timeout: PATIENCE });
      await cluster.replicated({ timeout: PATIENCE });
      // Something has to be pending. Not earlier: what a leader that dies has forgotten of a group is STAN's own loss.
      toy.failing = FAILING;
      await this.#pause(2000);
      this.#say('the move: publishers wait, consumers end');
      const move = checker.fault('the move');
      await toy.hold();
      await toy.leave();
      const last = await waitFor(() => lastOf(cluster, 'orders'), {
        timeout: PATIENCE,
        what: () => 'STAN says nothing',
      });
      await this.#until(
        () => (lag.stored >= last ? true : undefined),
        () => `the copy is at ${lag.stored} of ${last}`,
      );
      return move;
    });

    this.#say('durables');
    this.#take(await durables(migration));
    this.#say('cut');
    let crossed: Promise<void> | undefined;
    const target = apart ?? cluster;
    const cutReport = await cut({
      ...migration,
      quiet: 500,
      onProgress: ({ phase }) => {
        // The streams are open: the system goes on while STAN is still watched for what comes late.
        if (phase !== 'stragglers' || crossed !== undefined) return;
        crossed = toy.cross(target.urls, target.connectOptions);
        crossed.catch(() => {}); // it is awaited below
      },
    });
    this.#take(cutReport);
    if (crossed === undefined) throw new AbortedError('the streams were not opened, so the system cannot go on');
    await crossed;
    stopped.mended();
    toy.failing = 0;
    this.#say('the system works with JetStream');
    const verified = await verify(migration);
    this.#take(verified);
    this.#say(`${verified.compared} messages are the same on both sides`);

    let jetstream: JetStreamCluster;
    if (successors === undefined) {
      jetstream = apart!;
      this.#say('STAN is switched off');
      await cluster.stop();
    } else {
      jetstream = successors;
      this.#say('plain servers take the places of the STAN servers, one after the other');
      const replaced = checker.fault('servers replaced');
      await jetstream.takeOver({ timeout: PATIENCE });
      replaced.mended();
    }
    const stream = streamName('orders');
    await this.#work(jetstream, checker, { findLeader: () => jetstream.findLeader(stream) });
    this.#say('the end: everything that was published has to arrive');
    const verdict = await checker.finish({ timeout: 60_000, linger: 1000 });
    const moved = verdict.faults.find(({ name }) => name === 'the move')!;
    return {
      ok: this.#problems.length === 0 && verdict.clean,
      problems: [
        ...this.#problems,
        ...verdict.violations.map((message) => ({ code: 'violation', channel: 'orders', message })),
      ],
      inPlace,
      versions: { stan: SERVER_VERSION, jetstream: await versionOf(jetstream) },
      seed: this.#settings.seed,
      compared: verified.compared,
      cutAt: cutReport.channels[0]?.cutAt ?? 0,
      stragglers: cutReport.channels[0]?.stragglers.length ?? 0,
      pauses: {
        publishers: Math.round(moved.toNextAck ?? Number.NaN),
        consumers: Object.fromEntries(
          Object.entries(moved.toNextDelivery).map(([name, ms]) => [name, Math.round(ms ?? Number.NaN)]),
        ),
      },
      faults: this.#faults,
      verdict,
    };
  }

  /** Lets a copy follow STAN while something else is done. */
  async #copyWhile<T>(migration: MigrateOptions, act: (progress: { stored: number }) => Promise<T>): Promise<T> {
    const stop = new AbortController();
    const progress = { stored: 0 };
    this.#say('copy --follow');
    let over = false;
    const copied = copy({
      ...migration,
      follow: true,
      signal: stop.signal,
      onProgress: ({ messagesDone }) => (progress.stored = messagesDone),
    }).finally(() => (over = true));
    copied.catch(() => {}); // it is awaited below
    const early = copied.then((report) => {
      if (stop.signal.aborted) return new Promise<never>(() => {});
      throw new AbortedError(`the copy ended: ${report.problems.map(({ message }) => message).join('; ')}`);
    });
    early.catch(() => {});
    try {
      const done = await Promise.race([act(progress), early]);
      stop.abort();
      this.#take(await copied);
      return done;
    } finally {
      if (!over) stop.abort();
    }
  }

  /** Lets the system work for a while, with faults if they are wanted. */
  async #work(
    cluster: ServerCluster,
    checker: ContinuityChecker,
    { findLeader }: Pick<NemesisOptions, 'findLeader'>,
  ): Promise<void> {
    const { faults, seed, time, signal } = this.#settings;
    if (!faults) return this.#pause(time);
    const timeout = AbortSignal.timeout(time);
    const nemesis = new Nemesis(cluster, {
      signal: signal === undefined ? timeout : AbortSignal.any([timeout, signal]),
      findLeader: findLeader!,
      onFault: (name) => checker.fault(name),
      onEvent: ({ event, text }) => {
        if (event === 'begin') this.#faults.push(text);
        if (event === 'begin' || event === 'mended') this.#say(text);
      },
    });
    await nemesis.run(planFaults({ seed, faults: ['kill', 'pause'], maxDuration: LONGEST_FAULT, overlap: 0 }));
    this.#checkSignal();
  }

  #take({ problems }: Report): void {
    this.#problems.push(...problems);
    for (const { message } of problems) this.#say(`PROBLEM: ${message}`);
    this.#checkSignal();
  }

  async #until(probe: () => true | undefined, what: () => string): Promise<void> {
    const { signal } = this.#settings;
    await waitFor(probe, { timeout: PATIENCE, what, signal });
  }

  async #pause(ms: number): Promise<void> {
    const end = performance.now() + ms;
    while (performance.now() < end) {
      this.#checkSignal();
      await sleep(Math.min(50, Math.max(end - performance.now(), 1)));
    }
  }

  #checkSignal(): void {
    const { signal } = this.#settings;
    if (signal?.aborted) throw new AbortedError('the rehearsal was aborted', { cause: signal.reason });
  }

  #say(line: string): void {
    const seconds = ((performance.now() - this.#began) / 1000).toFixed(1).padStart(6);
    this.#settings.onEvent?.(`${seconds} s  ${line}`);
  }
}

async function lastOf(cluster: StanCluster, channel: string): Promise<number | undefined> {
  const leader = await cluster.findLeader();
  return (await leader?.monitor.channelz(channel))?.last_seq;
}

async function versionOf(cluster: JetStreamCluster): Promise<string> {
  const page = await cluster.nodes[0]?.monitor.get<{ version: string }>('/varz', { timeout: 5000 });
  return page?.version ?? 'unknown';
}
