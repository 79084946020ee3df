/**
 * The plan of a move in place: which lines go into the configuration of which server. nats-streaming-server 0.25.6 contains
 * nats-server 2.9.24, so it can have JetStream in the same process; later a plain nats-server serves the same ports from the same
 * store. {@link inPlaceLines} decides, and asks nobody.
 */
import { describe } from '../errors.js';
import { getJson } from '../monitoring/http.js';
import { customaryMonitors } from '../monitoring/streaming-server.js';
import type { Routez, Serverz } from '../monitoring/pages.js';
import { OptionReader } from '../option-reader.js';
import { fencedSubject, importSubject, mappingsBlock, NO_MAPPINGS } from './fence.js';
import { interruptibleStep } from './interruptible.js';
import {
  MIGRATE_HINTS,
  MIGRATE_OPTIONS,
  readMigrateOptions,
  type MigrateOptions,
  type ResolvedMigrateOptions,
} from './options.js';
import type { Problem, Report } from './report.js';
import { Source } from './source.js';

/**
 * Lines for the configuration of a server.
 * @category Migration
 */
export interface ConfigLines {
  /** What they are for. */
  readonly what: string;
  /** Where they go. */
  readonly where: string;
  /** The lines. */
  readonly lines: readonly string[];
  /**
   * What the server needs to take them: `'restart'`, one server after the other; or `'reload'`, for which it reads its file again
   * (`nats-streaming-server --signal reload`, or SIGHUP) and stays up.
   */
  readonly needs: 'restart' | 'reload';
}

/**
 * One server of a move in place.
 * @category Migration
 */
export interface InPlaceServer {
  /** Its monitoring. */
  readonly monitor: string;
  /** Its name in the cluster, or the address of its monitoring. */
  readonly name: string;
  /** The version of NATS in it. */
  readonly version: string;
  /** The account of NATS in which STAN is on it: `$G` where the configuration has no accounts. JetStream and the fence have to be there. */
  readonly account: string;
  /** Whether it has JetStream already, in this account. */
  readonly jetstream: boolean;
  /** Whether it keeps native publishers of this account out of all the channels already. */
  readonly fenced: boolean;
  /** What is missing in the configuration file that it was started with. Empty when it is ready for the copy. */
  readonly add: readonly ConfigLines[];
}

/**
 * What {@link planInPlace} answers.
 * @category Migration
 */
export interface InPlaceReport extends Report {
  /** The servers, in the order of their monitoring. */
  readonly servers: readonly InPlaceServer[];
  /** What to do after the copy and the cut, in this order. */
  readonly afterwards: readonly string[];
}

/** What the monitoring of a server says of its NATS side: its page `/varz`. */
export interface Varz {
  readonly server_name: string;
  readonly server_id: string;
  readonly version: string;
  readonly cluster?: { readonly name?: string };
}

/** The account of NATS in which the streaming server has its own connections, and with it all that publish to STAN. */
export interface AccountFacts {
  readonly name: string;
  /** Whether JetStream is enabled for it. */
  readonly jetstream: boolean;
  /** Whether its settings come from a JWT, and not from the configuration file. */
  readonly jwt: boolean;
  /** Whether the configuration has accounts, so that each of them needs its own settings. */
  readonly named: boolean;
  /** Its mappings that hold for every message: subject to subject. */
  readonly mappings: Mappings;
  /** Whether it has any mappings. */
  readonly mapped: boolean;
  /** The mappings of the other accounts, which do nothing for STAN's. */
  readonly elsewhere: ReadonlyMap<string, Mappings>;
}

export type Mappings = ReadonlyMap<string, string>;

/** What is known of a server before its lines are decided. */
export interface ServerFacts {
  readonly monitor: string;
  readonly varz: Varz;
  readonly serverz: Serverz;
  /** Whether the server has JetStream. */
  readonly jetstream: boolean;
  readonly account: AccountFacts;
}

/** A name that a server or a cluster without one of its own gets at each start. */
const MADE_UP = /^([A-Za-z0-9]{22}|N[A-Z2-7]{55})$/;
/** The account of who belongs to no other. */
const GLOBAL = '$G';

