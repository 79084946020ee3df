/**
 * Finds out whether a NATS server has any server of NATS Streaming behind it. A streaming server has a NATS server built in, or
 * is a client of one, and only a leader answers us. So silence may be an election, or a server without streaming.
 *
 * A NATS server can tell at once that nobody listens to a subject. It is asked so about the questions for a leader, and then
 * about a subject that every node of a cluster listens to, whether it leads or not.
 */
import { randomBytes } from 'node:crypto';
import type { Clock } from '../clock/clock.js';
import { patience } from '../clock/patience.js';
import { toError } from '../errors.js';
import type { DialIdentity } from './link.js';
import type { ServerAddress } from './servers.js';
import { openStream } from './stream.js';
import {
  adoptStream,
  createInbox,
  encodePing,
  joinSubject,
  pingSubject,
  readLines,
  takeInRest,
  type NatsConnection,
} from './wire.js';

/** The server tells at once that nobody listens to a subject. It needs headers for that. */
const TOLD_OF_NOBODY = { headers: true, no_responders: true };

/**
 * A body that no node can take for a request to join its cluster. A node that is no leader ignores it, and a leader, which was
 * not there a moment ago, writes a line into its log.
 */
const NO_REQUEST = Buffer.from([7]);

/**
 * Asks a server on a connection of its own whether anybody of a cluster is behind it.
 * @param timeout for the whole of it, in ms
 * @returns true if nobody is; false if somebody is, or it cannot be learned
 * @throws Error when the server cannot be asked
 */
export async function standsAlone(
  address: ServerAddress,
  { tls = false, ...identity }: DialIdentity,
  clusterId: string,
  timeout: number,
  signal: AbortSignal,
  clock: Clock,
): Promise<boolean> {
  signal.throwIfAborted();
  const stop = new AbortController();
  const onAbort = (): void => stop.abort(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  const cancel = patience(clock, timeout, () => stop.abort(new Error(`no answer within ${timeout} ms`)));
  try {
    const stream = await openStream(address, tls, stop.signal);
    return await ask(adoptStream(stream, identity, TOLD_OF_NOBODY), clusterId, stop.signal);
  } finally {
    cancel();
    signal.removeEventListener('abort', onAbort);
  }
}

/** Asks, and destroys the connection. */
function ask(connection: NatsConnection, clusterId: string, signal: AbortSignal): Promise<boolean> {
  const inbox = createInbox();
  const questions = [
    { subject: pingSubject(clusterId), body: encodePing(Buffer.from(randomBytes(11).toString('hex'))) },
    { subject: joinSubject(clusterId), body: NO_REQUEST },
  ];
  return new Promise<boolean>((resolve, reject) => {
    /** How many questions were asked. */
    let asked = 0;
    /** Whether the server has said that nobody listens to what was asked last. */
    let nobody = false;
    const askNext = (): void => {
      const { subject, body } = questions[asked]!;
      asked += 1;
      nobody = false;
      const head = Buffer.from(`PUB ${subject} ${inbox}.${asked} ${body.length}\r\n`);
      // The PONG comes behind the word that nobody listens, if there is one.
      connection.sendCommand(Buffer.concat([head, body, Buffer.from('\r\nPING\r\n')]));
    };
    const end = (): void => {
      signal.removeEventListener('abort', onAbort);
      connection.close();
      // close() removes our listeners, and an 'error' without a listener would end the process.
      connection.on('error', () => {});
    };
    const answer = (alone: boolean): void => {
      end();
      resolve(alone);
    };
    const fail = (error: Error): void => {
      end();
      reject(error);
    };
    const onAbort = (): void => fail(toError(signal.reason));
    readLines(connection, (line) => {
      const [word = '', subject = ''] = line.split(' ', 2);
      if (word === 'HMSG') nobody ||= subject === `${inbox}.${asked}`;
      // Somebody has answered, or our permissions do not allow the question.
      else if (word === 'MSG' || word.startsWith('-')) answer(false);
      else if (word === 'PONG') {
        // The first one belongs to CONNECT.
        if (asked === 0 || (nobody && asked < questions.length)) askNext();
        else answer(nobody);
      }
    });
    connection.on('error', (error: unknown) => fail(toError(error)));
    connection.on('close', () => fail(new Error('the connection was closed')));
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) return onAbort();
    connection.sendCommand(`SUB ${inbox}.* 1\r\n`);
    takeInRest(connection);
  });
}
