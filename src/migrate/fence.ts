/**
 * The fence: it keeps native publishers out of a stream while the copy fills it. The copy has a subject of its own,
 * `$STANIMPORT.<channel>`; who publishes to the channel's name itself gets "no responders". The messages are stored under the
 * channel's name all the same.
 *
 * - From version 2.10 on the fence is a part of the stream, which listens on the copy's subject only and transforms it.
 * - Before that, as in the streaming server itself (2.9.24), it is a `mappings` block in the configuration of every server. Only
 *   who has these files can set it, so here it is a check: {@link doorOf} asks a server and changes nothing.
 */
import type { StreamConfig } from '@nats-io/jetstream';
import { describe } from '../errors.js';
import { OTHER_STREAM } from './api-errors.js';
import { MigrationTargetError } from './errors.js';
import { everyServer } from './every-server.js';
import type { Side } from './options.js';
import type { Target } from './target.js';

/** The subject on which the copy of a channel is published while there is a fence. */
export function importSubject(channel: string): string {
  return `$STANIMPORT.${channel}`;
}

/** The subject to which the servers send what native publishers send too early. Nobody listens there. */
export function fencedSubject(channel: string): string {
  return `$STANFENCE.${channel}`;
}

/** What the fence is for a server. */
export type FenceKind =
  /** A part of the stream. */
  | 'stream'
  /** A block in the configuration of each server. */
  | 'mappings';

/** Streams can transform subjects from 2.10 on. */
export function fenceKind(target: Pick<Target, 'isAtLeast'>): FenceKind {
  return target.isAtLeast(2, 10) ? 'stream' : 'mappings';
}

/** The part of a stream's configuration that says where its messages come from. */
export type Entrance = Pick<StreamConfig, 'subjects' | 'subject_transform'>;

/** The entrance of a stream with a fence of its own: the copy alone gets in. */
export function fencedEntrance(channel: string): Entrance {
  const subject = importSubject(channel);
  return { subjects: [subject], subject_transform: { src: subject, dest: channel } };
}

/** The entrance of a stream that is open to native publishers. Without a fence of its own a stream always has this one. */
export function openEntrance(channel: string): Entrance {
  return { subjects: [channel] };
}

/** Whether a stream has a fence of its own. */
export function hasFence({ subjects }: Pick<StreamConfig, 'subjects'>, channel: string): boolean {
  return subjects.length === 1 && subjects[0] === importSubject(channel);
}

/** The `mappings` block that is the fence of servers before 2.10, as text for their configuration. */
export function mappingsBlock(channels: readonly string[]): string {
  const lines = channels.flatMap((channel) => [
    `  ${quoted(channel)}: ${quoted(fencedSubject(channel))}`,
    `  ${quoted(importSubject(channel))}: ${quoted(channel)}`,
  ]);
  return ['mappings: {', ...lines, '}'].join('\n');
}

/** A text as the configuration of a server takes it, which knows no escaped quotes. */
const quoted = (text: string): string => (text.includes('"') ? `'${text}'` : JSON.stringify(text));

/** The block that takes such a fence away. A server that reloads a file without any `mappings` keeps those that it had. */
export const NO_MAPPINGS = 'mappings: {}';

/**
 * Whether a native publish gets into a stream:
 *
 * - `'open'`: it does;
 * - `'shut'`: it gets "no responders", and a message on the copy's subject gets into the stream;
 * - `'closed'`: neither does. There is no stream yet, or it has another entrance;
 * - `'foreign'`: somebody else answers on the channel's name.
 */
export type Door = 'open' | 'shut' | 'closed' | 'foreign';

/** A name that no stream can have, because of its full stops. A message for that stream is always refused. */
const NO_STREAM = 'no.stream.has.this.name';
/** How long the stream may take to refuse the question, in ms. */
const TIMEOUT = 5000;

/**
 * Asks the server of a connection whether a native publish would get into the stream of a channel. The question is a message that
 * the stream has to refuse, so nothing is stored. It is refused for its stream's name, because that is done before the replicas of
 * the stream hear of it. What they have to refuse themselves (as for its sequence) they count, and 2.9.24 forgets that count at a
 * restart: the replica then stores as many messages once more, and has other sequences than the others from there on.
 * @throws MigrationTargetError when nobody answers
 */
export async function doorOf(target: Target, channel: string): Promise<Door> {
  const answer = await ask(target, channel);
  if (answer === 'stream') return 'open';
  if (answer === 'other') return 'foreign';
  return (await ask(target, importSubject(channel))) === 'stream' ? 'shut' : 'closed';
}

