import { randomInt } from 'node:crypto';
import { resolve as absolute } from 'node:path';
import { OptionReader, type OptionNames } from '../../option-reader.js';
import { checkClusterId } from '../../validation.js';
import { readConfig, readSecurity, type ReadSecurity } from '../cluster-options.js';
import type { ConfigValue } from '../config.js';
import { MONITORS_ABOVE } from '../ports.js';
import type { AuthOption, TlsOption } from '../security.js';

/**
 * Which `nats-server` is run.
 * @category Cluster
 */
export interface NatsServerChoice {
  /** The version, as `'2.12.15'`. Default: {@link NATS_SERVER_VERSION}. */
  version?: string;
  /** Path of the server. Default: what {@link resolveServer} finds of that version. */
  server?: string;
}

/**
 * Options of {@link JetStreamCluster.start}. Times are milliseconds, and an unknown name is refused.
 *
 * @example
 * ```ts
 * await using jetstream = await JetStreamCluster.start({ nodes: 3, version: '2.12.15' });
 * ```
 * @category Cluster
 */
export interface JetStreamClusterOptions extends NatsServerChoice {
  /** How many servers, 1 to 25. Streams can have as many replicas as there are servers, and 5 at most. Default 3. */
  nodes?: number;
  /** Name of the cluster. Default `'test-jetstream'`. */
  name?: string;
  /**
   * The directory for configuration and stores. It is kept, and a later cluster in it has its streams. Default: a temporary
   * directory, which is removed at the end.
   */
  dir?: string;
  /**
   * More configuration for each server, with the server's own names. It wins over the harness's. For example
   * `{ max_payload: 4096, jetstream: { max_file_store: 1000000 } }`. Default: none.
   */
  config?: { readonly [key: string]: ConfigValue | undefined };
  /** Whether there is a proxy in front of each node, and between the nodes, as in a {@link StanCluster}. Default false. */
  proxied?: boolean;
  /** `true`: clients have to use TLS. `{ verify: true }`: they also have to show a certificate. Default false. */
  tls?: TlsOption;
  /** The credentials that clients have to show. Default: none. */
  auth?: AuthOption;
  /**
   * The port for clients of the first node, on 127.0.0.1. The other nodes have the next ones; monitoring is 4000 above, and what
   * the nodes need between them 2000 above. Not together with `proxied`. Default: free ports.
   */
  port?: number;
  /** The seed of the chance in the proxies. Default: a new one each time. */
  seed?: number;
  /** How long the start may take, in ms, without the time to get a server. Default 30 000. */
  startTimeout?: number;
}

export interface CheckedJetStreamOptions extends ReadSecurity {
  nodes: number;
  name: string;
  version: string | undefined;
  server: string | undefined;
  dir: string | undefined;
  config: { readonly [key: string]: ConfigValue | undefined } | undefined;
  proxied: boolean;
  port: number | undefined;
  seed: number;
  startTimeout: number;
}

const OPTIONS: OptionNames = {
  known: [
    ...['nodes', 'name', 'version', 'server', 'dir', 'config', 'proxied', 'tls', 'auth', 'port', 'seed'],
    'startTimeout',
  ],
  hints: {
    clusterId: "it is called 'name'",
    replicas: "it is called 'nodes'; replicas are a matter of each stream",
    proxy: "it is called 'proxied'",
  },
};
const MAX_NODES = 25;

/** @throws InvalidArgumentError */
export function checkJetStreamOptions(options: JetStreamClusterOptions): CheckedJetStreamOptions {
  const read = new OptionReader(options, 'options', OPTIONS);
  const nodes = read.number('nodes', 3, { min: 1, max: MAX_NODES });
  const name = read.string('name', 'test-jetstream');
  checkClusterId(name);
  const dir = read.string('dir', undefined);
  const port = read.number('port', undefined, { min: 1, max: 65_536 - MONITORS_ABOVE - nodes });
  const proxied = read.boolean('proxied', false);
  if (port !== undefined && proxied) {
    read.refuse('port', "cannot be combined with 'proxied': the proxies have ports of their own");
  }
  return {
    nodes,
    name,
    version: read.string('version', undefined),
    server: read.string('server', undefined),
    dir: dir === undefined ? undefined : absolute(dir),
    config: readConfig(read),
    proxied,
    ...readSecurity(read),
    port,
    seed: read.number('seed', randomInt(2 ** 31), { min: 0 }),
    startTimeout: read.milliseconds('startTimeout', 30_000),
  };
}
