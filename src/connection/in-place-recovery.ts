/**
 * Recovers on the same session when the leader was silent and then answers. The session is kept. During the silence nothing new
 * is handed over. When the leader answers, it is known whether something was lost on its way. Then publishing finds the lost
 * messages with a probe, subscribing makes its subscriptions again, and the requests of the protocol get less time.
 *
 * (The recovery with a new session is in `supervisor.ts`.)
 */
import type { Participants } from './participants.js';

export class InPlaceRecovery {
  readonly #participants: Participants;
  readonly #suspected: (silence: number) => void;
  readonly #missed: () => void;

  /**
   * @param suspected is called when the leader is silent, with the length of the silence in ms, for the statistics of the client
   * @param missed is called when requests of the session may be lost
   */
  constructor(participants: Participants, suspected: (silence: number) => void, missed: () => void) {
    this.#participants = participants;
    this.#suspected = suspected;
    this.#missed = missed;
  }

  /**
   * Starts when the leader is silent.
   * @param silence how long it has been, in ms
   */
  begin(silence: number): void {
    this.#suspected(silence);
    this.#participants.publishing.pause();
  }

  /**
   * Ends when the leader has answered.
   * @param missed whether some of what was sent to the leader was lost
   */
  end(missed: boolean): void {
    this.#participants.publishing.resume(missed);
    this.#participants.subscribing.resume(missed);
    if (missed) this.#missed();
  }
}
