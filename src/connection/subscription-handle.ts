/** One subscription at the server, as the users of a session see it. It acknowledges messages, and ends the subscription. */
import { describe, type LossReason } from '../errors.js';
import { printable } from '../printable.js';
import { AckFrames } from './codec.js';
import type { Denials } from './denials.js';
import { EndRefused, SessionEnded, type SessionSubscription, type SubscribeRequest } from './protocol.js';
import type { Requests } from './requests.js';
import { endRefusal } from './server-texts.js';
import type { StanSubscription } from './wire.js';

/** The parts of a session that a subscription uses. */
export interface HandleHost {
  readonly alive: boolean;
  readonly requests: Requests;
  readonly denials: Denials;
  /**
   * Sends a frame.
   * @throws the errors of the wrapped client
   */
  send(frame: Buffer): void;
  lose(reason: LossReason, message: string): void;
  /** Ends the session for an error of the wrapped client that is not an answer of the server. Returns whether that was so. */
  broken(error: unknown): boolean;
}

/** The delays before a request to end a subscription is sent again, in ms. Together they are longer than an election. */
const END_RETRIES = [100, 200, 400, 800, 1600, 1600, 1600];

type Ending = 'closed' | 'unsubscribed';

export class SubscriptionHandle implements SessionSubscription {
  muted = false;
  readonly #host: HandleHost;
  readonly #subscription: StanSubscription;
  readonly #channel: string;
  /** Whether it is durable. The server may keep a durable although it does not know the subscription. */
  readonly #durable: boolean;
  #ended: Promise<void> | undefined;
  #acks: AckFrames | undefined;

  constructor(host: HandleHost, subscription: StanSubscription, { channel, durableName }: SubscribeRequest) {
    this.#host = host;
    this.#subscription = subscription;
    this.#channel = channel;
    this.#durable = durableName !== undefined;
  }

  ack(sequence: number): void {
    const inbox = this.#subscription.ackInbox;
    if (!this.#host.alive || inbox === undefined || this.#ended) return;
    try {
      this.#acks ??= new AckFrames(inbox, this.#channel);
      this.#host.send(this.#acks.frame(sequence));
    } catch (error) {
      this.#host.lose('disconnect', `the client refused an ack: ${describe(error)}`);
    }
  }

  mute(): void {
    this.muted = true;
  }

  close(): Promise<void> {
    return (this.#ended ??= this.#end('closed'));
  }

  unsubscribe(): Promise<void> {
    return (this.#ended ??= this.#end('unsubscribed'));
  }

  /**
   * Ends the subscription. The request is repeated when the server answers that it was not done.
   * @throws SessionEnded; PermissionError; EndRefused
   */
  async #end(ending: Ending): Promise<void> {
    this.mute();
    if (this.#subscription.ackInbox !== undefined) this.#host.denials.forgetAcks(this.#subscription.ackInbox);
    const { stanConnection } = this.#subscription;
    for (let attempt = 0; ; attempt++) {
      // The wrapped client removes the connection with the first request.
      this.#subscription.stanConnection = stanConnection;
      const text = await this.#ask(ending);
      if (text === undefined) return;
      const refusal = endRefusal(text);
      if (refusal === 'gone') return;
      if (refusal === 'unregistered') {
        const what = `the cluster does not know this session any more (ending '${this.#channel}': ${text})`;
        this.#host.lose('replaced', what);
        throw new SessionEnded(text);
      }
      if (refusal === 'unknown-subscription') {
        if (ending === 'closed' || !this.#durable) return;
        throw new EndRefused(text);
      }
      const delay = END_RETRIES[attempt];
      if (delay === undefined) throw new EndRefused(text);
      await this.#host.requests.pause(delay);
    }
  }

  /** Sends one request. Returns the server's text if it answered with an error. */
  #ask(ending: Ending): Promise<string | undefined> {
    const stan = this.#subscription;
    return new Promise((resolve, reject) => {
      if (!this.#host.alive) {
        reject(new SessionEnded('the session has ended'));
        return;
      }
      const settle = this.#host.requests.add({
        kind: ending === 'closed' ? 'subclose' : 'unsub',
        channel: this.#channel,
        name: this.#channel,
        optional: false,
        abandon: () => reject(new SessionEnded('the session has ended')),
        deny: (error) => {
          reject(error);
          return false;
        },
      });
      stan.removeAllListeners();
      stan.on('error', () => {});
      try {
        if (ending === 'closed') stan.close();
        else stan.unsubscribe();
      } catch (error) {
        settle();
        reject(error instanceof Error ? error : new Error(describe(error)));
        return;
      }
      stan.once(ending, () => {
        settle();
        resolve(undefined);
      });
      stan.once('error', (error: unknown) => {
        if (!settle() || !this.#host.alive) return;
        if (!this.#host.broken(error)) resolve(printable(describe(error)));
      });
    });
  }
}
