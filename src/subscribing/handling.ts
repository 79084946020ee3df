/** Runs the handler: in order, so many at a time; synchronous ones without a promise or a closure of their own. */
import { mayBePromise, whenSettled } from '../user-code.js';
import type { ReceivedMessage } from './message.js';
import { Ring } from './ring.js';

export interface HandlingHost {
  /** The handler is about to get it. */
  starting(message: ReceivedMessage): void;
  /** The handler is through. Never throws. */
  processed(message: ReceivedMessage): void;
  /** The handler threw or rejected. What is returned still belongs to the handling. Never throws or rejects. */
  failed(message: ReceivedMessage, error: unknown): Promise<void> | undefined;
}

export class Handling {
  readonly #host: HandlingHost;
  readonly #handler: (message: ReceivedMessage) => void | Promise<void>;
  readonly #concurrency: number;
  readonly #queue = new Ring<ReceivedMessage>();
  #running = 0;
  #pumping = false;
  #open = false;
  #stopped = false;
  #onIdle: (() => void)[] = [];

  constructor(host: HandlingHost, handler: (message: ReceivedMessage) => void | Promise<void>, concurrency: number) {
    this.#host = host;
    this.#handler = handler;
    this.#concurrency = concurrency;
  }

  /** From now on handlers run. */
  open(): void {
    this.#open = true;
    this.#pump();
  }

  push(message: ReceivedMessage): void {
    if (this.#stopped) return;
    if (this.#queue.length > 0 || this.#running >= this.#concurrency || this.#pumping || !this.#open) {
      this.#queue.push(message);
      return;
    }
    this.#pumping = true;
    this.#run(message);
    this.#pumping = false;
    // A handler that was given messages while it ran (by a session that delivers within a call of ours).
    if (this.#queue.length > 0) this.#pump();
  }

  /** No handler starts any more. Returns what will not run. */
  stop(): ReceivedMessage[] {
    this.#stopped = true;
    const dropped: ReceivedMessage[] = [];
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) dropped.push(next);
    return dropped;
  }

  get running(): number {
    return this.#running;
  }

  /** Resolves when no handler runs. */
  idle(): Promise<void> {
    if (this.#running === 0) return Promise.resolve();
    return new Promise((resolve) => this.#onIdle.push(resolve));
  }

  /** A loop, not a recursion: ten thousand queued messages may be waiting for one slow handler. */
  #pump(): void {
    if (this.#pumping || !this.#open) return;
    this.#pumping = true;
    while (this.#running < this.#concurrency) {
      const next = this.#queue.shift();
      if (next === undefined) break;
      this.#run(next);
    }
    this.#pumping = false;
  }

  #run(message: ReceivedMessage): void {
    this.#host.starting(message);
    this.#running++;
    let result: unknown;
    try {
      result = this.#handler(message);
      if (isThenable(result)) {
        whenSettled(
          result,
          () => {
            this.#host.processed(message);
            this.#ended();
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
    if (--this.#running === 0 && this.#onIdle.length > 0) this.#becomeIdle();
  }

  #failed(message: ReceivedMessage, error: unknown): void {
    const rest = this.#host.failed(message, error);
    if (rest === undefined) this.#ended();
    else void rest.then(() => this.#ended());
  }

  #ended(): void {
    this.#running--;
    this.#pump();
    if (this.#running === 0) this.#becomeIdle();
  }

  #becomeIdle(): void {
    const waiting = this.#onIdle;
    this.#onIdle = [];
    for (const resolve of waiting) resolve();
  }
}

/** Everything else is an answer at once. @throws what a `then` throws that is a getter */
function isThenable(value: unknown): value is PromiseLike<unknown> {
  return mayBePromise(value) && typeof (value as { then?: unknown }).then === 'function';
}
