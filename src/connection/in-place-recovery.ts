/**
 * The short way to go on: the leader was silent, and then answers on the same session. The session is kept. While the leader
 * is silent nothing new is handed over. When it answers, it is known whether something was lost on its way, and everybody who
 * waits for something finds out what that was: publishing by a probe, subscribing by making its subscriptions again, and the
 * requests of the protocol by a shorter patience.
 *
 * (The long way, by a new session, is in `supervisor.ts`.)
 */
import type { Participants } from './participants.js';

export class InPlaceRecovery {
  readonly #participants: Participants;
  readonly #suspected: () => void;
  readonly #missed: () => void;

  /**
   * @param suspected is told, for the statistics of the client
   * @param missed some of the session's requests may be lost
   */
  constructor(participants: Participants, suspected: () => void, missed: () => void) {
    this.#participants = participants;
    this.#suspected = suspected;
    this.#missed = missed;
  }

  /** The leader is silent. */
  begin(): void {
    this.#suspected();
    this.#participants.publishing.pause();
  }

  /** The leader has answered. `missed`: not everything that it was asked. */
  end(missed: boolean): void {
    this.#participants.publishing.resume(missed);
    this.#participants.subscribing.resume(missed);
    if (missed) this.#missed();
  }
}
