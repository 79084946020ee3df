/**
 * Ends a subscription: it takes no more messages, its handlers finish, their messages are acknowledged, and the server closes
 * the subscription or drops the durable.
 */
import { EndRefused, type Session, type SubscribeRequest } from '../connection/protocol.js';
import { endRefusal } from '../connection/server-texts.js';
import { ClosedError, describe, PermissionError, SubscribeError, toOurs } from '../errors.js';
import { within } from '../within.js';
import type { Clock } from '../clock/clock.js';
import type { Departures } from './departures.js';
import { GRACE, type Handling } from './handling.js';
import type { ReceivedMessage } from './message.js';
import type { ServerSubscription } from './server-subscription.js';
import type { ResolvedSubscribeOptions } from './subscribe-options.js';

/** Longest wait for the server's answer when a subscription ends, in ms. */
const ANSWER_PATIENCE = 1000;

/** The parts of the client that all ends use. */
export interface EndingOwner {
  /** The durables that are being ended. */
  readonly departures: Departures;
  /** Whether another subscription of this client has the same durable. */
  inUse(subscription: { readonly channel: string; readonly options: ResolvedSubscribeOptions }): boolean;
  /** Drops a durable that no subscription has at the moment. Resolves when the server has dropped it. */
  drop(request: SubscribeRequest): Promise<void>;
  /** Takes the promise of a drop, which the client waits for when it closes. */
  dropping(outcome: Promise<void>): void;
}

export interface EndingHost {
  readonly channel: string;
  readonly options: ResolvedSubscribeOptions;
  readonly clock: Clock;
  /** Returns the subscribe request. */
  request(): { request: SubscribeRequest };
  /** Stops the intake. Queued messages are not handled. `reason` is set if nobody asked for the end. */
  stopping(reason: Error | undefined): void;
  /** Rejects the promise of whoever waits for the subscription to be made. */
  ending(error: Error): void;
  /** Leaves unacknowledged messages to other members of the group. */
  giveBack(): void;
  /** Tells everybody that the subscription is over in this client. */
  over(error: Error | undefined): void;
}

/** The state of the end at the server. */
interface Leaving {
  /** Whether the durable is dropped. */
  readonly drop: boolean;
  /** Resolves when the subscription has ended in this client. It never rejects. */
  readonly left: Promise<void>;
  /** Resolves with whether the server has confirmed the end. It rejects when the server keeps the subscription. */
  readonly given: Promise<boolean>;
}

export class Ending {
  readonly #host: EndingHost;
  readonly #owner: EndingOwner;
  readonly #handling: Handling;
  readonly #server: ServerSubscription;
  #state: 'open' | 'draining' | 'ending' | 'over' = 'open';
  #leaving: Leaving | undefined;
  #unsubscribing: Promise<void> | undefined;

  constructor(host: EndingHost, owner: EndingOwner, handling: Handling, server: ServerSubscription) {
    this.#host = host;
    this.#owner = owner;
    this.#handling = handling;
    this.#server = server;
  }

  /** Whether the subscription takes no more messages. */
  get stopped(): boolean {
    return this.#state !== 'open';
  }

  /** Whether the subscription is over, or about to be. */
  get ended(): boolean {
    return this.#state === 'ending' || this.#state === 'over';
  }

  /** Whether the subscription ends and its durable is dropped. */
  get dropped(): boolean {
    return this.#leaving?.drop === true;
  }

  /**
   * Ends the subscription and keeps a durable. It never rejects. Within a handler of the subscription it waits for the other
   * handlers only.
   */
  close(error?: Error): Promise<void> {
    const { calling } = this.#handling;
    if (this.#state === 'over') return Promise.resolve();
    const { left } = (this.#leaving ??= this.#leave(false, error));
    return calling === undefined ? left : this.#handling.idle(calling);
  }

  /**
   * Ends the subscription and drops a durable. If the subscription has ended already, it only drops the durable.
   * @throws ClosedError, PermissionError, SubscribeError: the server keeps the durable
   */
  unsubscribe(): Promise<void> {
    if (this.#unsubscribing === undefined) {
      const unsubscribing = this.#unsubscribe().catch((thrown: unknown) => {
        throw toOurs(thrown, 'unsubscribe()');
      });
      this.#unsubscribing = unsubscribing;
      this.#owner.dropping(unsubscribing);
      // A rejection that nobody handles must not end the process. After it, unsubscribe() may be called again.
      unsubscribing.catch(() => {
        this.#unsubscribing = undefined;
      });
    }
    return this.#unsubscribing;
  }