/** Decides what is missing in the configuration of a server. Pure. */
export function inPlaceLines(
  { varz, serverz, jetstream, account }: Omit<ServerFacts, 'monitor'>,
  channels: readonly string[],
): ConfigLines[] {
  const add: ConfigLines[] = [];
  const { name: cluster } = varz.cluster ?? {};
  const clustered = cluster !== undefined && cluster !== '';
  if (clustered && varz.server_name === varz.server_id) {
    add.push({
      what: 'JetStream knows the servers of a cluster by their names, which must not change',
      where: 'at the top level; another name on each server',
      lines: [`server_name: ${JSON.stringify(serverz.node_id ?? 'a name of its own')}`],
      needs: 'restart',
    });
  }
  if (clustered && MADE_UP.test(cluster)) {
    add.push({
      what: 'a cluster with JetStream needs a name that does not change',
      where: 'in the cluster block; the same name on all servers',
      lines: [`name: ${JSON.stringify(serverz.cluster_id)}`],
      needs: 'restart',
    });
  }
  if (!jetstream) {
    add.push({
      what: 'JetStream, which this server contains',
      where: 'at the top level; a directory of its own for each server, on a disk with room for all messages once more',
      lines: ['jetstream: {', '  store_dir: "/var/lib/nats/jetstream"', '}'],
      // A cluster that gets JetStream by a reload does not find all its servers.
      needs: clustered ? 'restart' : 'reload',
    });
  }
  // What is not in the file cannot be added to it.
  if (account.jwt) return add;
  const inAccount = `in the block of account '${account.name}', inside of 'accounts'`;
  if (lacksJetStream(account) && account.name !== GLOBAL) {
    add.push({
      what: `JetStream for account '${account.name}', in which STAN is: where there are accounts, it is enabled for each by itself`,
      where: inAccount,
      lines: ['jetstream: enabled'],
      needs: clustered && !jetstream ? 'restart' : 'reload',
    });
  }
  if (!isFenced(account.mappings, channels)) {
    const others = [...account.elsewhere]
      .filter(([, mappings]) => isFenced(mappings, channels))
      .map(([name]) => name)
      .sort();
    const useless = others.map((name) => (name === GLOBAL ? 'those at the top level' : `those of account '${name}'`));
    add.push({
      what:
        'the fence: who publishes to a channel natively gets "no responders" until the cut' +
        (useless.length === 0
          ? ''
          : `; ${useless.join(' and ')} do not hold for account '${account.name}', in which STAN is`),
      where:
        (account.name === GLOBAL ? 'at the top level' : inAccount) +
        // Of two blocks the server takes the last one only.
        (account.mapped ? '; in the mappings block that is there, because a second one would take its place' : ''),
      lines: mappingsBlock(channels).split('\n'),
      needs: 'reload',
    });
  }
  return add;
}

/** What an account lacks that no line of the configuration file gives it. Pure. */
export function accountProblems(
  { name, account }: { readonly name: string; readonly account: AccountFacts },
  channels: readonly string[],
): Problem[] {
  const lacksFence = !isFenced(account.mappings, channels);
  if (!account.jwt) {
    if (account.name !== GLOBAL || !lacksJetStream(account)) return [];
    const message =
      `STAN on server '${name}' is in no account of its configuration, and next to other accounts such users cannot have JetStream: move ` +
      "the users of STAN, and that of the block 'streaming', into an account of their own, with 'jetstream: enabled'";
    return [{ code: 'account', message }];
  }
  const commands = [
    ...(account.jetstream ? [] : [`nsc edit account ${account.name} --js-mem-storage -1 --js-disk-storage -1`]),
    ...(lacksFence ? channels : []).flatMap((channel) =>
      [
        [channel, fencedSubject(channel)],
        [importSubject(channel), channel],
      ].map(([from, to]) => `nsc add mapping --account ${account.name} --from '${from}' --to '${to}'`),
    ),
  ];
  if (commands.length === 0) return [];
  const message =
    `account '${account.name}', in which STAN is on server '${name}', comes from a JWT, and lacks what no configuration file can give ` +
    `it. Run these, and push the account to the servers:\n${commands.join('\n')}`;
  return [{ code: 'account', message }];
}

/** Whether JetStream has to be enabled for an account by itself, and is not. */
function lacksJetStream({ named, jetstream }: AccountFacts): boolean {
  return named && !jetstream;
}

function isFenced(mappings: Mappings, channels: readonly string[]): boolean {
  return channels.every(
    (channel) => mappings.get(channel) === fencedSubject(channel) && mappings.get(importSubject(channel)) === channel,
  );
}

