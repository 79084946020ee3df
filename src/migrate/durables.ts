/** The step `durables`: each STAN durable becomes a JetStream consumer that delivers exactly what the durable would have got. */
import type { StreamInfo } from '@nats-io/jetstream';
import { makeClock } from '../clock/clock.js';
import { describe, ResilientStanError } from '../errors.js';
import { OptionReader } from '../option-reader.js';
import { suggest } from '../suggest.js';
import { show } from '../validation.js';
import { clusterFault, foreignIn, foreignMessage, tailFault } from './anchor.js';
import { readNote } from './consumer-note.js';
import { MigrationTargetError } from './errors.js';
import { findConsumer, hasLostState, makeConsumer, wasUsed, type HandOver } from './hand-over.js';
import { Holders } from './holders.js';
import { interruptiblePause, interruptibleStep } from './interruptible.js';
import { consumerName, MAX_NAME, streamName, type DurableId } from './names.js';
import {
  MIGRATE_HINTS,
  MIGRATE_OPTIONS,
  readMigrateOptions,
  type MigrateOptions,
  type ResolvedMigrateOptions,
} from './options.js';
import { readPending } from './pending.js';
import { readProgress } from './progress.js';
import type { Problem, Report } from './report.js';
import { droppedUpTo, findSeam, rangeOf, stragglersIn } from './seam.js';
import { Source } from './source.js';
import { durablesOf, durableText, isMeant, type StanDurable } from './stan-durables.js';
import { readPatiently, Target } from './target.js';

/**
 * Options of {@link durables}.
 * @category Migration
 */
export interface DurablesOptions extends MigrateOptions {
  /**
   * Which durables: their names, or `client ID/name` or `group/name` where a name is not enough. A name that no durable has is a problem,
   * and makes nothing. Default: all durables of the channels.
   */
  durables?: readonly string[] | undefined;
  /** Called for each durable that is done. Default: none. */
  onProgress?: ((progress: DurablesProgress) => void) | undefined;
}

/**
 * How far {@link durables} has come.
 * @category Migration
 */
export interface DurablesProgress {
  /** How many durables are done. */
  readonly done: number;
  /** How many there are. */
  readonly total: number;
  /** The durable that was done last. */
  readonly durable: MigratedDurable;
}

/**
 * What became of a durable.
 * @category Migration
 */
export interface MigratedDurable {
  /** The channel. */
  readonly channel: string;
  /** The client ID that holds it. Undefined for a queue group. */
  readonly clientId?: string;
  /** The queue group. Undefined for a durable that is not in one. */
  readonly group?: string;
  /** The durable's name. */
  readonly durable: string;
  /** The stream of the channel. */
  readonly stream: string;
  /** The name of the consumer. */
  readonly consumer: string;
  /**
   * - `'made'`: the consumer is made;
   * - `'remade'`: it was made by an earlier run and not used, the durable has moved on since, and it is made again;
   * - `'unchanged'`: an earlier run has made it for the same position, and nothing was changed;
   * - `'refused'`: nothing was done. A problem says why.
   */
  readonly outcome: 'made' | 'remade' | 'unchanged' | 'refused';
  /** The highest sequence that STAN has sent to the durable. */
  readonly lastSent: number;
  /** How many messages up to there are pending: they are delivered first. */
  readonly pending: number;
}

/**
 * What {@link durables} answers.
 * @category Migration
 */
export interface DurablesReport extends Report {
  /** The durables, by channel and by the name of the consumer. */
  readonly durables: readonly MigratedDurable[];
}

const NAMES = {
  known: [...MIGRATE_OPTIONS, 'durables', 'onProgress'],
  hints: { ...MIGRATE_HINTS, durable: "did you mean 'durables'? It is an array" },
};

/** How often a durable is read again when it has moved meanwhile. */
const ATTEMPTS = 3;
/** How long a copy that follows STAN may take to reach a durable, in ms. */
const FOLLOW_PATIENCE = 3000;
/** The pause between two looks at that, in ms. */
const FOLLOW_LOOK = 200;

