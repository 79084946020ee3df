/**
 * One STAN connection on one NATS connection of its own, from its registration to its death. It is never repaired: the
 * first sign of death ends it, once, for good, and its connection, buffers, timers and listeners go with it.
 */
import { patience } from '../awake-clock.js';
import {
  ConnectionLostError,
  describe,
  PermissionError,
  SubscribeError,
  type LossReason,
  type ResilientStanError,
} from '../errors.js';
import { printable } from '../printable.js';
import { AckFrames, MessageFrame } from './codec.js';
import { ServerComplaint, type Link } from './link.js';
import {
  EndRefused,
  SessionEnded,
  SubscribeRefused,
  type InHand,
  type RawMessage,
  type Receipt,
  type Session,
  type SessionSubscription,
  type SubscribeRequest,
} from './protocol.js';
import { Publishes } from './publishes.js';
import { ASK_EVERY, type Reach } from './reach.js';
import type { Registration } from './registration.js';
import { Watch, type Owed, type WatchOptions } from './watch.js';
import { endRefusal, isUnknownClient, type LastWords } from './server-texts.js';
import { NatsError, StartAt, takeFrames, type StanConnection, type StanSubscription } from './wire.js';

/** The end of a session that nobody asked for. */
export interface Loss {
  error: ConnectionLostError;
  /** What a take-over needs. */
  registration: Registration;
  /** A race for the leader that is under way, or won. */
  successor: Reach | undefined;
  /** What the server said when it ended the session, if it said anything. */
  complaint: ServerComplaint | undefined;
  /** If the server complained: the subscriptions that were asked for, and not answered. */
  requests: InHand[];
  /** Somebody was told that what he asked for cannot be, so that it does not end the next session as well. */
  settled: boolean;
}

export interface SessionOptions extends Omit<
  WatchOptions,
  'connectionId' | 'link' | 'oldestRequest' | 'onMissed' | 'lose' | 'hedge' | 'clusterId'
> {
  ordinal: number;
  continued: boolean;
  clusterId: string;
  clientId: string;
  connectTimeout: number;
  hedge: (registration: Registration, onAccepted: () => void) => Reach;
  /** The server has no room for what can be done without. */
  crowded: () => void;
  /** The server forbids something without which the session goes on. */
  denied: (error: PermissionError) => void;
}

/** The protocol's requests, by the name they have in its subjects. */
type RequestKind = 'sub' | 'unsub' | 'subclose';

interface Request extends Owed {
  kind: RequestKind;
  channel: string;
  /** Of what is asked for, the same from session to session. */
  name: string;
  abandon: () => void;
  /** It can be done without. */
  optional: boolean;
  /** It can never be. @returns whether somebody has given it up for good */
  deny: (error: ResilientStanError) => boolean;
}

/** How long a request is waited for that was probably lost, ms, from when that is known. A leader takes a few. */
const PROBABLY_LOST = 500;
/** The protocol counts an age in nanoseconds, in a signed number of 64 bits: 292 years, in ms. No message is older. */
const LONGEST_AGE = Math.floor(2 ** 63 / 1e6);
/** Delays in ms before a request to end a subscription is sent again that the server has not done. An election takes seconds. */
const END_RETRIES = [100, 200, 400, 800, 1600, 1600, 1600];
/** Between two close requests of the client, ms, for want of a leader. Doubled each time. */
const CLOSE_RETRY = 50;

export class StanSession implements Session {
  readonly ordinal: number;
  readonly continued: boolean;
  readonly server: string;
  readonly maxPayload: number;
  readonly registration: Registration;
  /** Resolves at the loss; never rejects. */
  readonly lost: Promise<Loss>;

