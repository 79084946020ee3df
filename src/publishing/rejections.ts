/** Makes the errors that publishes are rejected with. Each says in `delivery` what is known of its message. */
import {
  AbortedError,
  ClosedError,
  type Delivery,
  InvalidArgumentError,
  OutboxFullError,
  PayloadTooLargeError,
  PublishRejectedError,
} from '../errors.js';
import type { LastWords } from '../connection/server-texts.js';
import { quote } from '../validation.js';
import { explainRefusal } from './ack-errors.js';
import type { Entry, Trouble } from './records.js';
import type { Outbox, OutboxOptions } from './outbox.js';

const NOT_SENT: { delivery: Delivery } = { delivery: 'not-sent' };

/** Returns what is known of a message that is given up without an answer of the cluster. */
export function deliveryOf(entry: Entry): Delivery {
  return entry.attempts === 0 ? 'not-sent' : 'unknown';
}

export function aborted(channel: string, reason: unknown, delivery: Delivery): AbortedError {
  const fate =
    delivery === 'not-sent' ? 'it was never sent, and never will be' : 'it was sent, so it may or may not be stored';
  return new AbortedError(`publishing a message on channel '${channel}' was aborted: ${fate}`, {
    cause: reason,
    delivery,
  });
}

export function intakeEnded(): ClosedError {
  return new ClosedError('the client is closed, or about to close: nothing more can be published', NOT_SENT);
}

/** Makes a ClosedError with the reason's message. Its cause is the reason, or that of the reason if it is a ClosedError. */
export function closed(reason: Error, delivery: Delivery): ClosedError {
  const cause = reason instanceof ClosedError ? reason.cause : reason;
  return new ClosedError(reason.message, cause === undefined ? { delivery } : { cause, delivery });
}

export function neverFits(channel: string, size: number, maxPendingBytes: number): InvalidArgumentError {
  return new InvalidArgumentError(
    'data',
    `the message for channel '${channel}' has ${size} bytes, and publishing.maxPendingBytes is ${maxPendingBytes}: ` +
      `it can never be taken in; raise maxPendingBytes, or split it`,
    NOT_SENT,
  );
}

export function full({ pending, pendingBytes }: Outbox, options: OutboxOptions): OutboxFullError {
  const { maxPending, maxPendingBytes } = options;
  const limit = pending < maxPending ? `maxPendingBytes: ${maxPendingBytes}` : `maxPending: ${maxPending}`;
  return new OutboxFullError(pending, pendingBytes, limit);
}

/**
 * Makes the error of a message that the cluster refused. An earlier sending may be stored nevertheless.
 * @param shownFor for how long a channel has refused everything that had acknowledged messages before, in ms
 */
export function refusedByCluster(
  entry: Entry,
  trouble: Trouble,
  text: string,
  shownFor?: number,
): PublishRejectedError {
  const { channel, attempts } = entry;
  const delivery = trouble.refused === attempts ? 'rejected' : 'unknown';
  return new PublishRejectedError(channel, explainRefusal(channel, text, attempts, shownFor), {
    delivery,
    serverText: text,
  });
}

/** Makes the error of a message that was never sent, because another one of its channel was refused with all its retries. */
export function refusedBefore(channel: string, text: string): PublishRejectedError {
  return new PublishRejectedError(channel, explainRefusal(channel, text, 0), { ...NOT_SENT, serverText: text });
}

/** Makes the error of a message over which the server ended sessions. */
export function endedSession(
  channel: string,
  { text, complaint }: LastWords,
  delivery: Delivery,
): PublishRejectedError {
  const name = quote(channel);
  return new PublishRejectedError(
    channel,
    complaint.kind === 'control-line'
      ? `the server does not take messages on channel ${name}, because that name makes a line of the protocol longer than its ` +
          `max_control_line ('${text}'). Use a shorter name, or raise the limit`
      : `the server ended each session in which a message on channel ${name} was the only thing on its way ('${text}'). Look ` +
          `into its log for the reason`,
    { delivery, serverText: text },
  );
}

/** Makes the error of a message that is too large for the server of this session, and was not for that of an earlier one. */
export function oversize({ channel, attempts }: Entry, size: number, limit: number): Error {
  const error = new PayloadTooLargeError(channel, size, limit);
  if (attempts === 0) return error;
  return new PublishRejectedError(
    channel,
    `a message on channel '${channel}' was sent before and not acknowledged, and the server of now does not take it: ` +
      error.message,
    { cause: error, delivery: 'unknown' },
  );
}

/**
 * The errors of messages that are given up by one event. Equal errors are one object: an Error with its stack costs 10 µs, and
 * 100 000 messages may end together.
 */
export class SharedErrors {
  readonly #errors = new Map<string, Error>();

  get(key: string, make: () => Error): Error {
    let error = this.#errors.get(key);
    if (error === undefined) this.#errors.set(key, (error = make()));
    return error;
  }
}