/**
 * Makes a JetStream consumer of each durable subscription and of each durable queue group of STAN. It delivers what was pending,
 * then all above the last message that STAN has sent, and its name is that of {@link consumerName}. Durables keep their place in
 * STAN, so until the cut there is a way back. Those that a client holds are refused with its client ID: stop it, and run this again.
 * The channels have to be copied so far.
 *
 * @param options the servers, the channels and the durables; default: all
 * @returns what became of each durable, and what is wrong. It is not rejected for a durable
 * @throws InvalidArgumentError when an option is wrong
 * @throws PeerMissingError when the official client is not installed
 * @throws MigrationSourceError when STAN cannot be read
 * @throws MigrationTargetError when JetStream cannot be used
 * @throws AbortedError when `signal` is aborted; CallbackError when `onProgress` throws
 * @example
 * ```ts
 * const { ok, durables: made, problems } = await durables({ from: 'nats://a:4222', channels: ['orders'] });
 * for (const { durable, consumer, pending } of made) console.log(`${durable} is ${consumer}, with ${pending} pending`);
 * if (!ok) for (const { message } of problems) console.error(message);
 * ```
 * @category Migration
 */
export async function durables(options: DurablesOptions = {}): Promise<DurablesReport> {
  const read = new OptionReader(options, 'options', NAMES);
  using resolved = readMigrateOptions(read);
  const wanted = namesOf(read);
  const tell = readProgress<DurablesProgress>(read);
  return await interruptibleStep(resolved.signal, () => moveAll(resolved, wanted, tell));
}

async function moveAll(
  resolved: ResolvedMigrateOptions,
  wanted: readonly string[] | undefined,
  tell: (progress: DurablesProgress) => void,
): Promise<DurablesReport> {
  await using source = await Source.open(resolved);
  await using target = await Target.open(resolved.target, resolved.signal);
  await using holders = await Holders.open(resolved);

  const { channels, problems, pages } = await source.channels();
  const all = channels.flatMap(({ channel }) => durablesOf(pages.get(channel)!));
  problems.push(...unknownNames(wanted, all, resolved.clusterId));
  const chosen = all.filter(({ id }) => wanted === undefined || wanted.some((given) => isMeant(given, id)));
  const migration = new DurableMigration(resolved, source, target, holders);
  const done: MigratedDurable[] = [];
  for (const durable of chosen) {
    resolved.signal.throwIfAborted();
    const migrated = await migration.move(durable);
    if ('problem' in migrated) problems.push(migrated.problem);
    const { result } = migrated;
    done.push(result);
    tell({ done: done.length, total: chosen.length, durable: result });
  }
  // What came in the middle of it.
  for (const channel of new Set(done.map((each) => each.channel))) {
    if (problems.some((each) => each.code === 'foreign-message' && each.channel === channel)) continue;
    const foreign = await lastLook(resolved, target, channel);
    if (foreign !== undefined) problems.push(foreign);
  }
  return { ok: problems.length === 0, problems, durables: done };
}

/** Looks for a foreign message when the consumers are made. What was made is told also when nobody answers any more. */
async function lastLook(
  { signal }: ResolvedMigrateOptions,
  target: Target,
  channel: string,
): Promise<Problem | undefined> {
  try {
    return await readPatiently(`the durables of channel '${channel}' were moved`, signal, () =>
      foreignProblem(target, channel),
    );
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof MigrationTargetError) && !target.isAnswer(error)) throw error;
    const stream = streamName(channel);
    const message =
      `whether a message of somebody else has come into stream '${stream}' of channel '${channel}' while its durables were moved is not ` +
      `known: ${describe(error)}. Run this again`;
    return { code: 'no-answer', channel, message };
  }
}

/** A message in the stream of a channel that has no place there before the cut. */
async function foreignProblem(target: Target, channel: string): Promise<Problem | undefined> {
  const info = await target.stream(streamName(channel));
  const sequence = info && (await foreignIn(target, info));
  return sequence === undefined ? undefined : foreignMessage(channel, info!, sequence);
}

