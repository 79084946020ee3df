/**
 * The end of a subscription: it takes no more messages, its handlers finish and are acknowledged, the server is told, and a
 * durable is kept or dropped.
 */
import { EndRefused, type Session, type SubscribeRequest } from '../connection/protocol.js';
import { endRefusal } from '../connection/server-texts.js';
import { ClosedError, describe, PermissionError, SubscribeError, toOurs } from '../errors.js';
import type { Clock } from './clock.js';
import type { Departures } from './departures.js';
import { GRACE, type Handling } from './handling.js';
import type { ReceivedMessage } from './message.js';
import type { ServerSubscription } from './server-subscription.js';
import type { ResolvedSubscribeOptions } from './subscribe-options.js';

/** How long the end of a subscription waits for the server's word that it has it no more, ms. */
const ANSWER_PATIENCE = 1000;

/** What all ends of a client share. */
export interface EndingOwner {
  /** Durables on their way out. */
  readonly departures: Departures;
  /** Another subscription of this client has its durable. */
  inUse(subscription: { readonly channel: string; readonly options: ResolvedSubscribeOptions }): boolean;
  /** Drops a durable that is not online. Resolves when the server has. */
  drop(request: SubscribeRequest): Promise<void>;
  /** It wants its durable dropped: to be waited for before the client closes. */
  dropping(outcome: Promise<void>): void;
}

export interface EndingHost {
  readonly channel: string;
  readonly options: ResolvedSubscribeOptions;
  readonly clock: Clock;
  /** What it asks the server for. */
  request(): { request: SubscribeRequest };
  /** Nothing is taken any more, and what is queued will not run; with the reason if nobody asked for it. */
  stopping(reason: Error | undefined): void;
  /** It has ended for whoever waits for it to be made, with this. */
  ending(error: Error): void;
  /** Another member may have what this one has left unacknowledged. */
  giveBack(): void;
  /** It is over, here. */
  over(error: Error | undefined): void;
}

/** What has come of telling the server. */
interface Leaving {
  /** A durable is dropped. */
  readonly drop: boolean;
  /** It has ended, here. Never rejects. */
  readonly left: Promise<void>;
  /** Whether the server has confirmed it; rejects when the server keeps it. */
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

  /** It takes no more messages. */
  get stopped(): boolean {
    return this.#state !== 'open';
  }

  /** It is over, or about to be. */
  get ended(): boolean {
    return this.#state === 'ending' || this.#state === 'over';
  }

  /** It ends, and its durable with it. */
  get dropped(): boolean {
    return this.#leaving?.drop === true;
  }

  /** Ends it and keeps a durable. Never rejects. Within its own handler it waits for the others only. */
  close(error?: Error): Promise<void> {
    const { calling } = this.#handling;
    if (this.#state === 'over') return Promise.resolve();
    const { left } = (this.#leaving ??= this.#leave(false, error));
    return calling === undefined ? left : this.#handling.idle(calling);
  }

  /**
   * Ends it and drops a durable. Once it has ended, only drops the durable.
   * @throws ClosedError, PermissionError, SubscribeError: the server keeps the durable
   */
  unsubscribe(): Promise<void> {
    if (this.#unsubscribing === undefined) {
      const unsubscribing = this.#unsubscribe().catch((thrown: unknown) => {
        throw toOurs(thrown, 'unsubscribe()');
      });
      this.#unsubscribing = unsubscribing;
      this.#owner.dropping(unsubscribing);
      // Whoever does not care for the outcome shall not be killed by it. Who does may try again.
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
      // Without a session, asked for at once: a new durable of that name may be waiting for the next one.
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
      // Only the end of the session ends it now, and on the next one it can be dropped. Who is told may ask for that.
      if (first && endRefusal((error as Error).message) === 'unknown') throw stillKept(channel, durableName, error);
    }
    if (!told) await this.#owner.drop(request);
  }

  /** Its end, here, waits for what the server says, but not for ever. */
  #leave(drop: boolean, error: Error | undefined): Leaving {
    const { clock, options } = this.#host;
    const { calling } = this.#handling;
    const { session } = this.#server;
    this.#stop(error, new ClosedError(`the subscription to channel '${this.#host.channel}' was closed`));
    // A handler that waits for this very drop would be waited for in vain. One that waits for close() does not wait long.
    const idle = drop && calling !== undefined ? this.#idleBut(calling) : this.#handling.idle();
    // No longer than ackWait: by then the server has given their messages to somebody else anyhow.
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
   * The server refuses to end a subscription. On the next session, it has ended. As a member of a group that listens to
   * nothing it would keep messages from the others; all else may stay.
   */
  loseOver(session: Session | undefined, error: unknown): void {
    if (this.#host.options.queueGroup !== undefined && error instanceof EndRefused)
      session?.lose('request_timeout', `the subscription to '${this.#host.channel}' cannot be ended: ${error.message}`);
  }

  /** No handler runs but this one, which gets some time all the same. */
  async #idleBut(calling: ReceivedMessage): Promise<void> {
    await this.#handling.idle(calling);
    await atMost(this.#host.clock, GRACE, this.#handling.idle());
  }

  get #durable(): { channel: string; durableName: string | undefined; queueGroup: string | undefined } {
    const { durableName, queueGroup } = this.#host.options;
    return { channel: this.#host.channel, durableName, queueGroup };
  }

  /** Resolves when the server has let go of what else has its durable on this session; undefined: at once. */
  passed(session: Session): Promise<void> | undefined {
    return this.#owner.departures.passed(session, this.#durable);
  }

  /** No message is taken any more; the server keeps it until the session ends. */
  drain(): void {
    if (this.#state === 'open') this.#state = 'draining';
    this.#server.stop();
    this.#host.stopping(undefined);
  }

  /** It is over at once, here; the server is not told. */
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

/** Resolves with the promise, which must not reject, or after so many ms. */
async function atMost(clock: Clock, milliseconds: number, promise: Promise<unknown>): Promise<void> {
  let cancel: (() => void) | undefined;
  const late = new Promise<void>((resolve) => {
    cancel = clock.after(milliseconds, resolve);
  });
  await Promise.race([promise, late]);
  cancel?.();
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
    { cause },
  );
}