/** What to do after the copy. */
export const AFTERWARDS = [
  'resilient-stan migrate copy --follow, until everybody is over; resilient-stan migrate verify; resilient-stan migrate durables',
  `resilient-stan migrate cut, and when it says so: '${NO_MAPPINGS}' in the place of the mappings on every server, and a reload`,
  'server by server: stop nats-streaming-server, take the streaming block out of its file, and start nats-server (2.10 or later) ' +
    'with the same file: the same ports, and the same JetStream store. Wait until its streams are current before the next one',
  'in a cluster, when all of them are plain ones: resilient-stan migrate finish, which keeps each stream on three of them',
] as const;

/**
 * Says which lines to add to the configuration of which server, so that the streaming servers themselves have JetStream and a
 * fence. It asks the monitoring of every server, and changes nothing. What a server has already is left out.
 *
 * @param options the monitoring of all servers, and the channels; default: all
 * @returns the lines for each server; problems for servers that do not answer
 * @throws InvalidArgumentError when an option is wrong
 * @throws MigrationSourceError when STAN cannot be read
 * @example
 * ```ts
 * const { servers } = await planInPlace({ from: 'nats://a:4222,nats://b:4222,nats://c:4222' });
 * for (const { name, add } of servers) console.log(name, add.flatMap(({ lines }) => lines).join('\n'));
 * ```
 * @category Migration
 */
export async function planInPlace(options: MigrateOptions = {}): Promise<InPlaceReport> {
  using resolved = readMigrateOptions(new OptionReader(options, 'options', NAMES));
  return await interruptibleStep(resolved.signal, () => planServers(resolved));
}

async function planServers(resolved: ResolvedMigrateOptions): Promise<InPlaceReport> {
  await using source = await Source.open(resolved);
  const { channels, problems } = await source.channels({ figures: false });
  const names = channels.map(({ channel }) => channel);
  const servers: InPlaceServer[] = [];
  const asked = new Set<string>();
  const { tls } = resolved.source.options;
  const ca = typeof tls === 'object' ? tls.ca : undefined;
  let most = 0;
  for (const places of placesOf(resolved)) {
    resolved.signal.throwIfAborted();
    const reasons: string[] = [];
    for (const monitor of places) {
      try {
        const { facts, routes } = await ask(monitor, ca);
        // Where it is by custom, another cluster may be.
        if (resolved.monitorByCustom && facts.serverz.cluster_id !== resolved.clusterId) continue;
        most = Math.max(most, routes + 1);
        if (asked.has(facts.varz.server_id)) continue;
        asked.add(facts.varz.server_id);
        const server = serverOf(facts, names);
        servers.push(server);
        problems.push(...accountProblems({ name: server.name, account: facts.account }, names));
      } catch (error) {
        reasons.push(`${monitor}: ${describe(error)}`);
      }
    }
    if (reasons.length < places.length) continue;
    problems.push({
      code: 'no-answer',
      message: `no monitoring says what its server has: ${reasons.join('; ')}. Start the server, or say with 'monitor' where it is, and run this again`,
    });
  }
  problems.push(...missing(servers, most), ...tooOld(servers));
  return { ok: problems.length === 0, problems, servers, afterwards: AFTERWARDS };
}

const NAMES = { known: MIGRATE_OPTIONS, hints: MIGRATE_HINTS };

/** For each server where its monitoring may be. */
function placesOf({ monitor, monitorByCustom, source }: ResolvedMigrateOptions): string[][] {
  return monitorByCustom
    ? source.addresses.map((address) => customaryMonitors([address]))
    : monitor.map((url) => [url]);
}

function serverOf(facts: ServerFacts, channels: readonly string[]): InPlaceServer {
  const { monitor, varz, serverz, jetstream, account } = facts;
  return {
    monitor,
    name: varz.server_name === varz.server_id ? (serverz.node_id ?? monitor) : varz.server_name,
    version: varz.version,
    account: account.name,
    jetstream: jetstream && !lacksJetStream(account),
    fenced: isFenced(account.mappings, channels),
    add: inPlaceLines(facts, channels),
  };
}

/** A fence with a gap is none, so all servers have to be asked. */
function missing(servers: readonly InPlaceServer[], most: number): Problem[] {
  if (servers.length === 0 || servers.length >= most) return [];
  return [
    {
      code: 'servers-missing',
      message:
        `the cluster has ${most} servers, and ${servers.length} were asked: every server needs the same lines. ` +
        "Name the monitoring of all of them with 'monitor'",
    },
  ];
}

