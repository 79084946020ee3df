/**
 * Who uses the sessions of a client, one after the other: subscribing and publishing. Here is what the connection asks of them,
 * and what it tells them. Times are those of the client's {@link AwakeClock}.
 */
import type { InHand, Session } from './protocol.js';

/** What both have in common. */
interface Participant {
  /** The session has ended. Nothing of it counts any more. */
  detach(): void;
  /** The leader was silent and has answered on this session. `missed`: not everything, so something was lost on its way. */
  resume(missed: boolean): void;
  /** The leader has answered a question that was asked then. */
  leaderAnswered(askedAt: number): void;
}

/** Subscribing, as the connection sees it. */
export interface SubscribingParticipant extends Participant {
  /**
   * Makes all subscriptions on a new session. Resolves when each is made, or has failed for good.
   * @param careful one at a time
   * @throws SessionEnded
   */
  attach(session: Session, careful: boolean): Promise<void>;
  /** The server has no room for subscriptions that can be done without. */
  crowd(): void;
  /** The answer to a question that is asked later than this would tell something about what was received. */
  readonly wantsAnswerSince: number | undefined;
}

/** Publishing, as the connection sees it. */
export interface PublishingParticipant extends Participant {
  /**
   * The session is up: publishes may flow.
   * @param careful one at a time
   */
  attach(session: Session, careful: boolean): void;
  /** No longer one at a time. */
  relax(): void;
  /** The leader is silent: nothing new is handed over. */
  pause(): void;
  /** The publishes that the session has not answered. Called when it has ended, before {@link detach}. */
  inHand(): InHand[];
  /**
   * Calm, with publishes in flight: send again what is probably lost, give those up for the time being that nobody acknowledges.
   * @param threshold how long the leader may take for an answer, in ms
   * @returns when to be asked again; Infinity if that depends on something else
   */
  review(threshold: number): number;
}

/** Both of them, for what is asked of both or told to both. */
export class Participants {
  readonly subscribing: SubscribingParticipant;
  readonly publishing: PublishingParticipant;

  constructor(subscribing: SubscribingParticipant, publishing: PublishingParticipant) {
    this.subscribing = subscribing;
    this.publishing = publishing;
  }

  detach(): void {
    this.publishing.detach();
    this.subscribing.detach();
  }

  leaderAnswered(askedAt: number): void {
    this.publishing.leaderAnswered(askedAt);
    this.subscribing.leaderAnswered(askedAt);
  }
}
