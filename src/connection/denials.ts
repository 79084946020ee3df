/**
 * What the server forbids a session, or has no room for: whoever asked for it is told, or it would be asked for again for ever.
 */
import { PermissionError } from '../errors.js';
import type { LastWords } from './server-texts.js';
import { refusedWith, type Requests } from './requests.js';

/** What comes of a subject that is forbidden. */
export type Denied =
  /** The session goes on without it. */
  | 'goes on'
  /** It ends. */
  | 'ends'
  /** It ends, and whoever asked for it has given it up, so that it does not end the next one as well. */
  | 'ends, and is settled';

export class Denials {
  readonly #requests: Requests;
  /** Where subscriptions have to send their acks -> what to do when that is forbidden. */
  readonly #ackInboxes = new Map<string, (error: PermissionError) => void>();

  constructor(requests: Requests) {
    this.#requests = requests;
  }

  /** A subscription sends its acks there. */
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

  /** No more acks go there. */
  forgetAcks(inbox: string): void {
    this.#ackInboxes.delete(inbox);
  }

  /**
   * The server forbids a subject. The session ends over what it cannot do without; that something cannot be given up at the
   * server is not of that kind.
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
   * There are more subscriptions than the server allows: the next session does without what can be done without. If there is
   * nothing of that kind, the one that was asked for last is the one that is too many.
   * @param crowd called in the first case
   * @returns whether it will not end the next session as well
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
