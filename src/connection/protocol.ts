/**
 * What publishing and subscribing see of a session, in the protocol's own terms; what its texts mean is in `server-texts.ts`.
 * `session.ts` implements it on the wrapped client; the tests implement it by script; another engine could.
 */
import type { LossReason, ResilientStanError } from '../errors.js';
import type { LastWords } from './server-texts.js';

/** Where a new server-side subscription starts. Ignored by the server when it resumes a durable or joins a live group. */
export type StartPosition =
  | { at: 'new' | 'last' | 'first' }
  /** The sequence itself included. */
  | { sequence: number }
  /** Messages stored at most this many milliseconds ago, by the server's own clock. */
  | { ago: number };

export interface SubscribeRequest {
  channel: string;
  queueGroup?: string;
  durableName?: string;
  maxInFlight: number;
  /** Milliseconds, a multiple of 1000 (the protocol has whole seconds). */
  ackWait: number;
  start: StartPosition;
  /** It can be done without: where there is no room for it, nobody need be told. */
  optional?: boolean;
}

/** A message as it came off the wire. Its fields are methods, so that nothing is decoded before it is asked for. */
export interface RawMessage {
  getSequence(): number;
  /**
   * Nanoseconds since the epoch by the leader's clock, rounded to what a double holds. Under one leader it never
   * decreases along a channel; the clock of the next leader may be behind.
   */
  getTimestampRaw(): number;
  /** The same, exactly. */
  getTimestampNanos(): bigint;
  isRedelivered(): boolean;
  getRedeliveryCount(): number;
  getRawData(): Buffer;
}

/** One server-side subscription on one session. */
export interface SessionSubscription {
  /** Never throws; on a dead session it does nothing (the message will be redelivered). */
  ack(sequence: number): void;
  /** Stops the delivery to us at once, locally. Idempotent, never throws. */
  mute(): void;
  /**
   * Mutes, then gives the subscription up at the server, keeping a durable. Resolves when the server has it no more.
   * @throws SessionEnded; PermissionError; EndRefused when the server has refused it for some seconds, and still has it
   */
  close(): Promise<void>;
  /**
   * Mutes, then gives the subscription up at the server, dropping a durable.
   * @throws as `close`; EndRefused as well when the server does not know the subscription, but may still keep the durable
   */
  unsubscribe(): Promise<void>;
}

/** Something that was asked of the server, and that it has not answered when the session ended. */
export interface InHand {
  /** The same from session to session. */
  readonly key: object | string;
  /** How long its longest line in the protocol is, compared with that of others; 0 when it has none of its own. */
  readonly line: number;
  /** Gives it up for good, with the words with which the server ended the session. */
  giveUp(words: LastWords): void;
}

/** The server answered a subscribe request with an error. `message` is the server's own text. */
export class SubscribeRefused extends Error {}

/** The server did not end a subscription, or cannot tell whether it has. `message` is the server's own text. */
export class EndRefused extends Error {}

/** The session died before the request was answered. */
export class SessionEnded extends Error {}

/** One handing over of a message to a session. The publisher's, which hears the answer through it. */
export interface Receipt {
  /** Counts up with every handing over. */
  readonly number: number;
  /** Its answer would still tell something. */
  readonly awaited: boolean;
  /** Where its last byte stands in the stream of all bytes that the session has sent; set by the session. */
  end: number;
  /** Called at most once, and only while the session is alive; `error` is the server's text. */
  answered(error: string | undefined, guid: string): void;
}

export interface Session {
  /** 1 for the first session of a client, and so on. */
  readonly ordinal: number;
  /**
   * The registration was ours from the session before until this one, and for the first one. False: another process may have
   * had our client ID meanwhile, and with it what our durables are sent.
   */
  readonly continued: boolean;
  /** URL without credentials. */
  readonly server: string;
  /** The server's limit for one protocol message in bytes. */
  readonly maxPayload: number;
  /** False from the instant of the loss on; then requests are rejected, and whatever else is called has no effect. */
  readonly alive: boolean;
  /** How many requests about subscriptions have no answer yet. */
  readonly pendingRequests: number;

  /** Hands one message over, at once. Never throws. Call it only while the session is alive. */
  publish(channel: string, data: Uint8Array, sending: Receipt): void;

  /** Of all that was handed over up to this one, only the answers that are still `awaited` are waited for from now on. */
  forget(sending: Receipt): void;

  /**
   * Resolves when the server has made the subscription; messages that arrive earlier are held until then, and are
   * handed over (synchronously, in order) right after `onMade`, before the promise's own reactions.
   * @param onDenied the server forbids it, or its acknowledgements, or has no room for it, so it can never be: called at most
   *   once, right before the session ends over it
   * @throws SubscribeRefused with the server's text; PermissionError; SessionEnded. No answer in time ends the session.
   */
  subscribe(
    request: SubscribeRequest,
    onMessage: (message: RawMessage) => void,
    onMade: (subscription: SessionSubscription) => void,
    onDenied?: (error: ResilientStanError) => void,
  ): Promise<SessionSubscription>;

  /** Evidence of a living leader that publishing saw: an ack, how long it took in ms, and the `end` of what it is for. */
  heardAck(roundTrip: number, end: number): void;
  /** Something was sent that the leader owes an answer for: starts the watch. Cheap, call it after every send. */
  owed(): void;
  /** Asks the leader for a sign of life at once: its silence is surprising. */
  doubt(): void;
  /** Ends the session, once, for a sign of death that was seen outside of it. */
  lose(reason: LossReason, message: string): void;
}
