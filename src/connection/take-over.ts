/**
 * Takes over the registration of a lost session, if it is still ours. This is quicker than the server's own check of a silent
 * predecessor, which takes half a second. It also makes sure that nothing from the old session is stored later.
 *
 * What matters as much is the answer to one question: has anybody else had the client ID since that session? Another process
 * may have handled messages of its durables and groups.
 */
import { toError } from '../errors.js';

/** The data of a lost session that a take-over needs, and what came of the attempts to follow it. */
export interface Registration {
  readonly connectionId: Uint8Array;
  /** The subject of the protocol's close requests; empty if the server has named none. */
  readonly closeSubject: string;
  /** The number of take-overs that ended their connection. */
  failedTakeOvers?: number;
  /**
   * The connection IDs of our connect requests since then whose answers did not come. The server may have granted any of them,
   * and only in place of a registration of ours.
   */
  claims?: Uint8Array[];
  /** Whether we have asked to close the registration, and no server has said since then that somebody has the client ID. */
  released?: boolean;
}

/** The parts of a connection that a take-over uses. */
export interface TakeOverPath {
  readonly alive: boolean;
  isRegistered(clusterId: string, connectionId: Uint8Array, timeout: number): Promise<boolean>;
  closeRegistration(subject: string, clientId: string, timeout: number): Promise<unknown>;
}

export interface TakeOverOptions {
  clusterId: string;
  clientId: string;
  /** Longest wait for an answer that is asked for the second time, in ms. */
  connectTimeout: number;
  /** The round trip of the question that found the leader, in ms. */
  roundTrip: number;
  /** Whether the leader knew the connection ID of the lost session when it was found. */
  registered: boolean;
}

/**
 * The number of failed take-overs after which the registration is not closed. The first failure may have another cause, such as
 * the end of a server.
 */
const MOST_FAILED = 2;
/** Least time for the answers of a take-over, in ms. Without a take-over the server takes half a second. */
const TAKE_OVER_PATIENCE = 500;
/** The most claims that are remembered. */
const MOST_CLAIMS = 8;

/**
 * Closes the registration if it is still ours. The close request may fail: if it is forbidden or not answered, the server's own
 * check follows.
 *
 * A registration that is no longer ours is never closed, because the request names only the client ID, which another client may
 * have. The leader is asked again, because the search may have ended long ago: a ConnectionLostHandler may take any time.
 *
 * @returns whether nobody else has had the client ID since the lost session
 * @throws when the leader does not say whose the registration is, or the connection ends
 */
export async function takeOver(
  path: TakeOverPath,
  registration: Registration,
  options: TakeOverOptions,
  signal: AbortSignal,
): Promise<boolean> {
  const { clusterId, clientId, connectTimeout, roundTrip, registered } = options;
  const { closeSubject, failedTakeOvers = 0 } = registration;
  const patience = Math.min(connectTimeout, Math.max(TAKE_OVER_PATIENCE, 8 * roundTrip));
  const isOurs = async (connectionId: Uint8Array): Promise<boolean> => {
    try {
      return await path.isRegistered(clusterId, connectionId, patience);
    } catch (error) {
      // One lost question must not cost the knowledge. Without an answer the attempt fails, and the leader is looked for again.
      if (!path.alive) throw error;
      signal.throwIfAborted();
      return path.isRegistered(clusterId, connectionId, connectTimeout);
    }
  };
  const hasOne = async (): Promise<boolean> => {
    if (registered && (await isOurs(registration.connectionId))) return true;
    for (const claim of [...(registration.claims ?? [])].reverse()) if (await isOurs(claim)) return true;
    return false;
  };
  try {
    if (!(await hasOne())) return registration.released === true;
    signal.throwIfAborted();
    if (closeSubject === '' || failedTakeOvers >= MOST_FAILED) return true;
    // It may be closed even if no answer comes.
    registration.released = true;
    await path.closeRegistration(closeSubject, clientId, patience).catch((error: unknown) => {
      if (!path.alive) throw toError(error);
    });
  } catch (error) {
    if (!path.alive) registration.failedTakeOvers = failedTakeOvers + 1;
    throw error;
  }
  signal.throwIfAborted();
  return true;
}

/** Notes a connect request of ours that follows the registration while nobody else has had the client ID. */
export function claimed(registration: Registration, connectionId: Uint8Array): void {
  const claims = (registration.claims ??= []);
  claims.push(connectionId);
  if (claims.length > MOST_CLAIMS) claims.shift();
}
