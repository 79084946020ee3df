/** `resilient-stan doctor`: looks step by step why servers can or cannot be used, and says how to mend it. */
import { randomBytes } from 'node:crypto';
import { makeClock, type Clock } from '../clock/clock.js';
import { dialCredentials, dialTls, natsAuth } from '../connection/auth.js';
import { Link } from '../connection/link.js';
import { standsAlone } from '../connection/plain-server.js';
import { parseServers, type ServerAddress } from '../connection/servers.js';
import type { ConnectionSettings } from '../connection/settings.js';
import { openStream, StreamError, type Stream } from '../connection/stream.js';
import { AuthorizationError, ClientIdConflictError, describe, PermissionError, type PlainServer } from '../errors.js';
import { resolveConnectOptions } from '../options.js';
import { ResilientStan } from '../resilient-stan.js';
import type { Serverz } from '../testing/index.js';
import { realTime } from '../testing/wait.js';
import { within } from '../within.js';
import { defineCommand, inOptions, type Options, type Values } from './command.js';
import { CONNECTION_OPTIONS, readConnection, type Connection } from './connection-options.js';
import { getJson } from '../monitoring/http.js';
import { paintFor, type Paint } from './style.js';
import { columnsOf, indented, wrap } from './text.js';
import { lengthOfTime } from './values.js';

const OPTIONS = {
  timeout: { type: 'string', value: '<time>', help: 'how long each step may take, as 500ms or 10s (default 2s)' },
  ...CONNECTION_OPTIONS,
} as const satisfies Options;

export const doctorCommand = defineCommand({
  name: 'doctor',
  summary: 'see whether servers can be reached and used, and how to mend what is wrong',
  about: [
    'For each server: can it be reached, is TLS as it should be, are the credentials right, does a leader with this cluster ID ' +
      'answer through it, how long does that take, and what is the largest message. Then it registers a client, and closes it. ' +
      'It publishes nothing and leaves nothing behind. The result goes to stdout, and shows no secret.',
  ],
  options: OPTIONS,
  examples: [
    { command: 'resilient-stan doctor --servers nats://a:4222,nats://b:4222', what: 'both servers' },
    {
      command: 'resilient-stan doctor -s tls://a:4222 --tls-ca ca.pem --creds me.creds',
      what: 'with TLS and credentials',
    },
  ],
  exitCodes: { 0: 'all is well', 1: 'something is wrong: each such line begins with ✗' },
  run: runDoctor,
});

/** What one step has found. */
export interface Finding {
  readonly good: boolean;
  readonly text: string;
  /** What to do about it. */
  readonly mend?: string;
}

const good = (text: string): Finding => ({ good: true, text });
const bad = (text: string, mend?: string): Finding => ({ good: false, text, ...(mend !== undefined && { mend }) });

async function runDoctor(values: Values<typeof OPTIONS>): Promise<number> {
  const timeout = lengthOfTime('timeout', values.timeout ?? '2s');
  const connection = await readConnection(values);
  const { servers, options, sources } = connection;
  const settings = resolveConnectOptions(servers, options);
  const paint = paintFor(process.stdout, process.env);
  const width = columnsOf(process.stdout);
  const print = (lines: readonly string[]): void => console.log(lines.join('\n'));

  print(wrap(`servers: ${connection.shown.join(', ')} (${sources.servers})`, width, 0, 'whole'));
  print(wrap(`cluster ID: ${settings.clusterId}; credentials: ${sources.credentials}`, width, 0, 'whole'));
  if (sources.file !== undefined) print(wrap(`settings: ${sources.file}`, width, 0, 'whole'));

  const addresses = parseServers(servers);
  const clock = makeClock();
  // Side by side, because each may take its time.
  const examined = await Promise.all(addresses.map((address) => examine(address, settings, timeout, clock)));
  let allGood = true;
  const led: boolean[] = [];
  for (const [index, address] of addresses.entries()) {
    const { findings, leader } = examined[index]!;
    led.push(leader);
    print(['', paint('strong', address.url), ...findings.flatMap((each) => lines(each, width, paint))]);
    allGood &&= findings.every((each) => each.good);
  }
  if (led.some(Boolean)) {
    const session = await register(connection, timeout);
    print(['', paint('strong', 'a client'), ...lines(session, width, paint)]);
    allGood &&= session.good;
  }
  print(['', allGood ? paint('good', '✓ all is well') : paint('bad', '✗ something is wrong: see above')]);
  return allGood ? 0 : 1;
}