function tooOld(servers: readonly InPlaceServer[]): Problem[] {
  return servers.flatMap(({ name, version }) => {
    const [, major = '0', minor = '0'] = /^(\d+)\.(\d+)/.exec(version) ?? [];
    if (Number(major) > 2 || (Number(major) === 2 && Number(minor) >= 9)) return [];
    return [
      {
        code: 'too-old',
        message:
          `server '${name}' contains NATS ${version}: JetStream in place is tried with the 2.9.24 of nats-streaming-server ` +
          '0.25.6. Replace its program by that version first, server by server; it reads the same store',
      },
    ];
  });
}

async function ask(monitor: string, ca: string | undefined): Promise<{ facts: ServerFacts; routes: number }> {
  const get = async <T>(path: string): Promise<T> => {
    const found = await getJson<T>(monitor, path, ca);
    if (found === undefined) throw new Error(`it has no page ${path}`);
    return found;
  };
  const [varz, serverz, routez, jsz] = await Promise.all([
    get<Varz>('/varz'),
    get<Serverz>('/streaming/serverz'),
    get<Routez>('/routez'),
    // Its own page, because /varz does not learn of JetStream that came with a reload.
    get<{ disabled?: boolean }>('/jsz'),
  ]);
  const account = await accountOf(get, serverz.cluster_id);
  const others = new Set(routez.routes.map(({ remote_id }) => remote_id));
  return { facts: { monitor, varz, serverz, jetstream: jsz.disabled !== true, account }, routes: others.size };
}

type Get = <T>(path: string) => Promise<T>;

/** How many connections a page has. */
const CONNECTIONS = 1024;

interface Connz {
  readonly connections?: readonly { readonly name?: string; readonly account?: string }[];
}

interface Accountz {
  readonly accounts: readonly string[];
  readonly system_account?: string;
}

interface AccountDetail {
  readonly jetstream_enabled?: boolean;
  readonly jwt?: string;
  readonly mappings?: Readonly<Record<string, readonly { readonly subject: string; readonly weight?: number }[]>>;
}

/** What a server says of the account in which its streaming server is. */
async function accountOf(get: Get, clusterId: string): Promise<AccountFacts> {
  const { accounts, system_account: system } = await get<Accountz>('/accountz');
  const named = accounts.some((each) => each !== GLOBAL && each !== system);
  const name = named ? await accountOfStreaming(get, clusterId) : GLOBAL;
  const details = new Map<string, AccountDetail>();
  for (const each of new Set([name, ...accounts])) {
    const page = await get<{ account_detail?: AccountDetail }>(`/accountz?acc=${encodeURIComponent(each)}`);
    details.set(each, page.account_detail ?? {});
  }
  const { jetstream_enabled: jetstream = false, jwt = '', mappings = {} } = details.get(name)!;
  const elsewhere = [...details]
    .filter(([each]) => each !== name)
    .map(([each, of]) => [each, mappingsOf(of.mappings)] as const);
  return {
    ...{ name, named, jetstream, jwt: jwt !== '', mapped: Object.keys(mappings).length > 0 },
    ...{ mappings: mappingsOf(mappings), elsewhere: new Map(elsewhere) },
  };
}

/** The account of the streaming server's own connections, whose names begin with that of its cluster. */
async function accountOfStreaming(get: Get, clusterId: string): Promise<string> {
  for (let offset = 0; ; offset += CONNECTIONS) {
    const { connections = [] } = await get<Connz>(`/connz?auth=true&limit=${CONNECTIONS}&offset=${offset}`);
    const own = connections.find(({ name }) => name?.startsWith(`_NSS-${clusterId}-`));
    // That of who belongs to no other is not named.
    if (own !== undefined) return own.account ?? GLOBAL;
    if (connections.length < CONNECTIONS) {
      throw new Error(
        'it has accounts, and does not say in which one its streaming server is: run this again when it has started',
      );
    }
  }
}

/** What is mapped in part, or in one cluster only, keeps nobody out. */
function mappingsOf(mappings: AccountDetail['mappings'] = {}): Mappings {
  return new Map(
    Object.entries(mappings).flatMap(([from, [to, ...more]]) =>
      to !== undefined && more.length === 0 && (to.weight ?? 100) === 100 ? [[from, to.subject] as const] : [],
    ),
  );
}