function namesOf(read: OptionReader): string[] | undefined {
  const given = read.values['durables'];
  if (given === undefined) return undefined;
  if (!Array.isArray(given) || !given.every((name) => typeof name === 'string' && name !== '')) {
    return read.refuse('durables', `must be an array of names, not ${show(given)}`);
  }
  if (given.length === 0) read.refuse('durables', 'is an empty array: leave it out for all durables');
  return given as string[];
}

function unknownNames(
  wanted: readonly string[] | undefined,
  all: readonly StanDurable[],
  clusterId: string,
): Problem[] {
  const names = all.flatMap(({ id }) => [id.durable, `${id.clientId ?? id.group}/${id.durable}`]);
  return (wanted ?? []).flatMap((given): Problem[] => {
    if (all.some(({ id }) => isMeant(given, id))) return [];
    const near = suggest(given, names);
    const hint =
      near !== undefined
        ? `did you mean '${near}'? `
        : names.length === 0
          ? 'these channels have no durables. '
          : `there are ${[...new Set(all.map(({ id }) => `'${id.clientId ?? id.group}/${id.durable}'`))].join(', ')}. `;
    return [
      {
        code: 'no-durable',
        message: `no durable of these channels in cluster '${clusterId}' is called '${given}': ${hint}Nothing was made for it`,
      },
    ];
  });
}

/** A durable that cannot be moved. */
class Refused extends Error {
  readonly code: string;
  /** The message that it is about, if it is about one. */
  readonly sequence: number | undefined;
  constructor(code: string, message: string, sequence?: number) {
    super(message);
    this.code = code;
    this.sequence = sequence;
  }
}

type Moved =
  | { readonly result: MigratedDurable }
  | { readonly result: MigratedDurable & { readonly outcome: 'refused' }; readonly problem: Problem };

class DurableMigration {
  /** What is wrong with a stream, by channel. It is looked at once. */
  readonly #faults = new Map<string, Problem | undefined>();
  readonly #options: ResolvedMigrateOptions;
  readonly #source: Source;
  readonly #target: Target;
  readonly #holders: Holders;

  constructor(options: ResolvedMigrateOptions, source: Source, target: Target, holders: Holders) {
    this.#options = options;
    this.#source = source;
    this.#target = target;
    this.#holders = holders;
  }

  /** Moves one durable. What keeps it from being moved is a problem, and no error. */
  async move(durable: StanDurable): Promise<Moved> {
    const { channel, id } = durable;
    let last = durable;
    const result = (outcome: MigratedDurable['outcome']) => ({
      channel,
      ...(id.group === undefined ? { clientId: id.clientId } : { group: id.group }),
      durable: id.durable,
      stream: streamName(channel),
      consumer: consumerName(id),
      outcome,
      ...last.position,
    });
    try {
      for (let attempt = 1; ; attempt++) {
        last = await this.#offline(channel, id);
        const made = await this.#make(last);
        if (made !== undefined) return { result: { ...result(made.outcome), pending: made.pending } };
        if (attempt === ATTEMPTS) {
          const text = `the ${durableText(id)} on '${channel}' moves on while it is read: stop its clients, and run this again`;
          throw new Refused('durable-online', text);
        }
      }
    } catch (error) {
      this.#options.signal.throwIfAborted();
      return { result: { ...result('refused'), outcome: 'refused' }, problem: this.#problem(durable, error) };
    }
  }

  /** @throws the error when it is none of the servers */
  #problem({ channel, id }: StanDurable, error: unknown): Problem {
    if (error instanceof Refused || error instanceof ResilientStanError) {
      return {
        code: error.code,
        channel,
        ...(error instanceof Refused && error.sequence !== undefined && { sequence: error.sequence }),
        message: describe(error),
      };
    }
    if (!this.#target.isAnswer(error)) throw error;
    return {
      code: 'target',
      channel,
      message: `JetStream makes no consumer of the ${durableText(id)} on '${channel}': ${describe(error)}. Run this again`,
    };
  }

  /** The durable as it is now, when nobody holds it. @throws Refused */
  async #offline(channel: string, id: DurableId): Promise<StanDurable> {
    const durable = await this.#look(channel, id);
    // The client of a durable may be registered without being subscribed to it, and we would have to take its ID.
    const clients = new Set([...durable.holders, ...(id.clientId === undefined ? [] : [id.clientId])]);
    let buried = 0;
    for (const client of clients) {
      const inbox = await this.#source.heartbeatInbox(client);
      if (inbox === undefined) continue;
      if (await this.#holders.lives(inbox)) {
        const does = durable.holders.includes(client) ? 'is online' : 'is offline, and its client is connected';
        throw new Refused(
          'durable-online',
          `the ${durableText(id)} on '${channel}' ${does}: client '${client}' holds it. Stop that client, and run this again`,
        );
      }
      await this.#holders.bury(client);
      buried++;
    }
    return buried === 0 ? durable : await this.#look(channel, id);
  }

