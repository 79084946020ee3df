/** How the steps of a migration reach both sides: the options that all of them share, and what they come to. */
import type { MigrateOptions } from '../../migrate/index.js';
import { MONITOR_OFFSET, MONITOR_PORT } from '../../monitoring/streaming-server.js';
import type { Option, Options, Values } from '../command.js';
import {
  connectionOf,
  CREDENTIAL_OPTIONS,
  hostSurroundings,
  SERVER_OPTIONS,
  type Connection,
} from '../connection-options.js';
import { MONITOR_OPTIONS, parseMonitors } from '../monitoring.js';
import { CONFIG_OPTION, readSettings, type Settings } from '../settings.js';

const target = 'Credentials and TLS of --to';

type Credentials = keyof typeof CREDENTIAL_OPTIONS;

/** The same credentials for the other side: `--to-user` for `--user`. */
function toOption(name: Credentials): Option {
  const { env: _env, file: _file, sets: _sets, ...option } = CREDENTIAL_OPTIONS[name] as Option;
  const variable = `STAN_TO_${name.toUpperCase().replaceAll('-', '_')}`;
  return { ...option, help: TO_HELP[name], group: target, env: [variable] };
}

const TO_HELP: Readonly<Record<Credentials, string>> = {
  user: 'user name, with --to-pass',
  pass: 'password; better set the variable',
  token: 'token, in the place of user and password; better set the variable',
  nkey: "file with the seed of a user's NKey, or the seed itself",
  creds: 'credentials file with JWT and seed',
  tls: 'use TLS; any --to-tls-… means it, too',
  'tls-ca': "certificate (PEM) of the authority that signed the servers' certificates",
  'tls-cert': 'certificate (PEM) to show to the servers, with --to-tls-key',
  'tls-key': 'private key (PEM) of that certificate',
  'tls-servername': "the name that the servers' certificates are for",
};

const TO_OPTIONS = Object.fromEntries(
  (Object.keys(CREDENTIAL_OPTIONS) as Credentials[]).map((name) => [`to-${name}`, toOption(name)]),
) as { readonly [Name in Credentials as `to-${Name}`]: Option & { type: (typeof CREDENTIAL_OPTIONS)[Name]['type'] } };

/** The options of every step. */
export const MIGRATE_OPTIONS = {
  from: {
    ...SERVER_OPTIONS.servers,
    help: 'the STAN servers: nats://host:port or tls://host:port, several separated by commas (default nats://localhost:4222)',
  },
  to: {
    type: 'string',
    value: '<urls>',
    list: true,
    help: 'the servers with JetStream, in the same form (default: those of --from, in place)',
    group: 'Connection',
    env: ['STAN_TO'],
  },
  'cluster-id': SERVER_OPTIONS['cluster-id'],
  channels: {
    type: 'string',
    value: '<list>',
    list: true,
    help: "names of channels, or patterns with NATS's wildcards as 'orders.>', separated by commas (default: all)",
  },
  monitor: {
    ...MONITOR_OPTIONS.monitor,
    help:
      "the STAN servers' monitoring as http://host:8222, several separated by commas; who leads is asked (default: port " +
      `${MONITOR_PORT} of the hosts of --from, and ${MONITOR_OFFSET} above the ports there)`,
  },
  ...CONFIG_OPTION,
  ...CREDENTIAL_OPTIONS,
  ...TO_OPTIONS,
} as const satisfies Options;

/**
 * What the command line comes to for the functions of `resilient-stan/migrate`.
 * @throws UsageError that names the option, the variable or the place in the file
 */
export async function readMigrate(values: Values<typeof MIGRATE_OPTIONS>): Promise<MigrateOptions> {
  const surroundings = hostSurroundings();
  const settings = await readSettings(values, MIGRATE_OPTIONS, surroundings);
  const source = await connectionOf(renamed(settings, { servers: 'from' }), surroundings.cwd);
  const names = Object.fromEntries(Object.keys(CREDENTIAL_OPTIONS).map((name) => [name, `to-${name}`]));
  const toSettings = renamed(settings, { ...names, servers: 'to', 'cluster-id': undefined });
  const hasTarget = Object.values(names).some((name) => settings.get(name) !== undefined);
  const to = settings.get('to');
  const inPlace = renamed(settings, { ...names, servers: 'from', 'cluster-id': undefined });
  const targetSide =
    to !== undefined || hasTarget
      ? await connectionOf(to === undefined ? inPlace : toSettings, surroundings.cwd)
      : undefined;
  const monitor = settings.get('monitor');
  return {
    from: source.servers,
    source: sideOf(source),
    ...(source.options.clusterId !== undefined && { clusterId: source.options.clusterId }),
    ...(to !== undefined && { to: targetSide!.servers }),
    ...(targetSide !== undefined && { target: sideOf(targetSide) }),
    ...(values.channels !== undefined && { channels: values.channels.split(',').map((channel) => channel.trim()) }),
    ...(monitor !== undefined && { monitor: parseMonitors(monitor.value as string, monitor.from) }),
  };
}

function sideOf({ options: { clusterId: _, ...side } }: Connection): NonNullable<MigrateOptions['source']> {
  return side;
}

/** The same settings under other names. One that is undefined has no value. */
function renamed(settings: Settings, names: Readonly<Record<string, string | undefined>>): Settings {
  const nameOf = (option: string): string | undefined => (option in names ? names[option] : option);
  return {
    file: settings.file,
    get: (option) => {
      const name = nameOf(option);
      return name === undefined ? undefined : settings.get(name);
    },
    nameAt: (option, rank) => settings.nameAt(nameOf(option) ?? option, rank),
  };
}
