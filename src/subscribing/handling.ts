/**
 * Runs the handler on messages in order, on a limited number at a time. A synchronous handler costs neither a promise nor a
 * closure.
 */
import { AsyncResource } from 'node:async_hooks';
import { mayBePromise, whenSettled } from '../user-code.js';
import type { ReceivedMessage } from './message.js';
import { Ring } from './ring.js';

/** Longest wait for a handler or a loop body that may itself wait for the caller, in ms. */
export const GRACE = 500;

export interface HandlingHost {
  /** Hears that the handler is about to get a message. */
  starting(message: ReceivedMessage): void;
  /** Hears that the handler has returned a promise, so that it is not done yet. */
  pending(message: ReceivedMessage): void;
  /** Hears that the handler is done with a message. It never throws. */
  processed(message: ReceivedMessage): void;
  /**
   * Hears that the handler threw or rejected. The message counts as running until the returned promise resolves, and the
   * handler is then called again if it resolves to true. It never throws or rejects.
   */
  failed(message: ReceivedMessage, error: unknown): Promise<boolean> | undefined;
}

export class Handling {
  readonly #host: HandlingHost;
  readonly #handler: (message: ReceivedMessage) => void | Promise<void>;
  readonly #concurrency: number;
  readonly #queue = new Ring<ReceivedMessage>();
  /**
   * The async context of the call of `subscribe()`, in which this object is made. The session that brings a message runs in
   * that of `connect()`. To enter it costs some nanoseconds; a snapshot of `AsyncLocalStorage` costs ten times as much.
   */
  readonly #context = new AsyncResource('STANSUBSCRIPTION');
  #running = 0;
  /** The message whose handler is being called and has not reached its first `await`. */
  #calling: ReceivedMessage | undefined;
  #open = false;
  #stopped = false;
  #waiting: Waiting[] = [];

  constructor(host: HandlingHost, handler: (message: ReceivedMessage) => void | Promise<void>, concurrency: number) {
    this.#host = host;
    this.#handler = handler;
    this.#concurrency = concurrency;
  }

  /** Lets handlers run from now on. */
  open(): void {
    this.#open = true;
    this.#pump();
  }

  push(message: ReceivedMessage): void {
    if (this.#stopped) return;
    const busy = this.#running >= this.#concurrency || this.#calling !== undefined;
    if (this.#queue.length > 0 || busy || !this.#open) {
      this.#queue.push(message);
      return;
    }
    this.#calling = message;
    this.#run(message);
    this.#calling = undefined;
    // A session that delivers within a call of ours has given the handler messages while it ran.
    if (this.#queue.length > 0) this.#pump();
  }

  /** Starts no more handlers. Returns the messages that are not handled. */
  stop(): ReceivedMessage[] {
    this.#stopped = true;
    const dropped: ReceivedMessage[] = [];
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) dropped.push(next);
    return dropped;
  }

  get running(): number {
    return this.#running;
  }

  /** The message in whose handler the caller of this code is, before the first `await` of the handler. */
  get calling(): ReceivedMessage | undefined {
    return this.#calling;
  }

  /**
   * Resolves when no handler runs.
   * @param but a message whose handler is not waited for, because it may be the caller
   */
  idle(but?: ReceivedMessage): Promise<void> {
    if (this.#running === (but === undefined ? 0 : 1)) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ but, resolve }));
  }

  /** This is a loop and not a recursion, because ten thousand messages may be queued behind one slow handler. */
  #pump(): void {
    if (this.#calling !== undefined || !this.#open) return;
    while (this.#running < this.#concurrency) {
      const next = this.#queue.shift();
      if (next === undefined) break;
      this.#calling = next;
      this.#run(next);
      this.#calling = undefined;
    }
  }

  #run(message: ReceivedMessage): void {
    this.#running++;
    this.#context.runInAsyncScope(this.#call, this, message);
  }

  /** Calls the handler in its context. What follows from that, as a dead letter, is in the same context. */
  #call(message: ReceivedMessage): void {
    this.#host.starting(message);
    let result: unknown;
    try {
      result = this.#handler(message);
      if (isThenable(result)) {
        this.#host.pending(message);
        whenSettled(
          result,
          () => {
            this.#host.processed(message);
            this.#ended(message);
          },
          (error) => this.#failed(message, error),
        );
        return;
      }
    } catch (error) {
      this.#failed(message, error);
      return;
    }
    this.#host.processed(message);
    this.#running--;
    if (this.#waiting.length > 0) this.#tell(message);
  }

  #failed(message: ReceivedMessage, error: unknown): void {
    const rest = this.#host.failed(message, error);
    if (rest === undefined) this.#ended(message);
    else void rest.then((again) => (again ? this.#again(message) : this.#ended(message)));
  }

  /** Calls the handler again on a message that has kept its place. */
  #again(message: ReceivedMessage): void {
    this.#calling = message;
    this.#context.runInAsyncScope(this.#call, this, message);
    this.#calling = undefined;
    this.#pump();
  }

  #ended(message: ReceivedMessage): void {
    this.#running--;
    this.#pump();
    if (this.#waiting.length > 0) this.#tell(message);
  }

  /** Tells those who wait that the handler of this message is done. */
  #tell(message: ReceivedMessage): void {
    for (const waiting of this.#waiting) if (waiting.but === message) waiting.but = undefined;
    const idle = (waiting: Waiting): boolean => this.#running === (waiting.but === undefined ? 0 : 1);
    const told = this.#waiting.filter(idle);
    if (told.length === 0) return;
    this.#waiting = this.#waiting.filter((waiting) => !idle(waiting));
    for (const { resolve } of told) resolve();
  }
}

/** Somebody who waits until no handler runs, or only the one of a certain message. */
interface Waiting {
  but: ReceivedMessage | undefined;
  resolve: () => void;
}

/**
 * Whether a result is a promise. Every other value is a result at once.
 * @throws what a getter named `then` throws
 */
function isThenable(value: unknown): value is PromiseLike<unknown> {
  return mayBePromise(value) && typeof (value as { then?: unknown }).then === 'function';
}