  async #look(channel: string, id: DurableId): Promise<StanDurable> {
    const page = await this.#source.page(channel);
    const name = consumerName(id);
    const found = page && durablesOf(page).find((each) => consumerName(each.id) === name);
    if (found !== undefined) return found;
    throw new Refused('no-durable', `the ${durableText(id)} on '${channel}' is gone: somebody has unsubscribed it`);
  }

  /**
   * Makes the consumer of a durable that nobody holds. Returns how many messages are pending, without those that the channel has
   * dropped; undefined when the durable has moved meanwhile.
   */
  async #make(
    durable: StanDurable,
  ): Promise<{ outcome: 'made' | 'remade' | 'unchanged'; pending: number } | undefined> {
    const { channel, id, position, ackWait, maxInFlight } = durable;
    const stream = streamName(channel);
    const consumer = consumerName(id);
    const size = Buffer.byteLength(consumer);
    if (size > MAX_NAME) {
      throw new Refused(
        'name-too-long',
        `the ${durableText(id)} on '${channel}' would be a consumer with a name of ${size} characters, and JetStream takes ` +
          `${MAX_NAME}: read it to its end in STAN before the cut, and begin with a consumer of your own behind that`,
      );
    }
    const reach = await this.#reachOf(stream, durable);
    await this.#checkOrigin(channel, stream, reach.seam);
    const existing = await findConsumer(this.#target, stream, consumer);
    let remade = false;
    if (existing !== undefined) {
      const note = readNote(existing.config.description);
      if (note === undefined) {
        throw new Refused(
          'consumer-exists',
          `stream '${stream}' has a consumer '${consumer}' that this command has not made: delete it if nobody needs it, and ` +
            'run this again',
        );
      }
      if (note.state === 'made') {
        const hasMoved = note.lastSent !== position.lastSent || note.pending !== position.pending;
        if (!hasMoved && !hasLostState(existing, note)) {
          return { outcome: 'unchanged', pending: position.pending };
        }
        if (hasMoved && wasUsed(existing, note)) {
          throw new Refused(
            'used-on-both-sides',
            `the ${durableText(id)} on '${channel}' has moved in STAN from ${note.lastSent} to ${position.lastSent} since its ` +
              `consumer '${consumer}' was made, and the consumer was used as well: nobody knows which messages are done. ` +
              `Delete the consumer to go on from the position in STAN`,
          );
        }
        remade = true;
      }
    }
    const pending = position.pending === 0 ? [] : await this.#pendingOf(durable);
    // What it was told of meanwhile is newer than what we have begun with.
    if (!(await this.#isAt(durable, pending.length))) return undefined;
    const handOver: HandOver = {
      stream,
      consumer,
      lastSent: position.lastSent,
      pending: new Set(pending),
      ...rangeOf(reach, position.lastSent, pending),
      ackWait,
      maxInFlight,
      isGroup: id.group !== undefined,
    };
    const stands = (): Promise<boolean> => this.#isAt(durable, pending.length);
    if (!(await makeConsumer(this.#target, handOver, stands, this.#options.signal))) return undefined;
    return { outcome: remade ? 'remade' : 'made', pending: pending.length };
  }

  /** @throws Refused when the last message of STAN that the stream has is not the one that STAN has now */
  async #checkOrigin(channel: string, stream: string, seam: number): Promise<void> {
    if (!this.#faults.has(channel)) this.#faults.set(channel, await this.#originFault(channel, stream, seam));
    const fault = this.#faults.get(channel);
    if (fault !== undefined) throw new Refused(fault.code, fault.message, fault.sequence);
  }

  async #originFault(channel: string, stream: string, seam: number): Promise<Problem | undefined> {
    if (seam === 0) return undefined;
    const figures = await this.#source.channel(channel);
    const stored = await this.#target.message(stream, seam);
    if (figures === undefined || stored === undefined) return undefined;
    return await tailFault(this.#source, this.#target, stream, figures, stored);
  }

  async #pendingOf(durable: StanDurable): Promise<number[]> {
    const { channel, id } = durable;
    return await readPending(durable, this.#options, async () => (await this.#look(channel, id)).position);
  }

  /** Whether a durable is still where it was, and offline. */
  async #isAt({ channel, id, position }: StanDurable, pending: number): Promise<boolean> {
    const now = await this.#look(channel, id);
    return now.holders.length === 0 && now.position.lastSent === position.lastSent && now.position.pending === pending;
  }

  /**
   * Where a durable stands in its stream. A copy that follows STAN may be a moment behind.
   * @throws Refused when the stream does not reach so far
   */
  async #reachOf(stream: string, { channel, id, position }: StanDurable): Promise<Reach> {
    const clock = makeClock();
    const deadline = clock.now() + FOLLOW_PATIENCE;
    for (;;) {
      const info = await this.#target.stream(stream);
      if (info === undefined) {
        throw new Refused('not-copied', `there is no stream '${stream}' of channel '${channel}' yet: copy it first`);
      }
      const fault = clusterFault(this.#source, channel, info) ?? (await foreignProblem(this.#target, channel));
      if (fault !== undefined) throw new Refused(fault.code, fault.message, fault.sequence);
      const reach = await reachOf(this.#target, info, position.lastSent);
      if (reach.inStan >= position.lastSent) return reach;
      // A STAN that began anew is not to be copied any further.
      await this.#checkOrigin(channel, stream, reach.seam);
      if (clock.now() > deadline) {
        throw new Refused(
          'not-copied',
          `the ${durableText(id)} on '${channel}' stands at ${position.lastSent}, and stream '${stream}' has STAN's messages up ` +
            `to ${reach.inStan}: copy the channel so far first`,
        );
      }
      await interruptiblePause(clock, FOLLOW_LOOK, this.#options.signal);
    }
  }
}

/** How far a stream reaches, as a durable sees it. */
interface Reach {
  readonly first: number;
  readonly seam: number;
  /** The last message behind the seam that was sent to the durable; the seam when there is none. */
  readonly lastStraggler: number;
  /** The highest sequence in STAN that the stream has. */
  readonly inStan: number;
}

async function reachOf(target: Target, info: StreamInfo, lastSent: number): Promise<Reach> {
  const { last_seq: last } = info.state;
  // An empty stream says 0.
  const first = Math.max(1, info.state.first_seq);
  const seam = await findSeam(target, info);
  let lastStraggler = seam;
  // What limits have dropped is not missed: those of the channel before the copy began, and those of the stream after the cut.
  let inStan = Math.max(seam, droppedUpTo(info));
  if (seam < lastSent) {
    for await (const straggler of stragglersIn(target, info.config.name, seam + 1, last)) {
      inStan = Math.max(inStan, straggler.inStan);
      if (straggler.inStan <= lastSent) lastStraggler = straggler.sequence;
    }
  }
  return { first, seam, lastStraggler, inStan };
}
