/**
 * *Take over, then register*: makes a STAN connection on a link whose other end knows a leader.
 */
import { patience, type AwakeClock } from '../awake-clock.js';
import { ClientIdConflictError, ConnectError, describe, ResilientStanError, toError } from '../errors.js';
import { printable } from '../printable.js';
import type { Claims } from './claims.js';
import type { Found } from './reach.js';
import { isIdTaken } from './server-texts.js';
import { connectStan, type StanConnection } from './wire.js';

/** What a take-over needs of the session that died. */
export interface Registration {
  connectionId: Uint8Array;
  /** The subject of the protocol's close requests; empty: the server has told of none. */
  closeSubject: string;
  /** Take-overs that ended the connection they were tried on. */
  failedTakeOvers?: number;
}

export interface RegisterOptions {
  clusterId: string;
  clientId: string;
  pings: { interval: number; maxOut: number };
  /** For the answer to the close request, and for the answer to the connect request, in ms each. */
  connectTimeout: number;
  /** Of the session that died. */
  previous: Registration | undefined;
  /** Those of this client. */
  claims: Claims;
  clock: AwakeClock;
}

/** The largest delay of a Node timer, in ms: 24 days. The publisher has the deadlines; the wrapped client's must never fire. */
const NEVER = 2 ** 31 - 1;
/** Far above any window of ours: at its own limit the wrapped client reports an error and sends the message all the same. */
const UNLIMITED = 2 ** 30;

/** What a request of the protocol may need at least, in bytes. */
const LEAST_PAYLOAD = 512;
/** A node may die at this moment, too; but when it happens again, the take-over itself is the reason. */
const MOST_FAILED = 2;
/** For so long, in ms, the answers of a take-over are waited for: without it, the server takes half a second. */
const TAKE_OVER_PATIENCE = 500;

export interface Registered {
  stan: StanConnection;
  /** The registration of the session that died was still ours when it was given up: nobody else had the client ID meanwhile. */
  continued: boolean;
}

/**
 * @throws ClientIdConflictError when another live client has the ID; PermissionError; ConnectError that names the server for
 *   whatever else went wrong with it; on any error the link is destroyed
 */
export async function register(found: Found, options: RegisterOptions, signal: AbortSignal): Promise<Registered> {
  const { link } = found;
  try {
    signal.throwIfAborted();
    if (link.maxPayload < LEAST_PAYLOAD) {
      throw new Error(`its max_payload of ${link.maxPayload} bytes has no room for the requests of the protocol`);
    }
    const { previous } = options;
    // Before the first one nobody had anything that could be taken from us.
    let continued = previous === undefined;
    if (found.registered && previous) continued = await takeOver(found, previous, options, signal);
    const stan = await handshake(found, options, signal);
    // What came in one piece with the answer may have ended the connection.
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

/** What is no error of ours yet, with the server's name. */
function failedAt(server: string, thrown: unknown): Error {
  if (thrown instanceof ResilientStanError) return thrown;
  const error = toError(thrown);
  return new ConnectError(`${server}: ${error.message}`, [{ server, reason: error.message, error }], {
    cause: error,
    ...(error instanceof RegistrationRefused && { serverText: error.serverText }),
  });
}

/**
 * The registration is still ours, so it may be closed. This is quick where the server's own check of a mute predecessor takes
 * half a second, and a fence: nothing the old session has on its way is stored after it. It is no more than that: where it is
 * forbidden, or not answered, the server's own check does.
 *
 * An ID that is no longer ours is never closed: the request names only the client ID, and another may hold it. So it is asked
 * again, because the race may have been won long ago: a ConnectionLostHandler takes the time it wants.
 *
 * @returns whether it was ours until then; false, too, where that could not be learned
 * @throws what has ended the connection
 */
async function takeOver(
  { link, roundTrip }: Found,
  registration: Registration,
  { clusterId, clientId, connectTimeout }: RegisterOptions,
  signal: AbortSignal,
): Promise<boolean> {
  const { connectionId, closeSubject, failedTakeOvers = 0 } = registration;
  if (closeSubject === '' || failedTakeOvers >= MOST_FAILED) return false;
  const patience = Math.min(connectTimeout, Math.max(TAKE_OVER_PATIENCE, 8 * roundTrip));
  let ours = false;
  try {
    ours = await link.isRegistered(clusterId, connectionId, patience);
    if (!ours) return false;
    signal.throwIfAborted();
    await link.closeRegistration(closeSubject, clientId, patience);
  } catch (error) {
    if (!link.alive) {
      registration.failedTakeOvers = failedTakeOvers + 1;
      throw error;
    }
  }
  signal.throwIfAborted();
  return ours;
}

function handshake(found: Found, options: RegisterOptions, signal: AbortSignal): Promise<StanConnection> {
  const { link } = found;
  const { clusterId, clientId, pings, connectTimeout, claims, clock } = options;
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
    // The watch pings, so that every pong is seen as evidence. What interval the server wants is of no account, and a timer
    // of Node takes no absurd one.
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
        const unsure = `the cluster says that the client ID is registered, which may still be by an earlier connection of this client`;
        fail(claims.refused(clock.now()) ? new ClientIdConflictError(clientId) : new Error(unsure));
      } else {
        fail(new RegistrationRefused(text));
      }
    });
    stan.on('connection_lost', (error: unknown) => fail(new Error(printable(describe(error)))));
  });
}

/** A subject that can be published to: a server that answers with anything else would have us write nonsense on the wire. */
const SUBJECT = /^[!-)+-=?-~]{1,512}$/;

/** What is missing in the answer to a connect request. */
function faultOf(stan: StanConnection): string | undefined {
  const { pubPrefix, subRequests, unsubRequests, subCloseRequests } = stan;
  const needed = { pubPrefix, subRequests, unsubRequests, subCloseRequests };
  for (const [name, subject] of Object.entries(needed)) {
    if (typeof subject !== 'string' || !SUBJECT.test(subject)) return `its ${name} is not a subject`;
  }
  // Without it, there is no take-over, and that is all.
  if (stan.closeRequests !== null && !SUBJECT.test(stan.closeRequests ?? '')) stan.closeRequests = '';
  return undefined;
}
