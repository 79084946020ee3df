/**
 * *Take over, then register*: makes a STAN connection on a link whose other end knows a leader.
 */
import { ClientIdConflictError, describe, toError } from '../errors.js';
import type { Claims } from './claims.js';
import type { Found } from './reach.js';
import { connectStan, type StanConnection } from './wire.js';

/** What a take-over needs of the session that died. */
export interface Registration {
  connectionId: Uint8Array;
  /** The subject of the protocol's close requests. */
  closeSubject: string;
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
  now: () => number;
}

/** The largest delay of a Node timer, in ms: 24 days. The publisher has the deadlines; the wrapped client's must never fire. */
const NEVER = 2 ** 31 - 1;
/** Far above any window of ours: at its own limit the wrapped client reports an error and sends the message all the same. */
const UNLIMITED = 2 ** 30;

/**
 * @throws ClientIdConflictError when another live client has the ID; on any error the link is destroyed
 */
export async function register(found: Found, options: RegisterOptions, signal: AbortSignal): Promise<StanConnection> {
  const { link } = found;
  const { previous, clusterId, clientId, connectTimeout } = options;
  try {
    signal.throwIfAborted();
    // The registration is still ours, so it may be closed. This is quick where the server's own check of a mute
    // predecessor takes half a second, and a fence: nothing the old session has on its way is stored after it.
    // An ID that is no longer ours is never closed: the request names only the client ID, and another may hold it.
    // Asked again, because the race may have been won long ago: a ConnectionLostHandler takes the time it wants.
    if (found.registered && previous && (await link.isRegistered(clusterId, previous.connectionId, connectTimeout))) {
      signal.throwIfAborted();
      await link.closeRegistration(previous.closeSubject, clientId, connectTimeout);
      signal.throwIfAborted();
    }
    return await handshake(found, options, signal);
  } catch (error) {
    link.destroy();
    throw error;
  }
}

function handshake(found: Found, options: RegisterOptions, signal: AbortSignal): Promise<StanConnection> {
  const { link } = found;
  const { clusterId, clientId, pings, connectTimeout, claims, now } = options;
  return new Promise<StanConnection>((resolve, reject) => {
    const answered = claims.made(now());
    const stan = connectStan(clusterId, clientId, {
      nc: link.nats,
      connectTimeout,
      stanPingInterval: pings.interval,
      stanMaxPingOut: pings.maxOut,
      ackTimeout: NEVER,
      maxPubAcksInflight: UNLIMITED,
    });
    const settle = (): void => {
      signal.removeEventListener('abort', onAbort);
      link.onDeath = undefined;
      stan.removeAllListeners();
      // An 'error' without a listener would end the process.
      stan.on('error', () => {});
    };
    const fail = (error: Error): void => {
      settle();
      clearTimeout(stan.pingTimer);
      reject(error);
    };
    const onAbort = (): void => fail(toError(signal.reason));
    signal.addEventListener('abort', onAbort, { once: true });
    link.onDeath = fail;
    stan.on('connect', () => {
      settle();
      answered();
      claims.granted();
      // The watch pings, so that every pong is seen as evidence; a second, blind pinger would only double the traffic.
      clearTimeout(stan.pingTimer);
      delete stan.pingTimer;
      // From now on the session watches over its requests: it knows whether the server is busy with those before.
      stan.options.connectTimeout = NEVER;
      resolve(stan);
    });
    stan.on('error', (error: unknown) => {
      const text = describe(error);
      if (/connect request timeout/i.test(text)) {
        fail(
          new Error(`${link.address.url}: no answer to the connect request within ${connectTimeout} ms`, {
            cause: error,
          }),
        );
        return;
      }
      answered();
      if (/already registered/i.test(text)) {
        const unsure =
          `${link.address.url}: the cluster says that the client ID is registered, which may still be by an earlier ` +
          'connection of this client';
        fail(
          claims.refused(now())
            ? new ClientIdConflictError(clientId, { cause: error })
            : new Error(unsure, { cause: error }),
        );
      } else {
        fail(new Error(`${link.address.url}: the cluster refused the connection: ${text}`, { cause: error }));
      }
    });
    stan.on('connection_lost', (error: unknown) => fail(toError(error)));
  });
}
