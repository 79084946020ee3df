/** A session of a client with a server in memory: the same interface as a session with a real one, without a connection below. */
import { randomBytes } from 'node:crypto';
import type { Clock } from '../../clock/clock.js';
import type { Loss, Search, SupervisedSession } from '../../connection/gateway.js';
import type { Participants } from '../../connection/participants.js';
import {
  EndRefused,
  SessionEnded,
  SubscribeRefused,
  type RawMessage,
  type Receipt,
  type SessionSubscription,
  type SubscribeRequest,
} from '../../connection/protocol.js';
import type { Registration } from '../../connection/take-over.js';
import { Unanswered } from '../../connection/unanswered.js';
import { ConnectionLostError, type LossReason } from '../../errors.js';
import type { Delivery, Deliveries, Subscriber } from './deliveries.js';
import type { Traffic } from './traffic.js';

/** The length of a GUID without its number. */
const GUID_PREFIX = 16;

/** What a session needs of its server. */
export interface SessionHost {
  readonly url: string;
  readonly maxPayload: number;
  readonly traffic: Traffic;
  readonly deliveries: Deliveries;
  /** Stores a message. */
  store(channel: string, data: Buffer, clientId: string): void;
  /** Ends what the server has of a session. @param free whether the client ID is free from now on */
  ended(session: MemorySession, free: boolean): void;
}

export interface MemorySessionOptions {
  readonly ordinal: number;
  readonly continued: boolean;
  readonly clientId: string;
  readonly clock: Clock;
  readonly participants: Participants;
  /** Begins to look for the next session. */
  readonly search: () => Search;
}

export class MemorySession implements SupervisedSession, Subscriber {
  readonly ordinal: number;
  readonly continued: boolean;
  readonly clientId: string;
  readonly server: string;
  readonly maxPayload: number;
  readonly registration: Registration = { connectionId: randomBytes(11), closeSubject: '' };
  /** What is stored is answered at once. */
  readonly suspect = false;
  readonly lost: Promise<Loss>;

  readonly #host: SessionHost;
  readonly #options: MemorySessionOptions;
  readonly #unanswered = new Unanswered();
  readonly #guid = randomBytes(GUID_PREFIX / 2).toString('hex');
  /** Give up the requests that are not answered. */
  readonly #abandon = new Set<() => void>();
  #resolveLost!: (loss: Loss) => void;
  #alive = true;
  #sent = 0;
  #sentBytes = 0;
  #asking = false;

  constructor(host: SessionHost, options: MemorySessionOptions) {
    this.#host = host;
    this.#options = options;
    this.ordinal = options.ordinal;
    this.continued = options.continued;
    this.clientId = options.clientId;
    this.server = host.url;
    this.maxPayload = host.maxPayload;
    this.lost = new Promise((resolve) => {
      this.#resolveLost = resolve;
    });
  }

  get alive(): boolean {
    return this.#alive;
  }

  get pendingRequests(): number {
    return this.#abandon.size;
  }

  publish(channel: string, data: Uint8Array, receipt: Receipt): void {
    if (!this.#alive) return;
    const number = ++this.#sent;
    // The publisher may use its bytes again.
    const kept = Buffer.from(data);
    this.#unanswered.add(number, receipt);
    receipt.end = this.#sentBytes += kept.length;
    this.#host.traffic.send(() => {
      if (!this.#alive) return;
      this.#host.store(channel, kept, this.clientId);
      const guid = `${this.#guid}${number.toString(36).padStart(6, '0')}`;
      this.#unanswered.take(number)?.answered(undefined, guid);
    });
  }

  forget(upTo: Receipt): void {
    this.#unanswered.forget(upTo);
  }

