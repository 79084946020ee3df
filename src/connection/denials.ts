/**
 * Handles what the server forbids a session or has no room for. Whoever requested it is told, because otherwise it would be
 * requested without end.
 */
import { PermissionError } from '../errors.js';
import type { LastWords } from './server-texts.js';
import { refusedWith, type Requests } from './requests.js';

/** The consequence of a forbidden subject. */
export type Denied =
  /** The session goes on without it. */
  | 'goes on'
  /** The session ends. */
  | 'ends'
  /** The session ends. Whoever requested the subject has given it up, so that it does not end the next session as well. */
  | 'ends, and is settled';

export class Denials {
  readonly #requests: Requests;
  /** The subjects that subscriptions send acknowledgements to, and what to do when one is forbidden. */
  readonly #ackInboxes = new Map<string, (error: PermissionError) => void>();

  constructor(requests: Requests) {
    this.#requests = requests;
  }

  /** Watches the subject that a subscription sends its acknowledgements to. */
  watchAcks(inbox: string, channel: string, onDenied: (error: PermissionError) => void): void {
    this.#ackInboxes.set(inbox, (error) =>
      onDenied(
        new PermissionError(
          error.subject,
          `the messages of channel '${channel}' must not be acknowledged: this user needs the permission to publish to ` +
            `'_INBOX.>' (${error.message})`,
          { cause: error },
        ),
      ),
    );
  }

  /** Stops watching a subject, because no more acknowledgements go there. */
  forgetAcks(inbox: string): void {
    this.#ackInboxes.delete(inbox);
  }

  /**
   * Handles a forbidden subject. The session ends because of a subject that it needs. It does not need the subjects that end
   * subscriptions.
   */
  denied(error: PermissionError): Denied {
    const { subject = '' } = error;
    const kind = /^_STAN\.(sub|unsub|subclose)\./.exec(subject)?.[1];
    const told = this.#requests.deny((request) => request.kind === kind, error);
    if (kind === 'unsub' || kind === 'subclose') return 'goes on';
    const acks = this.#ackInboxes.get(subject);
    acks?.(error);
    return told || acks !== undefined ? 'ends, and is settled' : 'ends';
  }

  /**
   * Handles more subscriptions than the server allows. If any request can be left out, the next session leaves out all of that
   * kind. Otherwise the last request is the one too many.
   * @param crowd is called in the first case
   * @returns whether the next session will not end because of it as well
   */
  tooMany(words: LastWords, crowd: () => void): boolean {
    const { subscribing } = this.#requests;
    if (subscribing.some(({ optional }) => optional)) {
      crowd();
      return true;
    }
    const last = subscribing.at(-1);
    if (last === undefined) return false;
    const advice =
      'Its limit counts every subscription of this client, and five more that the client needs itself: raise max_subscriptions ' +
      'at the server, or use several clients';
    return this.#requests.deny((request) => request === last, refusedWith(last.channel, words, advice));
  }
}