  readonly #link: Link;
  readonly #stan: StanConnection;
  readonly #publishes: Publishes;
  readonly #watch: Watch;
  readonly #options: SessionOptions;
  readonly #resolveLost: (loss: Loss) => void;
  /** Requests of the protocol without an answer, oldest first: when they were sent, and what to do if it ends. */
  readonly #requests = new Map<object, Request>();
  /** When the oldest of them was answered last. */
  #answeredAt = -Infinity;
  /** Requests that wait to be sent again: what to do if it ends. */
  readonly #pauses = new Set<() => void>();
  /** When it was noticed last that some of what we sent had been lost on its way to the leader. */
  #missedAt = -Infinity;
  #cancelRequestTimer: (() => void) | undefined;
  /** When a `close` has to be over. */
  #closeBy = Infinity;
  #cancelHurry: (() => void) | undefined;
  /** Where subscriptions have to send their acks -> what to do when that is forbidden. */
  readonly #ackInboxes = new Map<string, (error: PermissionError) => void>();
  #alive = true;

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
    link.onDenied = (error) => this.#denied(error);
    stan.on('connection_lost', (error: unknown) => this.lose('replaced', printable(describe(error))));
    stan.on('error', (error: unknown) => this.#lose('disconnect', printable(describe(error)), undefined, error));

    this.#publishes = new Publishes({
      subject: stan.pubPrefix,
      inbox: stan.ackSubject,
      clientId: options.clientId,
      connectionId: stan.connId,
      send: (frame) => {
        link.nats.sendCommand(frame);
        return link.sent;
      },
    });
    takeFrames(link.nats, stan.ackSubscription, (frame) => {
      if (this.#alive) this.#publishes.answered(frame);
    });

    this.#watch = new Watch({
      ...options,
      connectionId: stan.connId,
      link,
      oldestRequest: () => this.#requests.values().next().value,
      onMissed: () => {
        this.#missedAt = options.clock.now();
        this.#cancelRequestTimer?.();
        this.#awaitAnswers();
      },
      hedge: (onAccepted) => options.hedge(this.registration, onAccepted),
      lose: (reason, message, successor) => this.#lose(reason, message, successor),
    });
  }

  get alive(): boolean {
    return this.#alive;
  }

  get pendingRequests(): number {
    return this.#requests.size;
  }

  get suspect(): boolean {
    return this.#watch.suspect;
  }

  publish(channel: string, data: Uint8Array, sending: Receipt): void {
    if (!this.#alive) return;
    try {
      this.#publishes.publish(channel, data, sending);
    } catch (error) {
      this.#lose('disconnect', `the client refused a publish: ${describe(error)}`, undefined, error);
    }
  }

  forget(sending: Receipt): void {
    this.#publishes.forget(sending);
  }

  subscribe(
    request: SubscribeRequest,
    onMessage: (message: RawMessage) => void,
    onMade: (subscription: SessionSubscription) => void,
    onDenied?: (error: ResilientStanError) => void,
  ): Promise<SessionSubscription> {
    return new Promise<SessionSubscription>((resolve, reject) => {
      if (!this.#alive) {
        reject(new SessionEnded('the session has ended'));
        return;
      }
      const { channel, queueGroup = null, durableName = null } = request;
      const settle = this.#request(
        'sub',
        channel,
        JSON.stringify([channel, queueGroup, durableName]),
        () => reject(new SessionEnded('the session ended before the subscription was made')),
        (error) => {
          onDenied?.(error);
          reject(error);
          return onDenied !== undefined;
        },
        request.optional,
      );
      let stan: StanSubscription;
      try {
        stan = this.#subscribeAtServer(request);
      } catch (error) {
        settle();
        reject(error instanceof Error ? error : new Error(describe(error)));
        return;
      }
      const made = new Made(this, this.#link, stan, request);
      /** What arrives before the subscribe response has no ack inbox yet. */
      let held: RawMessage[] | undefined = [];
      takeFrames(this.#link.nats, stan.inboxSub, (frame) => {
        if (!this.#alive || made.muted) return;
        this.#watch.heard();
        const message = new MessageFrame(frame);
        if (held) held.push(message);
        else onMessage(message);
      });
      stan.once('ready', () => {
        settle();
        if (!this.#alive) return;
        this.#watch.heard();
        if (stan.ackInbox !== undefined && onDenied) this.#watchAcks(stan.ackInbox, request.channel, onDenied);
        onMade(made);
        const early = held ?? [];
        held = undefined;
        for (const message of early) if (!made.muted) onMessage(message);
        resolve(made);
      });
      stan.on('error', (error: unknown) => {
        if (!settle() || !this.#alive) return;
        const text = printable(describe(error));
        if (error instanceof NatsError) this.#lose('disconnect', text, undefined, error);
        else reject(new SubscribeRefused(text));
      });
    });
  }

  heardAck(roundTrip: number, end = 0): void {
    this.#watch.heardAck(roundTrip, end);
  }

  owed(): void {
    this.#watch.owed();
  }

  doubt(): void {
    this.#watch.doubt();
  }

  lose(reason: LossReason, message: string): void {
    this.#lose(reason, message);
  }

  /**
   * Ends the session in order: the client ID is free afterwards, durables keep their position.
   * @param timeout ms for the server's answer; without one the session is destroyed all the same
   */
  async close(timeout: number): Promise<void> {
    if (!this.#alive) return;
    this.#alive = false;
    this.#watch.stop()?.cancel();
    this.#abandonRequests();
    try {
      this.#closeBy = this.#options.clock.now() + timeout;
      await this.#unregister();
    } finally {
      this.#dispose();
    }
  }

  /** A `close` that is under way takes no longer than this, in ms, from now on. */
  hurry(timeout: number): void {
    const { clock } = this.#options;
    const by = clock.now() + timeout;
    if (by >= this.#closeBy) return;
    this.#closeBy = by;
    this.#cancelHurry?.();
    this.#cancelHurry = clock.after(timeout, () => this.#link.abandonRequests(new Error('there is no time left')));
  }

  /** @throws when it was not done in time */
  async #unregister(): Promise<void> {
    const { connectionId, closeSubject } = this.registration;
    if (closeSubject === '') return;
    const { clusterId, clientId, clock } = this.#options;
    const left = (): number => Math.max(1, this.#closeBy - clock.now());
    for (let delay = CLOSE_RETRY; ; delay *= 2) {
      // The close request names the client ID only: by now another client may have it, and must keep it.
      if (!(await this.#link.isRegistered(clusterId, connectionId, left()))) return;
      const text = await this.#link.closeRegistration(closeSubject, clientId, left());
      if (text === '' || isUnknownClient(text)) return;
      // A server that has just lost the lead, say. What it did not close would stay: members of queue groups above all.
      if (delay >= left()) throw new Error(text);
      await new Promise<void>((resolve) => clock.after(delay, resolve));
    }
  }

  /** Ends the session at once and tells nobody, not even the server. */
  destroy(): void {
    if (!this.#alive) return;
    this.#alive = false;
    this.#watch.stop()?.cancel();
    this.#abandonRequests();
    this.#dispose();
  }

  /** A request that waits for its answer. @returns a function to call at the answer, true the first time */
  #request(
    kind: RequestKind,
    channel: string,
    name: string,
    abandon: () => void,
    deny: (error: ResilientStanError) => boolean,
    optional = false,
  ): () => boolean {
    const key = {};
    const { clock } = this.#options;
    // Not sent yet: what is sent now is a few hundred bytes at most.
    this.#requests.set(key, { kind, channel, name, at: clock.now(), end: this.#link.sent, optional, abandon, deny });
    this.#watch.owed();
    if (this.#cancelRequestTimer === undefined) this.#awaitAnswers();
    return () => {
      // One that is answered before an older one says nothing of that: it may be lost.
      if (this.#requests.keys().next().value === key) this.#answeredAt = clock.now();
      return this.#requests.delete(key);
    };
  }

  /**
   * The server answers one request after the other. So the time for an answer counts from the answer before: thousands of
   * subscriptions, or a slow disk, may take long in all, and as long as they come there is no reason to begin anew.
   * One that was sent before something else was lost on the same way is probably lost with it: it gets less.
   */
  #awaitAnswers(): void {
    this.#cancelRequestTimer = undefined;
    const oldest = this.#requests.values().next();
    if (!this.#alive || oldest.done) return;
    const { connectTimeout, clock } = this.#options;
    const { at, end, kind, channel } = oldest.value;
    const since = Math.max(at, this.#answeredAt);
    const soon = Math.max(PROBABLY_LOST, 4 * this.#watch.threshold);
    const hurried = at < this.#missedAt && soon <= connectTimeout;
    const due = hurried ? Math.max(since, this.#missedAt) + soon : since + connectTimeout;
    const left = due - clock.now();
    if (left > 0) {
      this.#cancelRequestTimer = patience(clock, left, () => this.#awaitAnswers());
      return;
    }
    if (!this.#watch.hasAnsweredSince(at) && clock.now() < this.#watch.queuedUntil(end, since) + connectTimeout) {
      // The request may be on its way, behind other bytes, or its answer. A later question shows whether that is so.
      this.#watch.doubt();
      this.#cancelRequestTimer = clock.after(ASK_EVERY, () => this.#awaitAnswers());
      return;
    }
    const what = { sub: 'subscribe', unsub: 'unsubscribe', subclose: 'subscription close' }[kind];
    // The server may have done it all the same: a ghost subscription goes away with the session only.
    this.lose(
      'request_timeout',
      `no answer to the ${what} request for '${channel}' within ${Math.round(clock.now() - at)} ms`,
    );
  }

  /**
   * For the subscriptions: a request to end one of them. An answer that it is not done is no end: it is asked for again.
   * @param durable what the server does not know may be kept all the same
   * @throws SessionEnded; PermissionError; EndRefused
   */
  async ask(
    channel: string,
    send: () => StanSubscription,
    answer: 'closed' | 'unsubscribed',
    durable: boolean,
  ): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      const text = await this.#askOnce(channel, send, answer);
      if (text === undefined) return;
      const refusal = endRefusal(text);
      if (refusal === 'gone') return;
      if (refusal === 'unregistered') {
        this.lose('replaced', `the cluster does not know this session any more (ending '${channel}': ${text})`);
        throw new SessionEnded(text);
      }
      if (refusal === 'unknown-subscription') {
        if (answer === 'closed' || !durable) return;
        throw new EndRefused(text);
      }
      const delay = END_RETRIES[attempt];
      if (delay === undefined) throw new EndRefused(text);
      await this.#pause(delay);
    }
  }

  /** @returns the server's text, if it answered with an error */
  #askOnce(
    channel: string,
    send: () => StanSubscription,
    answer: 'closed' | 'unsubscribed',
  ): Promise<string | undefined> {
    return new Promise((resolve, reject) => {
      if (!this.#alive) {
        reject(new SessionEnded('the session has ended'));
        return;
      }
      const settle = this.#request(
        answer === 'closed' ? 'subclose' : 'unsub',
        channel,
        channel,
        () => reject(new SessionEnded('the session has ended')),
        (error) => {
          reject(error);
          return false;
        },
      );
      let stan: StanSubscription;
      try {
        stan = send();
      } catch (error) {
        settle();
        reject(error instanceof Error ? error : new Error(describe(error)));
        return;
      }
      stan.once(answer, () => {
        settle();
        resolve(undefined);
      });
      stan.once('error', (error: unknown) => {
        if (!settle() || !this.#alive) return;
        const text = printable(describe(error));
        if (error instanceof NatsError) this.#lose('disconnect', text, undefined, error);
        else resolve(text);
      });
    });
  }

  /** @throws SessionEnded, as soon as it has */
  #pause(delay: number): Promise<void> {
    return new Promise((resolve, reject) => {
      if (!this.#alive) {
        reject(new SessionEnded('the session has ended'));
        return;
      }
      const cancel = this.#options.clock.after(delay, () => {
        this.#pauses.delete(abandon);
        resolve();
      });
      const abandon = (): void => {
        cancel();
        reject(new SessionEnded('the session has ended'));
      };
      this.#pauses.add(abandon);
    });
  }

  #subscribeAtServer(request: SubscribeRequest): StanSubscription {
    const options = this.#stan
      .subscriptionOptions()
      .setMaxInFlight(request.maxInFlight)
      .setAckWait(request.ackWait)
      // The wrapped client's own acks go out before an asynchronous handler has even begun.
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
    return request.queueGroup === undefined
      ? this.#stan.subscribe(request.channel, options)
      : this.#stan.subscribe(request.channel, request.queueGroup, options);
  }

  #watchAcks(inbox: string, channel: string, onDenied: (error: PermissionError) => void): void {
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

  /** For the subscriptions: no more acks go there. */
  forgetAcks(inbox: string): void {
    this.#ackInboxes.delete(inbox);
  }

  /**
   * The server forbids a subject: whoever asked for it is told, or it would be asked for again for ever. The session ends over
   * what it cannot do without; that something cannot be given up at the server is not of that kind.
   */
  #denied(error: PermissionError): boolean {
    const { subject = '' } = error;
    const kind = /^_STAN\.(sub|unsub|subclose)\./.exec(subject)?.[1];
    const told = this.#deny((request) => request.kind === kind, error);
    if (kind === 'unsub' || kind === 'subclose') {
      this.#options.denied(error);
      return true;
    }
    const acks = this.#ackInboxes.get(subject);
    acks?.(error);
    const message = `the connection to ${this.server} ended: ${error.message}`;
    this.#lose('permission', message, undefined, error, told || acks !== undefined);
    return true;
  }

  /** These requests can never be. @returns whether somebody has given one up for good */
  #deny(which: (request: Request) => boolean, error: ResilientStanError): boolean {
    const denied = [...this.#requests].filter(([, request]) => which(request));
    for (const [key] of denied) this.#requests.delete(key);
    return denied.map(([, request]) => request.deny(error)).includes(true);
  }

  /**
   * Of a limit on subscriptions: the next session does without what can be done without. If there is nothing of that kind, the
   * one that was asked for last is the one that is too many.
   */
  #tooMany(complaint: ServerComplaint): boolean {
    const subscribing = [...this.#requests.values()].filter(({ kind }) => kind === 'sub');
    if (subscribing.some(({ optional }) => optional)) {
      this.#options.crowded();
      return true;
    }
    const last = subscribing.at(-1);
    if (last === undefined) return false;
    const advice =
      'Its limit counts every subscription of this client, and five more that the client needs itself: raise max_subscriptions ' +
      'at the server, or use several clients';
    return this.#deny((request) => request === last, refusedWith(last.channel, complaint, advice));
  }

  /** What is being asked for by somebody who can give it up. */
  #subscribing(): InHand[] {
    return [...this.#requests.values()]
      .filter(({ kind }) => kind === 'sub')
      .map(({ channel, name, deny }) => ({
        key: name,
        line: 0,
        giveUp: (complaint) => {
          deny(refusedWith(channel, complaint, `It ended each session in which only this was asked for: see its log`));
        },
      }));
  }

  #lose(reason: LossReason, message: string, successor?: Reach, cause?: unknown, settled = false): void {
    if (!this.#alive) return;
    // First of all: nothing that the wrapped client says from now on counts.
    this.#alive = false;
    const hedge = this.#watch.stop() ?? successor;
    const complaint = complaintIn(cause);
    if (complaint?.complaint.kind === 'subscriptions') settled = this.#tooMany(complaint);
    const requests = complaint === undefined ? [] : this.#subscribing();
    this.#dispose();
    this.#abandonRequests();
    this.#resolveLost({
      error: new ConnectionLostError(reason, this.server, message, cause === undefined ? {} : { cause }),
      registration: this.registration,
      successor: hedge,
      complaint,
      requests,
      settled,
    });
  }

  #abandonRequests(): void {
    const abandoned = [...[...this.#requests.values()].map(({ abandon }) => abandon), ...this.#pauses];
    this.#requests.clear();
    this.#pauses.clear();
    for (const abandon of abandoned) abandon();
  }

  #dispose(): void {
    const stan = this.#stan;
    clearTimeout(stan.pingTimer);
    this.#cancelRequestTimer?.();
    this.#cancelHurry?.();
    this.#publishes.stop();
    stan.cleanupOnClose();
    // A dead session sends no close request: it would unregister its successor.
    stan.closeRequests = null;
    this.#link.destroy();
    stan.removeAllListeners();
    stan.on('error', () => {});
  }
}

function refusedWith(channel: string, { text }: LastWords, advice: string): SubscribeError {
  return new SubscribeError(
    channel,
    `the server refused the subscription to channel '${channel}': '${text}'. ${advice}`,
    { serverText: text },
  );
}

function complaintIn(cause: unknown): ServerComplaint | undefined {
  return cause instanceof ServerComplaint ? cause : undefined;
}

/** A subscription as the session's users see it. */
class Made implements SessionSubscription {
  muted = false;
  readonly #session: StanSession;
  readonly #link: Link;
  readonly #subscription: StanSubscription;
  readonly #channel: string;
  readonly #durable: boolean;
  #ended: Promise<void> | undefined;
  #acks: AckFrames | undefined;

  constructor(
    session: StanSession,
    link: Link,
    subscription: StanSubscription,
    { channel, durableName }: SubscribeRequest,
  ) {
    this.#session = session;
    this.#link = link;
    this.#subscription = subscription;
    this.#channel = channel;
    this.#durable = durableName !== undefined;
  }

  ack(sequence: number): void {
    const inbox = this.#subscription.ackInbox;
    if (!this.#session.alive || inbox === undefined || this.#ended) return;
    try {
      this.#acks ??= new AckFrames(inbox, this.#channel);
      this.#link.nats.sendCommand(this.#acks.frame(sequence));
    } catch (error) {
      this.#session.lose('disconnect', `the client refused an ack: ${describe(error)}`);
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

  #end(answer: 'closed' | 'unsubscribed'): Promise<void> {
    this.mute();
    if (this.#subscription.ackInbox !== undefined) this.#session.forgetAcks(this.#subscription.ackInbox);
    const { stanConnection } = this.#subscription;
    return this.#session.ask(
      this.#channel,
      () => {
        this.#subscription.stanConnection = stanConnection;
        this.#subscription.removeAllListeners();
        this.#subscription.on('error', () => {});
        if (answer === 'closed') this.#subscription.close();
        else this.#subscription.unsubscribe();
        return this.#subscription;
      },
      answer,
      this.#durable,
    );
  }
}