  subscribe(
    request: SubscribeRequest,
    onMessage: (message: RawMessage) => void,
    onMade: (subscription: SessionSubscription) => void,
  ): Promise<SessionSubscription> {
    return this.#ask((resolve, reject) => {
      const { deliveries } = this.#host;
      const handle = new Handle(this.#host, this);
      const made = deliveries.subscribe(this, request, (message) => this.#send(handle, message, onMessage));
      if (typeof made === 'string') {
        reject(new SubscribeRefused(made));
        return;
      }
      handle.delivery = made;
      onMade(handle);
      resolve(handle);
      deliveries.start(made);
      this.#confirm();
    });
  }

  /** Sends a message to the client. */
  #send(handle: Handle, message: RawMessage, onMessage: (message: RawMessage) => void): void {
    this.#host.traffic.send(() => {
      if (!this.#alive || handle.muted) return;
      onMessage(message);
      this.#confirm();
    });
  }

  /** Asks the leader, as a real session does now and then: its answer proves that all has arrived that was sent before. */
  #confirm(): void {
    if (this.#asking) return;
    this.#asking = true;
    const { clock, participants } = this.#options;
    const askedAt = clock.now();
    this.#host.traffic.send(() => {
      this.#asking = false;
      if (this.#alive) participants.leaderAnswered(askedAt);
    });
  }

  /** Ends a subscription at the server. */
  end(delivery: Delivery, drop: boolean): Promise<void> {
    return this.#ask((resolve, reject) => {
      if (delivery.over) {
        reject(new EndRefused('stan: invalid subscription'));
        return;
      }
      this.#host.deliveries.end(delivery, drop);
      resolve();
    });
  }

  /** Asks the server, which answers when the question arrives. */
  #ask<T>(arrive: (resolve: (value: T) => void, reject: (error: Error) => void) => void): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const abandon = (): void => reject(new SessionEnded('the session has ended'));
      if (!this.#alive) {
        abandon();
        return;
      }
      this.#abandon.add(abandon);
      this.#host.traffic.send(() => {
        if (this.#abandon.delete(abandon)) arrive(resolve, reject);
      });
    });
  }

  lose(reason: LossReason, message: string): void {
    if (!this.#alive) return;
    this.#end(false);
    this.#resolveLost({
      error: new ConnectionLostError(reason, this.server, message),
      registration: this.registration,
      // The next session is looked for at once, so that no delay outlasts an outage.
      successor: this.#options.search(),
      complaint: undefined,
      requests: [],
      settled: true,
    });
  }

  async close(): Promise<void> {
    if (!this.#alive) return;
    // From now on nothing arrives here; acknowledgements that are on their way arrive there first.
    this.#alive = false;
    this.#giveUp();
    await this.#host.traffic.trip();
    this.#host.ended(this, true);
  }

  hurry(): void {
    // A close takes one turn.
  }

  destroy(): void {
    if (this.#alive) this.#end(true);
  }

  #end(free: boolean): void {
    this.#alive = false;
    this.#giveUp();
    this.#host.ended(this, free);
  }

  #giveUp(): void {
    this.#unanswered.clear();
    for (const abandon of this.#abandon) abandon();
    this.#abandon.clear();
  }
}

/** A subscription at the server, for the client. */
class Handle implements SessionSubscription {
  readonly #host: SessionHost;
  readonly #session: MemorySession;
  delivery!: Delivery;
  muted = false;
  #ended: Promise<void> | undefined;

  constructor(host: SessionHost, session: MemorySession) {
    this.#host = host;
    this.#session = session;
  }

  ack(sequence: number): void {
    if (!this.#session.alive || this.#ended !== undefined) return;
    this.#host.traffic.send(() => this.#host.deliveries.ack(this.delivery, sequence));
  }

  mute(): void {
    this.muted = true;
  }

  close(): Promise<void> {
    return this.#end(false);
  }

  unsubscribe(): Promise<void> {
    return this.#end(true);
  }

  #end(drop: boolean): Promise<void> {
    this.muted = true;
    return (this.#ended ??= this.#session.end(this.delivery, drop));
  }
}