/** Who answers on a subject. */
async function ask({ client, connection }: Target, subject: string): Promise<'stream' | 'nobody' | 'other'> {
  const headers = client.core.headers();
  headers.set('Nats-Expected-Stream', NO_STREAM);
  let text: string;
  try {
    text = (await connection.request(subject, undefined, { headers, timeout: TIMEOUT })).string();
  } catch (error) {
    if (error instanceof client.core.RequestError && error.isNoResponders()) return 'nobody';
    throw new MigrationTargetError(
      `the server at ${connection.getServer()} does not say who listens on '${subject}': ${describe(error)}. ` +
        'The user needs the permission to publish there',
      { cause: error },
    );
  }
  try {
    const { error } = JSON.parse(text) as { error?: { err_code?: number } };
    return error?.err_code === OTHER_STREAM ? 'stream' : 'other';
  } catch {
    return 'other';
  }
}

/** The doors of channels at one server. */
export interface ServerDoors {
  /** The server, as `host:port`. */
  readonly server: string;
  /** The door of each channel. Undefined when the server cannot be reached. */
  readonly doors: ReadonlyMap<string, Door> | undefined;
  /** Why it cannot be reached. */
  readonly reason?: string;
}

/**
 * Asks every server of a side, because a fence that is made of mappings is in each server for itself.
 * @param cluster the IDs of all servers of the cluster. Undefined: not known, so every address has to answer
 */
export async function doorsEverywhere(
  side: Side,
  channels: readonly string[],
  cluster: ReadonlySet<string> | undefined,
  signal: AbortSignal,
): Promise<ServerDoors[]> {
  const ask = async (target: Target): Promise<ReadonlyMap<string, Door>> => {
    const doors = new Map<string, Door>();
    for (const channel of channels) doors.set(channel, await doorOf(target, channel));
    return doors;
  };
  const asked = await everyServer(side, signal, ask, cluster);
  return asked.map(({ announced: _, answer, ...each }) => ({ ...each, doors: answer }));
}

/**
 * What is to be done at the servers until natives get into the streams of channels, in one line for all servers that need the same.
 * @param isPart whether the servers may have mappings of other channels, which have to stay
 * @param kinds the doors that are not wanted. Default: all but the open one
 */
export function todoOf(
  servers: readonly ServerDoors[],
  channels: readonly { readonly channel: string }[],
  isPart: boolean,
  kinds: readonly Door[] = ['shut', 'closed', 'foreign'],
): string[] {
  const todo: string[] = [];
  const silent = servers.filter(({ doors }) => doors === undefined);
  for (const { names, of: reason } of grouped(silent, ({ reason = 'no reason given' }) => reason)) {
    const they = names.length === 1 ? 'it' : 'them';
    todo.push(`${list(names)} cannot be asked (${reason}): start ${they}, or leave ${they} out of the cluster`);
  }
  for (const kind of kinds) {
    const among = ({ doors }: ServerDoors): string =>
      channels.flatMap(({ channel }) => (doors?.get(channel) === kind ? [channel] : [])).join(', ');
    for (const { names, of: which } of grouped(servers, among)) {
      if (which !== '') todo.push(needOf(kind, names, which, isPart));
    }
  }
  return todo;
}

/** What servers need, with doors of one kind. */
function needOf(kind: Door, servers: readonly string[], channels: string, isPart: boolean): string {
  const [keep, let_, its, it] =
    servers.length === 1 ? ['keeps', 'lets', 'its', 'it'] : ['keep', 'let', 'their', 'each'];
  const where = list(servers);
  const read = `and let ${it} read the file again ('nats-streaming-server --signal reload', or SIGHUP)`;
  const away = isPart
    ? `take both lines of each of these channels out of ${its} mappings, leave those of other channels, write '${NO_MAPPINGS}' when ` +
      `none is left, ${read}`
    : `write '${NO_MAPPINGS}' in the place of ${its} mappings, or leave out the lines of these channels, ${read}`;
  switch (kind) {
    case 'shut':
      return `${where} ${keep} publishers of ${channels} out: ${away}`;
    case 'closed':
      return (
        `${where} ${let_} nobody into the streams of ${channels}, neither publishers nor the copy. One of the two mappings of a ` +
        `channel is left ('orders' or '${importSubject('orders')}'), or the stream has no leader. ${away[0]!.toUpperCase()}${away.slice(1)}`
      );
    default:
      return (
        `at ${where} somebody who is no stream replies to what is published to ${channels}, so publishers get a wrong answer: stop that ` +
        "program (it may be a subscriber on '>')"
      );
  }
}

const list = (names: readonly string[]): string =>
  names.length < 2 ? names.join('') : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`;

/** The servers of which the same is true. */
function grouped(
  servers: readonly ServerDoors[],
  what: (server: ServerDoors) => string,
): { readonly of: string; readonly names: readonly string[] }[] {
  const groups = new Map<string, string[]>();
  for (const each of servers) groups.set(what(each), [...(groups.get(what(each)) ?? []), each.server]);
  return [...groups].map(([of, names]) => ({ of, names }));
}