function lines({ good, text, mend }: Finding, width: number, paint: Paint): string[] {
  const [first, ...rest] = indented(inOptions(text, OPTIONS), width, 4);
  return [
    `  ${paint(good ? 'good' : 'bad', good ? '✓' : '✗')} ${first!.trimStart()}`,
    ...rest,
    ...(mend === undefined ? [] : indented(mend, width, 6)),
  ];
}

/** Looks at one server, and stops at the first step without which the others mean nothing. */
async function examine(
  address: ServerAddress,
  settings: ConnectionSettings,
  timeout: number,
  clock: Clock,
): Promise<{ findings: Finding[]; leader: boolean }> {
  const findings: Finding[] = [];
  const stop = (finding: Finding): { findings: Finding[]; leader: boolean } => {
    findings.push(finding);
    return { findings, leader: false };
  };

  const tls = await dialTls(settings, () => undefined);
  const identity = natsAuth({ tls }, address, await dialCredentials(settings, address));
  let stream: Stream;
  try {
    stream = await withLimit(timeout, (signal) => openStream(address, identity.tls, signal));
  } catch (error) {
    return stop(unusable(address, error, timeout));
  }
  stream.socket.destroy();
  findings.push(good('reachable'), tlsFinding(stream));

  const dialIdentity = { ...identity, name: 'resilient-stan doctor' };
  const isPlain = async ({ plain }: Link): Promise<boolean> =>
    plain !== undefined &&
    (await standsAlone(address, dialIdentity, settings.clusterId, timeout, new AbortController().signal, clock).catch(
      () => false,
    ));
  let link: Link;
  try {
    const { signal } = new AbortController();
    link = await Link.dial(address, dialIdentity, timeout, signal, clock);
  } catch (error) {
    return stop(refused(error));
  }
  try {
    findings.push(
      good(
        settings.staticCredentials.kind === 'none' && !address.user && !address.token
          ? 'it asks for no credentials'
          : 'the credentials are accepted',
      ),
    );
    findings.push(good(`largest message (max_payload): ${link.maxPayload} bytes, with the overhead of the protocol`));
    const roundTrip = await measured(timeout, (done) => link.pingServer(done));
    findings.push(
      roundTrip === undefined
        ? bad(
            `no answer to a NATS ping within ${timeout} ms`,
            'The server hangs or the way to it is cut: look at its process and its log.',
          )
        : good(`round trip to it: ${ms(roundTrip)}`),
    );
    let denied: Error | undefined;
    link.onDenied = (error) => {
      denied = error;
      return true;
    };
    const answer = await measured(timeout, (done) => {
      link.onAnswer = () => done();
      link.ask(settings.clusterId, randomBytes(11), 1);
    });
    if (answer !== undefined) {
      findings.push(good(`a leader of '${settings.clusterId}' answers through it, round trip ${ms(answer)}`));
      return { findings, leader: true };
    }
    return stop(
      denied === undefined
        ? (await isPlain(link))
          ? streamless(link.plain!)
          : await leaderless(address, settings.clusterId, timeout)
        : bad(
            describe(denied),
            "Allow the user to publish to '_STAN.discover.>' and to subscribe to '_INBOX.>', with the other subjects of the protocol.",
          ),
    );
  } finally {
    link.destroy();
  }
}

function tlsFinding({ secure, greeting }: Stream): Finding {
  if (secure) return good('TLS: encrypted, and the certificate is verified');
  return good(greeting.tls === 'available' ? 'no TLS, although it offers it: tls:// uses it' : 'no TLS');
}

