/**
 * One STAN connection on a NATS connection of its own, from its registration to its end. It is never repaired. The first sign
 * of death ends it for good, with its connection, buffers, timers and listeners.
 */
import {
  ConnectionLostError,
  describe,
  type LossReason,
  type PermissionError,
  type ResilientStanError,
} from '../errors.js';
import { printable } from '../printable.js';
import { MessageFrame } from './codec.js';
import { Denials } from './denials.js';
import type { Loss, SupervisedSession } from './gateway.js';
import { InPlaceRecovery } from './in-place-recovery.js';
import { ServerComplaint, type Link } from './link.js';
import {
  SessionEnded,
  SubscribeRefused,
  type RawMessage,
  type Receipt,
  type SessionSubscription,
  type SubscribeRequest,
} from './protocol.js';
import { Publishes } from './publishes.js';
import type { LeaderSearch } from './leader-search.js';
import type { Registration } from './take-over.js';
import { Requests } from './requests.js';
import { isUnknownClient } from './server-texts.js';
import type { ConnectionSettings } from './settings.js';
import { SubscriptionHandle, type HandleHost } from './subscription-handle.js';
import type { Line } from './throughput.js';
import { FailureDetector, type FailureDetectorOptions } from './failure-detector.js';
import { NatsError, StartAt, takeFrames, withInbox, type StanConnection, type StanSubscription } from './wire.js';

export interface SessionOptions extends Pick<FailureDetectorOptions, 'settings' | 'participants' | 'race' | 'clock'> {
  settings: ConnectionSettings;
  ordinal: number;
  continued: boolean;
  /** The round trip of the question that found the leader, in ms. */
  roundTrip: number;
  /** The measured throughput of the path to the servers. */
  line: Line;
  /** Is called when an answer of the leader is overdue, with the length of its silence in ms. */
  suspected: (silence: number) => void;
  /** Is called when the server forbids something that the session can do without. */
  denied: (error: PermissionError) => void;
}

/**
 * The longest age in the protocol, in ms, which is 292 years. The protocol counts ages in ns with 64 bits. No message is older.
 */
const LONGEST_AGE = Math.floor(2 ** 63 / 1e6);
/** First delay before a close request is repeated because there is no leader, in ms. It doubles each time. */
const CLOSE_RETRY = 50;

/** The state of a session. */
type Life =
  | { readonly phase: 'live' }
  /**
   * The session is being closed: the time when that has to be over, in ms of the clock, and the function that cancels the
   * deadline.
   */
  | { readonly phase: 'closing'; readonly by: number; readonly cancel: (() => void) | undefined }
  | { readonly phase: 'over' };

const LIVE: Life = { phase: 'live' };
const OVER: Life = { phase: 'over' };

export class StanSession implements SupervisedSession, HandleHost {
  readonly ordinal: number;
  readonly continued: boolean;
  readonly server: string;
  readonly maxPayload: number;
  readonly registration: Registration;
  /** Resolves when the session is lost. It never rejects. */
  readonly lost: Promise<Loss>;

  readonly #link: Link;
  readonly #stan: StanConnection;
  readonly #publishes: Publishes;
  readonly #detector: FailureDetector;
  readonly #options: SessionOptions;
  readonly #resolveLost: (loss: Loss) => void;
  readonly #requests: Requests;
  readonly #denials: Denials;
  #life: Life = LIVE;

