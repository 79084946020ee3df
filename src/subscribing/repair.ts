import type { RawMessage, Session } from '../connection/protocol.js';
import type { Clock } from '../clock/clock.js';
import type { Gap } from './cursor.js';
import type { Inquiries } from './inquiries.js';
import type { Urgency } from './pacing.js';
import type { ResolvedSubscribeOptions } from './subscribe-options.js';

/** The parts of a subscription that its repairs use. */
export interface RepairHost {
  readonly channel: string;
  readonly options: ResolvedSubscribeOptions;
  readonly clock: Clock;
  /** Asks the server about single messages and ranges. */
  readonly inquiries: Inquiries;
  /** The session of the server subscription. It is undefined during an outage. */
  readonly session: Session | undefined;
  /** Whether the server has the subscription and its messages are listened to. */
  readonly live: boolean;
  /** Whether the subscription takes no more messages. */
  readonly stopped: boolean;
  /**
   * Whether the subscription gets every message, so that neither the position of a durable nor other members of a group matter.
   */
  readonly seesAll: boolean;
  /**
   * Returns a function that tells whether work is out of date: the subscription has stopped, or the session or the channel is
   * another one now.
   */
  staleness(session: Session | undefined): () => boolean;
  /** Stops the delivery until the server subscription is made again. */
  mute(): void;
  /** Makes the server subscription again at the cursor. */
  remakeBecause(reason: string): void;
  /**
   * Takes a message.
   * @param fetched whether the message was fetched by its number
   */
  receive(message: RawMessage, fetched: boolean): void;
  /** Counts a message that was fetched by its number. */
  countFetched(): void;
  /** Reports messages that the server no longer has. */
  tellGap(gap: Gap): void;
  /**
   * Checks the channel, and starts over if it is a new one.
   * @returns true if the channel is a new one, or if the check is out of date
   */
  startedOver(session: Session, urgency: Urgency): Promise<boolean>;
  /** Sets the timer of the next peek, in place of one that is set. */
  peekAfter(milliseconds: number, peek: () => void): void;
  log(message: string): void;
}
