/**
 * One session with the STAN servers, for questions about a durable. It stands below the resilient client, because that one asks
 * the server again, and reads from the channel, what a durable seems to have missed. Here exactly what the server sends counts.
 */
import { makeClock, type Clock } from '../clock/clock.js';
import { pause } from '../clock/pause.js';
import type { SupervisedSession } from '../connection/gateway.js';
import { NatsGateway } from '../connection/nats-gateway.js';
import { Participants } from '../connection/participants.js';
import { ConnectError, describe } from '../errors.js';
import { resolveConnectOptions } from '../options.js';
import { MigrationSourceError } from './errors.js';
import type { ResolvedMigrateOptions } from './options.js';

/** How long a cluster without a leader is waited for, in ms. The servers' own timings need up to eight seconds. */
const PATIENCE = 15_000;
/** The pause between two attempts, in ms. */
const PAUSE = 200;

/** Nothing is subscribed but by us, and nothing is published. */
const IDLE = new Participants(
  {
    attach: async () => undefined,
    detach: () => undefined,
    resume: () => undefined,
    leaderAnswered: () => undefined,
    crowd: () => undefined,
    wantsAnswerSince: undefined,
  },
  {
    attach: () => undefined,
    detach: () => undefined,
    resume: () => undefined,
    leaderAnswered: () => undefined,
    relax: () => undefined,
    pause: () => undefined,
    inHand: () => [],
    review: () => Infinity,
  },
);

/**
 * Registers a client ID, and runs a task with the session. The session is closed in order afterwards, so that the durables of the
 * client are offline again at once.
 * @param clientId default: one that nobody has
 * @throws MigrationSourceError when there is no session, or when it ends before the task; the errors of the task
 */
export async function withSession<T>(
  options: ResolvedMigrateOptions,
  clientId: string | undefined,
  task: (session: SupervisedSession, clock: Clock) => Promise<T>,
): Promise<T> {
  const clock = makeClock();
  const session = await open(options, clientId, clock);
  const lost = session.lost.then(({ error, successor }) => {
    successor?.cancel();
    throw new MigrationSourceError(`the connection to STAN was lost: ${describe(error)}. Run it again`, {
      cause: error,
    });
  });
  lost.catch(() => undefined);
  try {
    return await Promise.race([task(session, clock), lost]);
  } finally {
    await session.close(2000).catch(() => undefined);
  }
}

async function open(
  { source, clusterId, signal }: ResolvedMigrateOptions,
  clientId: string | undefined,
  clock: Clock,
): Promise<SupervisedSession> {
  const settings = resolveConnectOptions([...source.servers], {
    clusterId,
    ...(clientId !== undefined && { clientId }),
    name: 'resilient-stan migrate',
    ...source.options,
  });
  const gateway = new NatsGateway({
    settings,
    participants: IDLE,
    clock,
    suspected: () => undefined,
    denied: () => undefined,
    complain: () => undefined,
  });
  const deadline = clock.now() + PATIENCE;
  const never = new AbortController().signal;
  for (;;) {
    signal.throwIfAborted();
    const search = gateway.search(undefined, true);
    try {
      const found = await search.round();
      search.cancel(true);
      return await gateway.register(found, { ordinal: 1, previous: undefined, signal: never });
    } catch (error) {
      search.cancel();
      // Another error than "nobody leads" or "nobody answers" does not pass.
      if (!(error instanceof ConnectError) || clock.now() > deadline) {
        throw new MigrationSourceError(`no connection to STAN as client '${settings.clientId}': ${describe(error)}`, {
          cause: error,
        });
      }
    }
    await pause(clock, PAUSE);
  }
}