  async #unsubscribe(): Promise<void> {
    const { channel, options } = this.#host;
    const { durableName } = options;
    const { request } = this.#host.request();
    const first = this.#leaving === undefined && !this.ended;
    if (first) {
      // Without a session, the drop is noted at once, because a new durable of that name may be waiting for the next session.
      const dropping =
        durableName !== undefined && this.#server.session === undefined ? this.#owner.drop(request) : undefined;
      this.#leaving = this.#leave(true, undefined);
      if (dropping !== undefined) return await dropping;
    }
    const leaving = this.#leaving;
    if (durableName === undefined) {
      await leaving?.left;
      if (first) await leaving?.given.catch(onlyIfForbidden);
      return;
    }
    if (!first && this.#owner.inUse(this.#host)) throw inUseAgain(channel, durableName);
    let told = false;
    try {
      told = (await leaving?.given) === true && first;
    } catch (error) {
      if (first && error instanceof PermissionError) throw error;
      // The durable can only be dropped on another session now. The caller is told, and may ask for that.
      if (first && endRefusal((error as Error).message) === 'unknown') throw stillKept(channel, durableName, error);
    }
    if (!told) await this.#owner.drop(request);
  }

  /** Ends the subscription in this client. It waits for the server's answer, but not for longer than a limit. */
  #leave(drop: boolean, error: Error | undefined): Leaving {
    const { clock, options } = this.#host;
    const { calling } = this.#handling;
    const { session } = this.#server;
    this.#stop(error, new ClosedError(`the subscription to channel '${this.#host.channel}' was closed`));
    // A handler that waits for this drop would wait for itself, so the drop does not wait for it. A wait for close() has a
    // limit anyway.
    const idle = drop && calling !== undefined ? this.#idleBut(calling) : this.#handling.idle();
    // After `ackWait` the server gives the messages to another subscription anyway.
    const ready = atMost(clock, options.ackWait, idle);
    const given = this.#server.end(
      drop,
      ready.then(() => this.#host.giveBack()),
    );
    const answered = given.then(
      () => true,
      (refusal: unknown) => {
        this.loseOver(session, refusal);
        return false;
      },
    );
    if (session !== undefined) this.#owner.departures.add(session, this.#durable, answered);
    const left = (async () => {
      await ready;
      await atMost(clock, ANSWER_PATIENCE, answered);
      this.#finish(error);
    })();
    return { drop, left, given };
  }

  /**
   * Ends the session if the server refuses to end the subscription of a group member. A member that listens to nothing would
   * keep messages from the others. Other subscriptions may stay.
   */
  loseOver(session: Session | undefined, error: unknown): void {
    if (this.#host.options.queueGroup !== undefined && error instanceof EndRefused)
      session?.lose('request_timeout', `the subscription to '${this.#host.channel}' cannot be ended: ${error.message}`);
  }

  /** Resolves when no other handler runs than this one, which gets some time as well. */
  async #idleBut(calling: ReceivedMessage): Promise<void> {
    await this.#handling.idle(calling);
    await atMost(this.#host.clock, GRACE, this.#handling.idle());
  }

  get #durable(): { channel: string; durableName: string | undefined; queueGroup: string | undefined } {
    const { durableName, queueGroup } = this.#host.options;
    return { channel: this.#host.channel, durableName, queueGroup };
  }

  /** Resolves when the server has released the durable on this session. It is undefined if there is nothing to wait for. */
  passed(session: Session): Promise<void> | undefined {
    return this.#owner.departures.passed(session, this.#durable);
  }

  /** Stops the intake. The server keeps the subscription until the session ends. */
  drain(): void {
    if (this.#state === 'open') this.#state = 'draining';
    this.#server.stop();
    this.#host.stopping(undefined);
  }

  /** Ends the subscription at once without telling the server. */
  abandon(error: Error | undefined): void {
    if (this.#state === 'over') return;
    this.#stop(error, new ClosedError());
    this.#server.detach();
    this.#finish(error);
  }

  #stop(reason: Error | undefined, otherwise: ClosedError): void {
    this.#state = 'ending';
    this.#server.stop();
    this.#host.stopping(reason);
    this.#host.ending(reason ?? otherwise);
  }

  #finish(error: Error | undefined): void {
    if (this.#state === 'over') return;
    this.#state = 'over';
    this.#host.over(error);
  }
}

/** Resolves with the promise, or after a time in ms. The promise must not reject. */
async function atMost(clock: Clock, milliseconds: number, promise: Promise<unknown>): Promise<void> {
  const late = (): undefined => undefined;
  await within(promise, milliseconds, late, (delay, callback) => clock.after(delay, callback, { unref: true }));
}

function onlyIfForbidden(error: unknown): void {
  if (error instanceof PermissionError) throw error;
}

function inUseAgain(channel: string, durableName: string): SubscribeError {
  return new SubscribeError(
    channel,
    `the durable '${durableName}' on channel '${channel}' was not dropped, for this client is subscribed to it again: ` +
      `unsubscribe that subscription`,
  );
}

function stillKept(channel: string, durableName: string, cause: unknown): SubscribeError {
  return new SubscribeError(
    channel,
    `the durable '${durableName}' on channel '${channel}' could not be dropped: the server still keeps it ` +
      `(${describe(cause)}). Call unsubscribe() again when the cluster is well`,
    { cause, ...(cause instanceof EndRefused && { serverText: cause.message }) },
  );
}
