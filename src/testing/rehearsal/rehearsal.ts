/** A complete move from STAN to JetStream on this machine, with a system that is alive meanwhile, with faults, and with a judge. */
import { InvalidArgumentError } from '../../errors.js';
import { cut, type CutReport } from '../../migrate/cut.js';
import type { CutProgress } from '../../migrate/cut-step.js';
import { durables } from '../../migrate/durables.js';
import { finish } from '../../migrate/finish.js';
import { streamName } from '../../migrate/names.js';
import type { MigrateOptions } from '../../migrate/options.js';
import { plan } from '../../migrate/plan.js';
import type { Problem, Report } from '../../migrate/report.js';
import { loadOfficialClient } from '../../migrate/target.js';
import { verify, type VerifyCopyReport } from '../../migrate/verify.js';
import { OptionReader } from '../../option-reader.js';
import { StanCluster } from '../cluster.js';
import { ContinuityChecker } from '../continuity/checker.js';
import type { FaultVerdict, Verdict } from '../continuity/verdict.js';
import { JetStreamCluster } from '../jetstream/jetstream-cluster.js';
import { Nemesis, type NemesisOptions } from '../nemesis/nemesis.js';
import { planFaults } from '../nemesis/plan.js';
import { plural } from '../report/format.js';
import { NATS_SERVER_VERSION, resolveServer, SERVER_VERSION } from '../server-binary/index.js';
import type { ServerCluster } from '../server-cluster.js';
import { realTime, waitFor } from '../wait.js';
import { FollowingCopy } from './following-copy.js';
import { openInPlace, prepareInPlace } from './in-place.js';
import { publishTooEarly } from './native.js';
import { PATIENCE, Stage } from './stage.js';
import { READERS, ToySystem } from './toy-system.js';

/**
 * Options of {@link rehearseMigration}. Times are milliseconds.
 * @category Migration
 */
export interface RehearsalOptions {
  /**
   * Whether STAN's own servers become the servers with JetStream: they get JetStream beside STAN, and after the cut plain servers take
   * their places one after the other while the system works. Otherwise it moves to servers of their own. Default true.
   */
  inPlace?: boolean | undefined;
  /** How many servers there are on each side: 1 or 3 to 25. Default 3. */
  nodes?: number | undefined;
  /** The version of `nats-server`, 2.10 or later. Default: {@link NATS_SERVER_VERSION}. */
  version?: string | undefined;
  /** How many messages the two publishers publish in a second, together. Default 100. */
  rate?: number | undefined;
  /** How long the system works before the move, and again after it, in ms each. With faults it may take longer. Default 10 000. */
  time?: number | undefined;
  /** Whether servers are killed and frozen while the copy follows, and after the move. Default true. */
  faults?: boolean | undefined;
  /**
   * The seed of the faults, and of what the workers fail on. With the same one the same faults are planned, in the same order; when they
   * strike, and which server leads then, is a matter of the machine. Default: a new one each time.
   */
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
  /** How native publishers were kept out until the cut: by a transform in the stream, or by mappings in the files of the servers. */
  readonly fence: 'stream' | 'mappings';
  /** How many messages were compared on both sides after the cut. */
  readonly compared: number;
  /** The last message of STAN. The next one is the first of a native publisher. */
  readonly cutAt: number;
  /** How many messages reached STAN after the cut. */
  readonly stragglers: number;
  /** For how long each part of the system stood still for its move, in ms. NaN: nothing came any more. */
  readonly pauses: {
    /** From the stop of the publishers until a message that was published after that was stored. */
    readonly publishers: number;
    /** For each reader: from its own stop until it got a message that was published after that. */
    readonly consumers: Readonly<Record<string, number>>;
  };
  /**
   * Messages that STAN itself had twice, under two numbers, because a publisher had to send them again. They are copied as they are. A
   * message that the move has doubled is a problem.
   */
  readonly doubledInStan: number;
  /** The faults, in a line each. */
  readonly faults: readonly string[];
  /** The verdict over the whole: whether anything was lost, doubled or out of order. */
  readonly verdict: Verdict;
}

const NAMES = {
  known: [...['inPlace', 'nodes', 'version', 'rate', 'time', 'faults', 'seed', 'onEvent', 'signal']],
  hints: { duration: "it is called 'time'", jetstream: "did you mean 'inPlace'?" },
};