  constructor(link: Link, stan: StanConnection, options: SessionOptions) {
    this.#link = link;
    this.#stan = stan;
    this.#options = options;
    this.ordinal = options.ordinal;
    this.continued = options.continued;
    this.server = link.address.url;
    this.maxPayload = link.maxPayload;
    this.registration = { connectionId: stan.connId, closeSubject: stan.closeRequests ?? '' };
    let resolveLost!: (loss: Loss) => void;
    this.lost = new Promise((resolve) => {
      resolveLost = resolve;
    });
    this.#resolveLost = resolveLost;

    link.onDeath = (error) => {
      this.#lose('disconnect', `the connection to ${this.server} ended: ${error.message}`, undefined, error);
    };
    link.onDenied = (error) => this.#forbidden(error);
    stan.on('connection_lost', (error: unknown) => this.lose('replaced', printable(describe(error))));
    stan.on('error', (error: unknown) => this.#lose('disconnect', printable(describe(error)), undefined, error));

    const { settings, participants, race, clock, roundTrip, line } = options;
    this.#detector = new FailureDetector({
      path: { link, connectionId: stan.connId, roundTrip, line },
      settings,
      participants,
      oldestPublish: () => this.#publishes.oldestOwed,
      oldestRequest: () => this.#requests.oldest,
      recovery: new InPlaceRecovery(participants, options.suspected, () => this.#requests.missed()),
      race,
      lose: (reason, message, successor) => this.#lose(reason, message, successor),
      clock,
    });
    const { connectTimeout } = settings;
    const sent = (): number => link.sent;
    this.#requests = new Requests({ session: this, sent, detector: this.#detector, connectTimeout, clock });
    this.#denials = new Denials(this.#requests);

    this.#publishes = new Publishes({
      subject: stan.pubPrefix,
      inbox: stan.ackSubject,
      clientId: options.settings.clientId,
      connectionId: stan.connId,
      send: (frame) => {
        link.nats.sendCommand(frame);
        return link.sent;
      },
      evidence: this.#detector,
    });
    takeFrames(link.nats, stan.ackSubscription, (frame) => {
      if (this.alive) this.#publishes.answered(frame);
    });
  }

  get alive(): boolean {
    return this.#life === LIVE;
  }

  get pendingRequests(): number {
    return this.#requests.size;
  }

  get requests(): Requests {
    return this.#requests;
  }

  get denials(): Denials {
    return this.#denials;
  }

  get suspect(): boolean {
    return this.#detector.suspect;
  }

  publish(channel: string, data: Uint8Array, receipt: Receipt): void {
    if (!this.alive) return;
    try {
      this.#publishes.publish(channel, data, receipt);
    } catch (error) {
      this.#lose('disconnect', `the client refused a publish: ${describe(error)}`, undefined, error);
    }
  }

  forget(upTo: Receipt): void {
    this.#publishes.forget(upTo);
  }

  subscribe(
    request: SubscribeRequest,
    onMessage: (message: RawMessage) => void,
    onMade: (subscription: SessionSubscription) => void,
    onDenied?: (error: ResilientStanError) => void,
  ): Promise<SessionSubscription> {
    return new Promise<SessionSubscription>((resolve, reject) => {
      if (!this.alive) {
        reject(new SessionEnded('the session has ended'));
        return;
      }
      const { channel, queueGroup = null, durableName = null } = request;
      const settle = this.#requests.add({
        kind: 'sub',
        channel,
        name: JSON.stringify([channel, queueGroup, durableName]),
        optional: request.optional === true,
        abandon: () => reject(new SessionEnded('the session ended before the subscription was made')),
        deny: (error) => {
          onDenied?.(error);
          reject(error);
          return onDenied !== undefined;
        },
      });
      let stan: StanSubscription;
      try {
        stan = this.#subscribeAtServer(request);
      } catch (error) {
        settle();
        reject(error instanceof Error ? error : new Error(describe(error)));
        return;
      }
      const made = new SubscriptionHandle(this, stan, request);
      /** The messages that arrive before the subscribe response, because they cannot be acknowledged yet. */
      let held: RawMessage[] | undefined = [];
      takeFrames(this.#link.nats, stan.inboxSub, (frame) => {
        if (!this.alive || made.muted) return;
        this.#detector.heardMessage();
        const message = new MessageFrame(frame);
        if (held) held.push(message);
        else onMessage(message);
      });
      stan.once('ready', () => {
        settle();
        if (!this.alive) return;
        this.#detector.heard();
        if (stan.ackInbox !== undefined && onDenied) this.#denials.watchAcks(stan.ackInbox, channel, onDenied);
        onMade(made);
        const early = held ?? [];
        held = undefined;
        for (const message of early) if (!made.muted) onMessage(message);
        resolve(made);
      });
      stan.on('error', (error: unknown) => {
        if (!settle() || !this.alive) return;
        if (!this.broken(error)) reject(new SubscribeRefused(printable(describe(error))));
      });
    });
  }

  /** Sends a frame of a subscription. */
  send(frame: Buffer): void {
    this.#link.nats.sendCommand(frame);
  }

  /** Ends the session for an error of the wrapped client that is not an answer of the server. Returns whether that was so. */
  broken(error: unknown): boolean {
    if (!(error instanceof NatsError)) return false;
    this.#lose('disconnect', printable(describe(error)), undefined, error);
    return true;
  }

  lose(reason: LossReason, message: string): void {
    this.#lose(reason, message);
  }

  /**
   * Ends the session in order. The client ID is free afterwards, and durables keep their position.
   * @param timeout longest wait for the server's answer, in ms; after it the session is destroyed all the same
   */
  async close(timeout: number): Promise<void> {
    if (!this.alive) return;
    this.#life = { phase: 'closing', by: this.#options.clock.now() + timeout, cancel: undefined };
    this.#detector.stop()?.cancel();
    this.#requests.abandon();
    try {
      await this.#unregister();
    } finally {
      this.#dispose();
    }
  }

  /** Shortens a `close` that is under way to this time from now, in ms. */
  hurry(timeout: number): void {
    const { clock } = this.#options;
    const by = clock.now() + timeout;
    if (this.#life.phase !== 'closing' || by >= this.#life.by) return;
    this.#life.cancel?.();
    const cancel = clock.after(timeout, () => this.#link.abandonRequests(new Error('there is no time left')));
    this.#life = { phase: 'closing', by, cancel };
  }

  /** The time that is left for a `close`, in ms. */
  get #left(): number {
    return this.#life.phase === 'closing' ? Math.max(1, this.#life.by - this.#options.clock.now()) : 1;
  }

  /**
   * Closes the registration at the server.
   * @throws when that was not done in time
   */
  async #unregister(): Promise<void> {
    const { connectionId, closeSubject } = this.registration;
    if (closeSubject === '') return;
    const { settings, clock } = this.#options;
    const { clusterId, clientId } = settings;
    for (let delay = CLOSE_RETRY; ; delay *= 2) {
      // The close request names only the client ID. Another client may have the ID by now and must keep it.
      if (!(await this.#link.isRegistered(clusterId, connectionId, this.#left))) return;
      const text = await this.#link.closeRegistration(closeSubject, clientId, this.#left);
      if (text === '' || isUnknownClient(text)) return;
      // The server may have just lost the lead. A registration that was not closed would stay, and so would its members of
      // queue groups.
      if (delay >= this.#left) throw new Error(text);
      await new Promise<void>((resolve) => clock.after(delay, resolve));
    }
  }

  /** Ends the session at once without telling anybody, the server included. */
  destroy(): void {
    if (!this.alive) return;
    this.#life = OVER;
    this.#detector.stop()?.cancel();
    this.#requests.abandon();
    this.#dispose();
  }

  #subscribeAtServer(request: SubscribeRequest): StanSubscription {
    const options = this.#stan
      .subscriptionOptions()
      .setMaxInFlight(request.maxInFlight)
      .setAckWait(request.ackWait)
      // The wrapped client would acknowledge before an asynchronous handler has begun.
      .setManualAckMode(true);
    if (request.durableName !== undefined) options.setDurableName(request.durableName);
    const { start } = request;
    if ('sequence' in start) options.setStartAtSequence(start.sequence);
    else if ('ago' in start) options.setStartAtTimeDelta(Math.min(Math.ceil(start.ago), LONGEST_AGE));
    else {
      options.setStartAt(
        start.at === 'first' ? StartAt.FIRST : start.at === 'last' ? StartAt.LAST_RECEIVED : StartAt.NEW_ONLY,
      );
    }
    return withInbox(request.inbox, () =>
      request.queueGroup === undefined
        ? this.#stan.subscribe(request.channel, options)
        : this.#stan.subscribe(request.channel, request.queueGroup, options),
    );
  }

  /** Handles a forbidden subject. Returns true, because it is handled or the session has ended. */
  #forbidden(error: PermissionError): boolean {
    const denied = this.#denials.denied(error);
    if (denied === 'goes on') this.#options.denied(error);
    else {
      const message = `the connection to ${this.server} ended: ${error.message}`;
      this.#lose('permission', message, undefined, error, denied === 'ends, and is settled');
    }
    return true;
  }

  #lose(reason: LossReason, message: string, successor?: LeaderSearch, cause?: unknown, settled = false): void {
    if (!this.alive) return;
    // This comes first, so that later calls of the wrapped client do not count.
    this.#life = OVER;
    const hedge = this.#detector.stop() ?? successor;
    const complaint = complaintIn(cause);
    if (complaint?.complaint.kind === 'subscriptions') {
      settled = this.#denials.tooMany(complaint, () => this.#options.participants.subscribing.crowd());
    }
    const requests = complaint === undefined ? [] : this.#requests.inHand;
    this.#dispose();
    this.#requests.abandon();
    this.#resolveLost({
      error: new ConnectionLostError(reason, this.server, message, cause === undefined ? {} : { cause }),
      registration: this.registration,
      successor: hedge,
      complaint,
      requests,
      settled,
    });
  }

  #dispose(): void {
    const stan = this.#stan;
    clearTimeout(stan.pingTimer);
    this.#requests.stop();
    if (this.#life.phase === 'closing') this.#life.cancel?.();
    this.#life = OVER;
    this.#publishes.stop();
    stan.cleanupOnClose();
    // A dead session sends no close request, which would end the registration of the next session.
    stan.closeRequests = null;
    this.#link.destroy();
    stan.removeAllListeners();
    stan.on('error', () => {});
  }
}

function complaintIn(cause: unknown): ServerComplaint | undefined {
  return cause instanceof ServerComplaint ? cause : undefined;
}
