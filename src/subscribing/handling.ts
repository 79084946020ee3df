/** Runs the handler: in order, so many at a time; synchronous ones without a promise or a closure of their own. */
import { mayBePromise, whenSettled } from '../user-code.js';
import type { ReceivedMessage } from './message.js';
import { Ring } from './ring.js';

/** How long a handler or a loop body is waited for that may itself be waiting for who waits, ms. */
export const GRACE = 500;

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
  /** The message whose handler is being called: it has not come to its first `await` yet. */
  #calling: ReceivedMessage | undefined;
  #open = false;
  #stopped = false;
  #waiting: Waiting[] = [];

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
    const busy = this.#running >= this.#concurrency || this.#calling !== undefined;
    if (this.#queue.length > 0 || busy || !this.#open) {
      this.#queue.push(message);
      return;
    }
    this.#calling = message;
    this.#run(message);
    this.#calling = undefined;
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

  /** Whoever calls us now does so from within the handler of this message, before its first `await`. */
  get calling(): ReceivedMessage | undefined {
    return this.#calling;
  }

  /**
   * Resolves when no handler runs.
   * @param but the handler of this one is not waited for: it may be the one who waits
   */
  idle(but?: ReceivedMessage): Promise<void> {
    if (this.#running === (but === undefined ? 0 : 1)) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ but, resolve }));
  }

  /** A loop, not a recursion: ten thousand queued messages may be waiting for one slow handler. */
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
    else void rest.then(() => this.#ended(message));
  }

  #ended(message: ReceivedMessage): void {
    this.#running--;
    this.#pump();
    if (this.#waiting.length > 0) this.#tell(message);
  }

  /** The handler of this message is through. */
  #tell(message: ReceivedMessage): void {
    for (const waiting of this.#waiting) if (waiting.but === message) waiting.but = undefined;
    const idle = (waiting: Waiting): boolean => this.#running === (waiting.but === undefined ? 0 : 1);
    const told = this.#waiting.filter(idle);
    if (told.length === 0) return;
    this.#waiting = this.#waiting.filter((waiting) => !idle(waiting));
    for (const { resolve } of told) resolve();
  }
}

/** Who waits until no handler runs, or only the one of a certain message does. */
interface Waiting {
  but: ReceivedMessage | undefined;
  resolve: () => void;
}

/** Everything else is an answer at once. @throws what a `then` throws that is a getter */
function isThenable(value: unknown): value is PromiseLike<unknown> {
  return mayBePromise(value) && typeof (value as { then?: unknown }).then === 'function';
}
