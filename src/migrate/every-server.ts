/** Asks every server of a side, and not only the one that a connection happens to have. */
import { describe } from '../errors.js';
import { MigrationTargetError } from './errors.js';
import type { Side } from './options.js';
import { Target } from './target.js';

/** What one server has answered. */
export interface Asked<T> {
  /** The server, as `host:port`. */
  readonly server: string;
  /** Undefined when it cannot be reached. */
  readonly answer: T | undefined;
  /** Why it cannot be reached. */
  readonly reason?: string;
  /** Whether only other servers have named this address. */
  readonly announced: boolean;
}

/**
 * Asks the servers of the URLs, and those that they announce. A server that announces several addresses is asked at the first one.
 *
 * An announced address may be one that only others reach, as that of a network inside the servers' machine. So it is left out when it
 * cannot be reached and every server of the cluster has been asked elsewhere.
 *
 * @param ask the question, over a connection to one server
 * @param cluster the IDs of all servers of the cluster. Undefined: not known, so every address has to answer
 */
export async function everyServer<T>(
  side: Side,
  signal: AbortSignal,
  ask: (target: Target) => Promise<T>,
  cluster?: ReadonlySet<string>,
): Promise<Asked<T>[]> {
  const dialled = new Set<string>();
  const asked = new Map<string, Asked<T>>();
  const silent: Asked<T>[] = [];
  const everybody = (): boolean => cluster !== undefined && [...cluster].every((id) => asked.has(id));
  const open = side.addresses.map(({ host, port }) => ({ host, port, announced: false }));
  for (let next = open.shift(); next !== undefined; next = open.shift()) {
    const server = `${next.host}:${next.port}`;
    if (dialled.has(server) || (next.announced && everybody())) continue;
    dialled.add(server);
    try {
      await using target = await Target.open(at(side, next), signal);
      const { server_id: id = server, connect_urls: announced = [] } = target.connection.info ?? {};
      if (!asked.has(id)) asked.set(id, { server, answer: await ask(target), announced: next.announced });
      for (const url of announced) {
        // An IPv6 address stands in brackets, and stays in them.
        const [, host, port] = /^(\[.*\]|[^[\]]*):(\d+)$/.exec(url) ?? [];
        if (host !== undefined && port !== undefined) open.push({ host, port: Number(port), announced: true });
      }
    } catch (error) {
      signal.throwIfAborted();
      silent.push({ server, answer: undefined, reason: describe(error), announced: next.announced });
    }
  }
  return [...asked.values(), ...silent.filter(({ announced }) => !announced || !everybody())];
}

/**
 * Refuses servers of which some are plain ones already, and some are streaming servers or older: a stream that one of them makes is not the
 * same for the others, and what one of them says of the fence does not hold for the others.
 * @param options `announced`: whether servers are asked, too, that only other servers name. Default true
 * @throws MigrationTargetError
 */
export async function refuseMixedServers(side: Side, signal: AbortSignal, { announced = true } = {}): Promise<void> {
  if (!announced && side.addresses.length < 2) return;
  const ask = async (target: Target): Promise<[string, boolean]> => [target.version.join('.'), target.isAtLeast(2, 10)];
  const asked = (await everyServer(side, signal, ask, announced ? undefined : new Set())).filter(
    ({ answer }) => answer !== undefined,
  );
  const of = (isNew: boolean): string[] =>
    asked.flatMap(({ server, answer }) => (answer![1] === isNew ? [`${server} (${answer![0]})`] : []));
  const [plain, old] = [of(true), of(false)];
  if (plain.length === 0 || old.length === 0) return;
  throw new MigrationTargetError(
    `the servers with JetStream are of two kinds: ${plain.join(', ')} of 2.10 or later, and ${old.join(', ')} older, as the streaming server ` +
      "contains it. Put plain servers in the places of streaming servers after 'migrate cut', not before: start the streaming servers " +
      'there again, or update the older ones, and run this again',
  );
}

/** The same side with one server only, with the credentials and the TLS options of the first. */
function at(side: Side, { host, port }: { host: string; port: number }): Side {
  const known = side.addresses.find((address) => address.host === host && address.port === port);
  const address = known ?? { ...side.addresses[0]!, host, port, url: `nats://${host}:${port}` };
  return { ...side, addresses: [address], servers: [address.url] };
}
