/**
 * Registers the client on a connection whose other end knows a leader. It first takes over the registration of the lost
 * session, if that is still ours.
 */
import type { Clock } from '../clock/clock.js';
import { patience } from '../clock/patience.js';
import { ClientIdConflictError, ConnectError, describe, ResilientStanError, toError } from '../errors.js';
import { MAX_INT32 } from '../int32.js';
import { printable } from '../printable.js';
import type { Claims } from './claims.js';
import type { Found } from './leader-search.js';
import { isIdTaken } from './server-texts.js';
import { claimed, takeOver, type Registration } from './take-over.js';
import { connectStan, type StanConnection } from './wire.js';

export interface RegisterOptions {
  clusterId: string;
  clientId: string;
  pings: { interval: number; maxOut: number };
  /** Longest wait for the answer to the close request, and for that to the connect request, in ms each. */
  connectTimeout: number;
  /** The registration of the lost session. */
  previous: Registration | undefined;
  /** The claims of this client on its ID. */
  claims: Claims;
  clock: Clock;
}

/**
 * The largest delay of a Node timer, in ms, which is 24 days. The timers of the wrapped client must never fire, because the
 * publisher has the deadlines.
 */
const NEVER = MAX_INT32;
/**
 * A limit far above all windows of ours. At its own limit the wrapped client reports an error and sends the message all the
 * same.
 */
const UNLIMITED = 2 ** 30;

/** The least `max_payload` with room for the requests of the protocol, in bytes. */
const LEAST_PAYLOAD = 512;

export interface Registered {
  stan: StanConnection;
  /** Whether nobody else has had the client ID since the lost session. */
  continued: boolean;
}

/**
 * Registers the client. On any error the connection is destroyed.
 * @throws ClientIdConflictError when another live client has the ID; PermissionError; ConnectError with the name of the server
 * for all else that went wrong there
 */
export async function register(found: Found, options: RegisterOptions, signal: AbortSignal): Promise<Registered> {
  const { link } = found;
  try {
    signal.throwIfAborted();
    if (link.maxPayload < LEAST_PAYLOAD) {
      throw new Error(`its max_payload of ${link.maxPayload} bytes has no room for the requests of the protocol`);
    }
    const { previous } = options;
    // Before the first session there was nothing that another client could have taken from us.
    const continued = previous === undefined || (await takeOver(link, previous, { ...options, ...found }, signal));
    const stan = await handshake(found, options, continued, signal);
    // Bytes that came together with the answer may have ended the connection.
    if (!link.alive) throw link.death ?? new Error('the connection was closed');
    return { stan, continued };
  } catch (error) {
    link.destroy();
    throw failedAt(link.address.url, error);
  }
}

/** The cluster has answered the connect request with an error. */
class RegistrationRefused extends Error {
  readonly serverText: string;
  constructor(serverText: string) {
    super(`the cluster refused the connection: ${serverText}`);
    this.serverText = serverText;
  }
}

/** Turns a foreign error into one with the name of the server. */
function failedAt(server: string, thrown: unknown): Error {
  if (thrown instanceof ResilientStanError) return thrown;
  const error = toError(thrown);
  return new ConnectError(`${server}: ${error.message}`, [{ server, reason: error.message, error, reached: true }], {
    cause: error,
    ...(error instanceof RegistrationRefused && { serverText: error.serverText }),
  });
}

/** @param continued whether nobody else has had the client ID since the lost session */
function handshake(
  found: Found,
  options: RegisterOptions,
  continued: boolean,
  signal: AbortSignal,
): Promise<StanConnection> {
  const { link } = found;
  const { clusterId, clientId, pings, connectTimeout, previous, claims, clock } = options;
  return new Promise<StanConnection>((resolve, reject) => {
    const answered = claims.made(clock.now());
    const stan = connectStan(clusterId, clientId, {
      nc: link.nats,
      connectTimeout: NEVER,
      stanPingInterval: pings.interval,
      stanMaxPingOut: pings.maxOut,
      ackTimeout: NEVER,
      maxPubAcksInflight: UNLIMITED,
    });
    if (previous !== undefined && continued) claimed(previous, stan.connId);
    // The failure detector sends the pings, so that it sees every answer. The interval that the server wants does not count,
    // and a Node timer could not take an absurd one.
    Object.defineProperty(stan, 'stanPingInterval', { get: () => NEVER, set: () => {} });
    const cancel = patience(clock, connectTimeout, () =>
      fail(new Error(`no answer to the connect request within ${connectTimeout} ms`)),
    );
    const settle = (): void => {
      cancel();
      signal.removeEventListener('abort', onAbort);
      link.onDeath = undefined;
      clearTimeout(stan.pingTimer);
      delete stan.pingTimer;
      stan.removeAllListeners();
      // An 'error' without a listener would end the process.
      stan.on('error', () => {});
    };
    const fail = (error: Error): void => {
      settle();
      reject(error);
    };
    const onAbort = (): void => fail(toError(signal.reason));
    signal.addEventListener('abort', onAbort, { once: true });
    link.onDeath = fail;
    stan.on('connect', () => {
      answered();
      const fault = faultOf(stan);
      if (fault !== undefined) {
        fail(new Error(`the answer to the connect request is not understood: ${fault}`));
        return;
      }
      settle();
      claims.granted();
      resolve(stan);
    });
    stan.on('error', (error: unknown) => {
      answered();
      const text = printable(describe(error));
      if (isIdTaken(text)) {
        if (previous !== undefined) previous.released = false;
        const unsure = `the cluster says that the client ID is registered, which may still be by an earlier connection of this client`;
        fail(claims.refused(clock.now()) ? new ClientIdConflictError(clientId) : new Error(unsure));
      } else {
        fail(new RegistrationRefused(text));
      }
    });
    stan.on('connection_lost', (error: unknown) => fail(new Error(printable(describe(error)))));
  });
}

/** A subject that can be published to. With any other answer we would write nonsense to the connection. */
const SUBJECT = /^[!-)+-=?-~]{1,512}$/;

/** Returns what is wrong with the answer to a connect request. */
function faultOf(stan: StanConnection): string | undefined {
  const { pubPrefix, subRequests, unsubRequests, subCloseRequests } = stan;
  const needed = { pubPrefix, subRequests, unsubRequests, subCloseRequests };
  for (const [name, subject] of Object.entries(needed)) {
    if (typeof subject !== 'string' || !SUBJECT.test(subject)) return `its ${name} is not a subject`;
  }
  // Without this subject there is no take-over, and everything else works.
  if (stan.closeRequests !== null && !SUBJECT.test(stan.closeRequests ?? '')) stan.closeRequests = '';
  return undefined;
}
