/**
 * One session with the STAN servers, for questions about a durable. It stands below the resilient client, because that one asks
 * the server again, and reads from the channel, what a durable seems to have missed. Here exactly what the server sends counts.
 */
import { makeClock, type Clock } from '../clock/clock.js';
import type { SupervisedSession } from '../connection/gateway.js';
import { NatsGateway } from '../connection/nats-gateway.js';
import { Participants } from '../connection/participants.js';
import { ConnectError, describe } from '../errors.js';
import { resolveConnectOptions } from '../options.js';
import { MigrationSourceError } from './errors.js';
import { interruptible, interruptiblePause } from './interruptible.js';
import type { ResolvedMigrateOptions } from './options.js';
import { noConnection } from './target.js';

/** How long a cluster without a leader is waited for, in ms. The servers' own timings need up to eight seconds. */
const PATIENCE = 15_000;
/** The pause between two attempts, in ms. */
const PAUSE = 200;
/** How long the end of a session may take, in ms. */
const CLOSING = 2000;

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
 * @throws MigrationSourceError when there is no session, or when it ends before the task; AbortedError when the signal is aborted; the
 * errors of the task
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
    return await interruptible(options.signal, () => Promise.race([task(session, clock), lost]));
  } finally {
    await leave(session);
  }
}

/** Closes a session in order, so that its client ID is free at once. */
const leave = (session: SupervisedSession): Promise<void> => session.close(CLOSING).catch(() => undefined);

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
      const found = await interruptible(signal, () => search.round(), { grace: 0 });
      search.cancel(true);
      const register = (): Promise<SupervisedSession> =>
        gateway.register(found, { ordinal: 1, previous: undefined, signal: never });
      return await interruptible(signal, register, { discard: leave });
    } catch (error) {
      search.cancel();
      signal.throwIfAborted();
      // Another error than "nobody leads" or "nobody answers" does not pass.
      if (!(error instanceof ConnectError) || clock.now() > deadline) {
        throw noConnection(source, error, `as client '${settings.clientId}'`);
      }
    }
    await interruptiblePause(clock, PAUSE, signal);
  }
}
