import type { RawMessage, Session } from '../connection/protocol.js';
import type { Clock } from './clock.js';
import type { Gap } from './cursor.js';
import type { Inquiries } from './inquiries.js';
import type { Urgency } from './pacing.js';
import type { ResolvedSubscribeOptions } from './subscribe-options.js';

/** What those who repair a subscription see of it, and may do to it. */
export interface RepairHost {
  readonly channel: string;
  readonly options: ResolvedSubscribeOptions;
  readonly clock: Clock;
  /** What is asked beside it. */
  readonly inquiries: Inquiries;
  /** The one it lives on; undefined in an outage. */
  readonly session: Session | undefined;
  /** The server has it, and its messages are listened to. */
  readonly live: boolean;
  /** It has ended, or takes no more messages. */
  readonly stopped: boolean;
  /** Neither the server nor other members decide what it gets. */
  readonly seesAll: boolean;
  /** For what takes its time: whether it is of no use any more, on another session, or of another channel. */
  staleness(session: Session | undefined): () => boolean;
  /** Its messages are not listened to any more, until it is made again. */
  mute(): void;
  /** It is made again at its cursor. */
  remakeBecause(reason: string): void;
  /** @param fetched the message was asked for by its number */
  receive(message: RawMessage, fetched: boolean): void;
  /** A message was asked for by its number. */
  countFetched(): void;
  /** The server does not have these any more. */
  tellGap(gap: Gap): void;
  /**
   * Whether the channel is still the one we know; if not, starts over. True: it is not, or something else has happened that
   * makes it no matter.
   */
  startedOver(session: Session, urgency: Urgency): Promise<boolean>;
  log(message: string): void;
}
