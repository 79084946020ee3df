/** Finds out whether servers can be used, before any process is started for them. */
import { ConnectError, type ServerFailure } from '../../errors.js';
import { ResilientStan } from '../../resilient-stan.js';
import { sleep } from '../wait.js';
import type { VerifyConnectOptions } from './connect-options.js';

/** How long a cluster may be without a leader, in ms. An election by the server's own timings takes up to 8 s. */
const ELECTION = 9000;
const PAUSE = 250;

export interface Reach {
  servers: readonly string[];
  clusterId: string;
  /** A client ID that nobody else has. */
  clientId: string;
  connectOptions: VerifyConnectOptions;
  signal: AbortSignal | undefined;
  /** Called once, when a server was connected to and no leader has answered yet. */
  onWait: (error: ConnectError) => void;
}

/**
 * Resolves when a client has connected, and is closed again. Where nothing can be connected to, it does not try again. Where only
 * the answer of a leader is missing, it goes on for the time of an election.
 * @throws ConnectError, AuthorizationError, or what else kept it from connecting; AbortedError
 */
export async function assertReachable({ servers, onWait, ...reach }: Reach): Promise<void> {
  const deadline = performance.now() + ELECTION;
  for (let waits = false; ; waits = true) {
    try {
      const { clusterId, clientId, connectOptions, signal } = reach;
      const stan = await ResilientStan.connect(servers, {
        ...connectOptions,
        clusterId,
        clientId,
        initialConnect: { retries: 0 },
        signal,
      });
      await stan.close();
      return;
    } catch (error) {
      const silent = error instanceof ConnectError && error.failures.some(isSilent);
      if (!silent || performance.now() >= deadline) throw error;
      if (!waits) onWait(error);
      await sleep(PAUSE);
    }
  }
}

function isSilent({ reached }: ServerFailure): boolean {
  return reached === true;
}
