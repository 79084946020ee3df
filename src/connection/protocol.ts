/**
 * The session as publishing and subscribing see it, in the terms of the protocol. The meaning of the server's texts is in
 * `server-texts.ts`. `session.ts` implements it with the wrapped client, and the tests implement it with scripts.
 */
import type { LossReason, ResilientStanError } from '../errors.js';
import type { LastWords } from './server-texts.js';

/**
 * Where a new subscription at the server starts. The server ignores it for a durable that it knows and for a queue group that
 * has members.
 */
export type StartPosition =
  | { at: 'new' | 'last' | 'first' }
  /** Starts at this sequence. */
  | { sequence: number }
  /** Starts with messages that were stored at most this long ago, in ms by the clock of the server. */
  | { ago: number };

export interface SubscribeRequest {
  channel: string;
  queueGroup?: string;
  durableName?: string;
  maxInFlight: number;
  /** In ms, a multiple of 1000, because the protocol has whole seconds. */
  ackWait: number;
  start: StartPosition;
  /** Whether the subscription can be left out if the server has no room for it. */
  optional?: boolean;
  /** The subject to which the messages are sent. Default: a new inbox. */
  inbox?: string;
}

/** A message as it was received. Its fields are methods, so that each is decoded only when it is used. */
export interface RawMessage {
  getSequence(): number;
  /**
   * Returns the timestamp by the clock of the leader, in ns since the epoch, rounded to a double. Along a channel it never
   * decreases under one leader, but the clock of the next leader may be behind.
   */
  getTimestampRaw(): number;
  /** The same, exactly. */
  getTimestampNanos(): bigint;
  isRedelivered(): boolean;
  getRedeliveryCount(): number;
  getRawData(): Buffer;
}

/** One subscription at the server on one session. */
export interface SessionSubscription {
  /** Acknowledges a message. It never throws, and does nothing after the end of the session. */
  ack(sequence: number): void;
  /** Stops the delivery to us at once without telling the server. It never throws, and may be called again. */
  mute(): void;
  /**
   * Mutes the subscription and closes it at the server, which keeps a durable. Resolves when the server has closed it.
   * @throws SessionEnded; PermissionError; EndRefused when the server has refused it for some seconds and still has the
   * subscription
   */
  close(): Promise<void>;
  /**
   * Mutes the subscription and ends it at the server, which drops a durable.
   * @throws the errors of `close`; EndRefused also when the server does not know the subscription and may still keep the
   * durable
   */
  unsubscribe(): Promise<void>;
}

/** A request that the server had not answered when the session ended. */
export interface InHand {
  /** The key of the request, which is the same on each session. */
  readonly key: object | string;
  /** The length of its longest protocol line, for comparison; 0 if it has no line of its own. */
  readonly line: number;
  /** Gives the request up for good, with the text with which the server ended the session. */
  giveUp(words: LastWords): void;
}

/** The server answered a subscribe request with an error. `message` is the server's text. */
export class SubscribeRefused extends Error {}

/** The server did not end a subscription, or cannot tell whether it has. `message` is the server's text. */
export class EndRefused extends Error {}

/** The session ended before the request was answered. */
export class SessionEnded extends Error {}

/** One sending of a message on a session. It belongs to the publisher, which gets the answer through it. */
export interface Receipt {
  /** The number of the sending. It increases with each sending. */
  readonly number: number;
  /** When it was sent, in ms of the client's clock. */
  readonly at: number;
  /** Whether it repeats a message in order to learn what became of earlier ones: of those in its channel, or of all. */
  readonly probe: false | 'channel' | 'all';
  /** Whether the leader owes an answer for it, so that a silence is suspicious. */
  readonly owed: boolean;
  /**
   * The time after which a question proves something about it, in ms of the client's clock. When the leader has answered such a
   * question, it has the message or will never get it.
   */
  readonly askAfter: number;
  /** Whether its answer would still tell something. */
  readonly awaited: boolean;
  /** The position of its last byte among all bytes that the session has sent. The session sets it. */
  end: number;
  /** Is called at most once, and only while the session is alive. `error` is the server's text. */
  answered(error: string | undefined, guid: string): void;
}

export interface Session {
  /** The number of the session in its client, from 1. */
  readonly ordinal: number;
  /**
   * Whether our registration has lasted from the previous session to this one. It is true for the first session. If it is
   * false, another process may have had our client ID meanwhile, and with it the messages of our durables.
   */
  readonly continued: boolean;
  /** The URL of the server, without credentials. */
  readonly server: string;
  /** The server's limit for one protocol message, in bytes. */
  readonly maxPayload: number;
  /** Whether the session has not ended. After the end requests are rejected, and other calls have no effect. */
  readonly alive: boolean;
  /** The number of requests about subscriptions without an answer. */
  readonly pendingRequests: number;

  /** Sends one message at once. It never throws. It may only be called while the session is alive. */
  publish(channel: string, data: Uint8Array, receipt: Receipt): void;

  /** Stops waiting for answers that are no longer `awaited`, of all sendings up to this one. */
  forget(upTo: Receipt): void;

  /**
   * Makes a subscription. Messages that arrive before it is made are held back. They are handed over in order, synchronously,
   * right after `onMade` and before the reactions to the promise.
   * @param onDenied is called when the server forbids the subscription or its acknowledgements, or has no room for it, so that
   * it can never be made. It is called at most once, right before the session ends because of that.
   * @throws SubscribeRefused with the server's text; PermissionError; SessionEnded. If no answer comes in time, the session
   * ends.
   */
  subscribe(
    request: SubscribeRequest,
    onMessage: (message: RawMessage) => void,
    onMade: (subscription: SessionSubscription) => void,
    onDenied?: (error: ResilientStanError) => void,
  ): Promise<SessionSubscription>;

  /** Ends the session once, because of a sign of death that was seen outside of it. */
  lose(reason: LossReason, message: string): void;
}