/** How long a fault lasts at most, in ms. */
const LONGEST_FAULT = 1500;
/** Which part of the messages the workers fail on before they move, so that something is pending, and for how long before, in ms. */
const FAILING = 0.2;
const FAILING_FOR = 2000;
/** How long STAN has to be silent until the cut is over, in ms. Its publishers have moved before. */
const QUIET = 1000;
/** How long a server may take that has to be built first, in ms. */
const GETTING = 900_000;
/** How long publishes may take to settle at the end, and then deliveries to arrive, in ms each. */
const FINISH = 60_000;
/** How long what was given up may take to end, in ms. */
const LEFT_OVER = 5000;
/** The channel, and the stream that it becomes. */
const CHANNEL = 'orders';
const STREAM = streamName(CHANNEL);

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
  const [major = 0, minor = 0] = (version ?? NATS_SERVER_VERSION).split('.').map(Number);
  if (major < 2 || (major === 2 && minor < 10))
    throw new InvalidArgumentError(
      'version',
      `version must be 2.10 or later, not ${version}: that is where STAN is left for`,
    );
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

/** What is there while the system moves. */
interface Scene {
  readonly cluster: StanCluster;
  /** The servers with JetStream: those of STAN, in place. */
  readonly target: StanCluster | JetStreamCluster;
  readonly migration: MigrateOptions;
  readonly checker: ContinuityChecker;
  readonly toy: ToySystem;
}

class Rehearsal {
  readonly #settings: Settings;
  readonly #stage: Stage;
  readonly #problems: Problem[] = [];
  readonly #faults: string[] = [];

  constructor(settings: Settings) {
    this.#settings = settings;
    this.#stage = new Stage(settings.onEvent, settings.signal);
  }