/** Why a server cannot be used, and what to do about it. */
function unusable({ url, host, port }: ServerAddress, error: unknown, timeout: number): Finding {
  if (error instanceof Late) {
    return bad(
      `no greeting within ${timeout} ms`,
      'The host is mute, or the server hangs, or a firewall drops what is sent to it. --timeout gives it longer.',
    );
  }
  const text = `not usable: ${describe(error)}`;
  if (!(error instanceof StreamError)) return bad(text);
  switch (error.fault) {
    case 'unresolved':
      return bad(text, `Is the name '${host}' right, and does this machine ask the right name server for it?`);
    case 'unreached':
      return bad(
        text,
        `Is a server running there? On ${host}: is its 'listen' ${port}, and is the port open in the firewall?`,
      );
    case 'not-nats':
      return bad(text, 'This is no NATS server: is it the port for clients? It is 4222 where nobody chose another.');
    case 'no-tls':
      return bad(
        'it does not offer TLS',
        `Use nats:// in the place of ${url}, without --tls…, or switch TLS on in the server.`,
      );
    case 'client-certificate':
      return bad(text, 'It verifies clients: it takes only who has a certificate of an authority that it knows.');
    case 'untrusted':
      return bad(text, 'A certificate that has signed itself is its own authority: give that one.');
    case 'other-name':
      return bad(
        text,
        'The certificate is for other names than the one that was asked for: use one of them in the URL, or give --tls-servername.',
      );
  }
}

function refused(error: unknown): Finding {
  if (error instanceof AuthorizationError) {
    return bad(
      `the credentials are refused: ${describe(error.cause ?? error)}`,
      'Give --user and --pass, --token, --nkey or --creds as the server is configured; no credentials at all are refused in the same way.',
    );
  }
  return bad(`the server did not accept the connection: ${describe(error)}`);
}

/** A NATS server, and no streaming server of this cluster is behind it. */
function streamless({ version, jetStream }: PlainServer): Finding {
  return bad(
    `it is a plain NATS server, version ${version}${jetStream ? ', with JetStream' : ''}: no NATS Streaming server with this cluster ID is behind it`,
    'Give the URL of a server of the cluster. If a NATS Streaming server is meant to be connected to this one, start it, and ' +
      "compare its 'id' (or 'cluster_id') with --cluster-id." +
      (jetStream ? ' JetStream is another protocol, and needs the client of NATS.' : ''),
  );
}

/** No leader answers. Where the monitoring of the server can be asked, it says why. */
async function leaderless({ host }: ServerAddress, clusterId: string, timeout: number): Promise<Finding> {
  const text = `no leader of cluster '${clusterId}' answers within ${timeout} ms`;
  const server = await getJson<Serverz>(`http://${host}:8222`, '/streaming/serverz', undefined, 500).catch(
    () => undefined,
  );
  if (typeof server?.cluster_id === 'string' && server.cluster_id !== clusterId) {
    return bad(
      text,
      `The monitoring of ${host} says that the cluster ID is '${server.cluster_id}': give --cluster-id ${server.cluster_id}.`,
    );
  }
  return bad(
    text,
    "Servers do not answer to a wrong cluster ID: it is the 'id' (or 'cluster_id') in their configuration, see --cluster-id. If it " +
      'is right, there is no leader: do more than half of the servers of the cluster run, and do they reach each other?',
  );
}

/** Registers a client, as every program does, and closes it. */
async function register({ servers, options }: Connection, timeout: number): Promise<Finding> {
  const began = performance.now();
  try {
    const stan = await ResilientStan.connect(servers, { ...options, connectTimeout: timeout });
    const took = performance.now() - began;
    await stan.close();
    return good(`it is registered in ${ms(took)}, and closed again`);
  } catch (error) {
    if (error instanceof PermissionError) return bad(describe(error), 'Allow the user the subjects of the protocol.');
    if (error instanceof ClientIdConflictError) return bad(describe(error));
    return bad(`it cannot be registered: ${describe(error)}`);
  }
}

/** A step was not done in time. */
class Late extends Error {}

/** Calls something that a signal ends. */
async function withLimit<T>(timeout: number, call: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const stop = new AbortController();
  const cancel = realTime(timeout, () => stop.abort(new Late()));
  try {
    return await call(stop.signal);
  } finally {
    cancel();
  }
}

/** How long something took, in ms. Undefined when it was not done in time. */
async function measured(timeout: number, begin: (done: () => void) => void): Promise<number | undefined> {
  const began = performance.now();
  const took = new Promise<number>((resolve) => begin(() => resolve(performance.now() - began)));
  return await within(took, timeout, () => undefined, realTime);
}

/** A short time, as `0.4 ms`. */
function ms(time: number): string {
  return time < 9.95 ? `${time.toFixed(1)} ms` : `${Math.round(time)} ms`;
}
