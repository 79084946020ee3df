/**
 * Subscribing and publishing, which use the sessions of a client one after the other. These are the calls that the connection
 * makes on them. Times are in ms of the client's {@link Clock}.
 */
import type { InHand, Session } from './protocol.js';

/** The calls that both have. */
interface Participant {
  /** Notes that the session has ended, so that nothing of it counts any more. */
  detach(): void;
  /**
   * Notes that the leader was silent and has answered on this session.
   * @param missed whether something was lost on its way
   */
  resume(missed: boolean): void;
  /** Notes that the leader has answered a question that was asked at this time. */
  leaderAnswered(askedAt: number): void;
}

/** Subscribing, as the connection sees it. */
export interface SubscribingParticipant extends Participant {
  /**
   * Makes all subscriptions on a new session. Resolves when each is made or has failed for good.
   * @param careful makes them one at a time
   * @throws SessionEnded
   */
  attach(session: Session, careful: boolean): Promise<void>;
  /** Notes that the server has no room for subscriptions that can be left out. */
  crowd(): void;
  /** The time from which on a question to the leader would tell something about received messages; undefined if none would. */
  readonly wantsAnswerSince: number | undefined;
}

/** Publishing, as the connection sees it. */
export interface PublishingParticipant extends Participant {
  /**
   * Starts to publish on a new session.
   * @param careful publishes one message at a time
   */
  attach(session: Session, careful: boolean): void;
  /** Stops publishing one message at a time. */
  relax(): void;
  /** Notes that the leader is silent, so that nothing new is handed over. */
  pause(): void;
  /** Returns the publishes that the session has not answered. It is called when the session has ended, before {@link detach}. */
  inHand(): InHand[];
  /**
   * Reviews the publishes in flight while the leader is not suspect: sends probably lost ones again, and gives up for the time
   * being those that nobody acknowledges.
   * @param threshold the time that the leader may take for an answer, in ms
   * @returns when to call again; Infinity if that depends on something else
   */
  review(threshold: number): number;
}

/** Holds both and passes on the calls that are for both. */
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