  async run(): Promise<RehearsalReport> {
    const { inPlace, nodes, rate, seed } = this.#settings;
    const stage = this.#stage;
    // What was given up ends by itself when it hears of the end, and when its servers are gone.
    await using _leftOver = { [Symbol.asyncDispose]: () => stage.ended(LEFT_OVER) };
    stage.say(`seed ${seed}: with it the same faults are planned again`);
    const server = await this.#programs();

    stage.say(`booting ${nodes === 1 ? 'a STAN server' : `a cluster of ${nodes} STAN servers`}`);
    const mode = nodes === 1 ? 'single' : 'clustered';
    await using cluster = await this.#boot(StanCluster.start({ mode, nodes, startTimeout: PATIENCE }));
    const stan = (await cluster.nodes[0]!.monitor.serverz())?.version ?? 'unknown';
    if (!inPlace) stage.say(`booting ${plural(nodes, 'nats-server')} with JetStream, for after it`);
    const apart = inPlace
      ? undefined
      : await this.#boot(JetStreamCluster.start({ nodes, server, startTimeout: PATIENCE }));
    await using _apart = { [Symbol.asyncDispose]: async () => apart?.stop() };

    const checker = new ContinuityChecker({ channel: CHANNEL, ordering: 'strict' });
    const toy = new ToySystem(seed);
    await using _toy = { [Symbol.asyncDispose]: () => toy.close() };
    // What is under way hears of the end before anything is taken away.
    using _over = { [Symbol.dispose]: () => stage.end() };
    await stage.wait(toy.begin(checker, cluster.urls, cluster.connectOptions, { rate, signal: stage.signal }), {
      what: 'the clients of STAN do not connect',
    });
    stage.say('the system works with STAN: 2 publishers, 2 workers in a group, a durable reader, a plain reader');

    const migration: MigrateOptions = {
      from: cluster.urls,
      ...(apart !== undefined && { to: apart.urls }),
      clusterId: cluster.clusterId,
      monitor: cluster.nodes.map(({ monitor }) => monitor.url),
      channels: [CHANNEL],
    };
    stage.say(`the commands below are typed with: ${optionsOf(migration)}`);
    const scene = {
      cluster,
      target: apart ?? cluster,
      checker,
      toy,
      migration: { ...migration, signal: stage.signal },
    };
    await this.#prepare(scene);
    const following = await this.#copy(scene);
    await this.#moveReaders(scene);
    const cutReport = await this.#movePublishers(scene, following);
    const verified = await this.#verify(scene);
    const jetstream = apart ?? (await this.#replaceServers(scene, server));
    if (apart !== undefined) {
      stage.say('STAN is switched off');
      await stage.wait(cluster.stop(), { what: 'the STAN servers do not end' });
    }
    await this.#work(jetstream, checker, seed + 1, () => jetstream.findLeader(STREAM));
    stage.say('the end: everything that was published has to arrive');
    const verdict = await stage.wait(checker.finish({ timeout: FINISH, linger: 1000 }), {
      what: () =>
        `${checker.history.pending} publishes have no answer, and ${checker.history.owed} deliveries are missing`,
      timeout: 3 * FINISH,
    });
    const versions = { stan, jetstream: await versionOf(jetstream) };
    return this.#report(scene, { cutReport, verified, verdict, versions });
  }

  /** What is missing on this machine is missed before anything runs. @returns the path of the nats-server */
  async #programs(): Promise<string> {
    const { version } = this.#settings;
    await loadOfficialClient();
    await this.#stage.wait(resolveServer(), {
      what: `there is no nats-streaming-server ${SERVER_VERSION} yet`,
      timeout: GETTING,
    });
    return await this.#stage.wait(
      resolveServer({ program: 'nats-server', ...(version !== undefined && { version }) }),
      { what: `there is no nats-server ${version ?? NATS_SERVER_VERSION} yet`, timeout: GETTING },
    );
  }

  /** Boots servers. When the rehearsal ends meanwhile, they are ended as soon as they are there. */
  async #boot<C extends ServerCluster>(started: Promise<C>): Promise<C> {
    try {
      return await this.#stage.wait(started, { what: 'the servers are not up', timeout: 2 * PATIENCE });
    } catch (error) {
      await started.then(
        (cluster) => cluster.stop(),
        () => undefined,
      );
      throw error;
    }
  }

  /** What a team does before the copy. */
  async #prepare({ cluster, migration }: Scene): Promise<void> {
    if (this.#settings.inPlace) this.#take(await prepareInPlace(this.#stage, cluster, migration));
    this.#stage.command('resilient-stan migrate plan');
    const planned = await this.#stage.wait(plan(migration), { what: 'the plan is not made' });
    this.#take(planned);
    if (planned.ok) this.#stage.say('nothing is in the way');
  }

  /** A copy follows, somebody publishes natively too early, and the system works with faults. */
  async #copy({ cluster, target, migration, checker }: Scene): Promise<FollowingCopy> {
    const stage = this.#stage;
    stage.command('resilient-stan migrate copy --follow # goes on, in a terminal of its own');
    const following = new FollowingCopy(stage, migration);
    await following.reached(1);
    stage.say(`somebody publishes to '${CHANNEL}' natively, too early, at each server`);
    const wrong = await stage.wait(publishTooEarly(CHANNEL, target.urls), { what: 'the servers do not answer that' });
    this.#take({ problems: wrong.map((message) => ({ code: 'fence', channel: CHANNEL, message })) });
    if (wrong.length === 0) stage.say('the fence keeps it out: "no responders"');

    await this.#work(cluster, checker, this.#settings.seed, () => cluster.findLeader());
    await stage.wait(cluster.settled({ timeout: PATIENCE }), { what: 'not every server is in the cluster' });
    await stage.wait(cluster.replicated({ timeout: PATIENCE }), { what: 'not every server has all messages' });
    const last = await stage.wait(
      waitFor(() => lastOf(cluster), { timeout: PATIENCE, what: () => 'STAN says nothing', signal: stage.signal }),
      { what: 'STAN does not say what its last message is' },
    );
    await following.reached(last);
    return following;
  }

  /** One reader after the other moves, while the publishers are at STAN and the copy follows. */
  async #moveReaders(scene: Scene): Promise<void> {
    const { target, migration, checker, toy } = scene;
    const stage = this.#stage;
    await this.#verify(scene);
    // Something has to be pending. Not earlier: what a leader that dies has forgotten of a group is STAN's own loss.
    toy.failing = FAILING;
    await stage.pause(FAILING_FOR);
    for (const { name, what, durable } of READERS) {
      stage.say(`${what} is stopped`);
      const move = checker.fault(moveOf(name));
      await stage.wait(toy.leave(name), { what: `${what} does not leave STAN` });
      if (durable !== undefined) {
        stage.command(`resilient-stan migrate durables --durables ${durable}`);
        const report = await stage.wait(durables({ ...migration, durables: [durable] }), {
          what: `the durable ${durable} is not moved`,
        });
        this.#take(report);
        for (const { consumer, lastSent, pending } of report.durables)
          stage.say(`it is the consumer '${consumer}' now: ${pending} pending, then all above ${lastSent}`);
      }
      await stage.wait(toy.cross(name, target.urls, target.connectOptions), {
        what: `${what} does not reach JetStream`,
      });
      move.mended();
      stage.say(`${what} goes on with JetStream; the publishers are at STAN still`);
    }
    toy.failing = 0;
  }

  /** The publishers stop, the streams are opened, and the publishers go on. */
  async #movePublishers(
    { cluster, target, migration, checker, toy }: Scene,
    following: FollowingCopy,
  ): Promise<CutReport> {
    const stage = this.#stage;
    stage.say('the publishers are stopped');
    const move = checker.fault(moveOf('publishers'));
    await stage.wait(toy.hold(), { what: 'a message of the publishers is not stored by STAN' });
    await stage.wait(toy.leave('publishers'), { what: 'the publishers do not leave STAN' });
    stage.say('the copy that follows is ended with Ctrl-C: the cut copies what is left');
    this.#take(await following.stop());

    stage.command(`resilient-stan migrate cut --quiet ${QUIET / 1000}s`);
    let progress: CutProgress = { phase: 'copying', stragglers: 0 };
    let opened: Promise<void> | undefined;
    let crossed: Promise<void> | undefined;
    // A failure of either ends the rehearsal, and with it the cut.
    const act = (done: Promise<void>): Promise<void> => {
      done.catch((error: unknown) => stage.fail(error as Error));
      return done;
    };
    const goOn = async (): Promise<void> => {
      stage.say('the streams are open, and the publishers are started');
      await toy.cross('publishers', target.urls, target.connectOptions);
      move.mended();
    };
    const report = await stage.wait(
      cut({
        ...migration,
        quiet: QUIET,
        onProgress: (now) => {
          progress = now;
          if (now.phase === 'waiting') opened ??= act(openInPlace(stage, cluster, [CHANNEL]));
          // While STAN is still watched for what comes late.
          if (now.phase === 'stragglers') crossed ??= act(goOn());
        },
      }),
      {
        what: () =>
          `the cut is not done (${progress.phase})${progress.todo === undefined ? '' : `: ${progress.todo.replaceAll('\n', '; ')}`}`,
      },
    );
    this.#take(report);
    await stage.wait(crossed ?? Promise.resolve(), { what: 'the publishers do not reach JetStream' });
    stage.say('the system works with JetStream');
    return report;
  }

  async #verify({ migration }: Scene): Promise<VerifyCopyReport> {
    this.#stage.command('resilient-stan migrate verify');
    const report = await this.#stage.wait(verify(migration), { what: 'the sides are not compared' });
    this.#take(report);
    if (report.ok) this.#stage.say(`${plural(report.compared, 'message')} compared: the same on both sides`);
    return report;
  }

  /** In place: plain servers go on with the ports and the stores of the streaming servers. */
  async #replaceServers({ cluster, checker, migration }: Scene, server: string): Promise<JetStreamCluster> {
    const stage = this.#stage;
    stage.say(
      'server by server: nats-streaming-server stops, and nats-server starts with the same file without its streaming block',
    );
    const jetstream = await cluster.natsServers({ server });
    const replaced = checker.fault('servers replaced');
    let last = 'none';
    const onReplaced = ({ name }: { name: string }): void => {
      last = name;
      stage.say(`server ${name} is a nats-server, and its streams are current`);
    };
    await stage.wait(jetstream.takeOver({ timeout: PATIENCE, onReplaced }), {
      what: () => `the servers are not replaced; the last one that is: ${last}`,
      timeout: cluster.nodes.length * 2 * PATIENCE,
    });
    replaced.mended();
    stage.command('resilient-stan migrate finish');
    const { clusterId, channels, signal } = migration;
    const finished = await stage.wait(finish({ to: jetstream.urls, clusterId, channels, signal, timeout: PATIENCE }), {
      what: `not every server has stream '${STREAM}'`,
      timeout: 2 * PATIENCE,
    });
    this.#take(finished);
    for (const { stream, replicas } of finished.streams) {
      stage.say(`stream '${stream}' is on ${plural(replicas, 'server')}`);
    }
    return jetstream;
  }

  /** Lets the system work for a while, with faults if they are wanted. */
  async #work(
    cluster: ServerCluster,
    checker: ContinuityChecker,
    seed: number,
    findLeader: NonNullable<NemesisOptions['findLeader']>,
  ): Promise<void> {
    const { faults, time } = this.#settings;
    if (!faults) return await this.#stage.pause(time);
    let current = 'none';
    // Not AbortSignal.timeout: one that only another signal depends on is collected as garbage, and never aborted.
    const over = new AbortController();
    const cancel = realTime(time, () => over.abort());
    const nemesis = new Nemesis(cluster, {
      signal: AbortSignal.any([over.signal, this.#stage.signal]),
      findLeader,
      onFault: (name) => checker.fault(name),
      onEvent: ({ event, text }) => {
        current = text;
        if (event === 'begin') this.#faults.push(text);
        if (event === 'begin' || event === 'mended') this.#stage.say(text);
      },
    });
    const plan = planFaults({ seed, faults: ['kill', 'pause'], maxDuration: LONGEST_FAULT, overlap: 0 });
    await this.#stage
      .wait(nemesis.run(plan), {
        what: () => `the servers are not whole again after a fault (the last: ${current})`,
        timeout: time + 2 * PATIENCE,
      })
      .finally(cancel);
  }

  #take({ problems }: Pick<Report, 'problems'>): void {
    this.#problems.push(...problems);
    for (const { message } of problems) this.#stage.say(`PROBLEM: ${message}`);
  }

  #report(
    { toy }: Scene,
    about: Pick<RehearsalReport, 'versions' | 'verdict'> & { cutReport: CutReport; verified: VerifyCopyReport },
  ): RehearsalReport {
    const { inPlace, seed } = this.#settings;
    const { verdict, verified } = about;
    const { cutAt = 0, stragglers = [] } = about.cutReport.channels[0] ?? {};
    const doubled = toy.doubled.filter(({ again }) => again > cutAt);
    const problems: Problem[] = [
      ...this.#problems,
      ...verdict.violations.map((message) => ({ code: 'violation', channel: CHANNEL, message })),
      ...doubled.map(({ first, again }) => ({
        code: 'doubled',
        channel: CHANNEL,
        message: `stream '${STREAM}' has message ${first} once more, as message ${again}, and STAN has it once`,
      })),
    ];
    const moved = (name: string): FaultVerdict | undefined =>
      verdict.faults.find((fault) => fault.name === moveOf(name));
    const pause = (ms: number | undefined): number => Math.round(ms ?? Number.NaN);
    return {
      ok: problems.length === 0,
      problems,
      inPlace,
      versions: about.versions,
      seed,
      fence: inPlace ? 'mappings' : 'stream',
      compared: verified.compared,
      cutAt,
      stragglers: stragglers.length,
      pauses: {
        publishers: pause(moved('publishers')?.toNextAck),
        consumers: Object.fromEntries(READERS.map(({ name }) => [name, pause(moved(name)?.toNextDelivery[name])])),
      },
      doubledInStan: toy.doubled.length - doubled.length,
      faults: this.#faults,
      verdict,
    };
  }
}

/** The name of a move for the checker. */
function moveOf(part: string): string {
  return `${part} move`;
}

/** The options of each command, as they are typed. */
function optionsOf({ from, to, clusterId, monitor, channels }: MigrateOptions): string {
  const lists = { from, to, 'cluster-id': clusterId, monitor, channels };
  return Object.entries(lists)
    .flatMap(([name, value]) => (value === undefined ? [] : [`--${name} ${[value].flat().join(',')}`]))
    .join(' ');
}

async function lastOf(cluster: StanCluster): Promise<number | undefined> {
  const leader = await cluster.findLeader();
  return (await leader?.monitor.channelz(CHANNEL))?.last_seq;
}

async function versionOf(cluster: JetStreamCluster): Promise<string> {
  const page = await cluster.nodes[0]?.monitor.get<{ version: string }>('/varz', { timeout: 5000 });
  return page?.version ?? 'unknown';
}
