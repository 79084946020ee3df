/**
 * Tells tools for traces and metrics what a client does, by `tracingChannel` of `node:diagnostics_channel`. Without a listener
 * nothing is made and nothing is called.
 */
import { channel, type Channel } from 'node:diagnostics_channel';
import { mayBePromise, whenSettled } from './user-code.js';

/** Which client tells something. */
export interface Teller {
  readonly clientId: string;
  readonly clusterId: string;
}

/** What the listeners of one operation have in hand. It is the same object from the start to the end of it. */
interface Operation {
  result?: unknown;
  error?: unknown;
  abandoned?: boolean;
}

/**
 * The five channels of one kind of operation. Each operation tells `start`, `end`, then `error` if it failed, and then
 * `asyncStart` and `asyncEnd`. `asyncEnd` comes once and last also for an operation that is done synchronously, so a listener that
 * opens something at the start can close it there. If an operation throws, `error` comes before `end`, as Node does it.
 *
 * The channels are made by their names and not by `tracingChannel()`, which not every version of Node, Bun and Deno has in full.
 */
export class Tracing<Context extends Operation> {
  readonly #start: Channel<unknown, Context>;
  readonly #end: Channel;
  readonly #asyncStart: Channel;
  readonly #asyncEnd: Channel;
  readonly #error: Channel;

  /** @param name as `tracingChannel()` takes it */
  constructor(name: string) {
    this.#start = channel(`tracing:${name}:start`) as Channel<unknown, Context>;
    this.#end = channel(`tracing:${name}:end`);
    this.#asyncStart = channel(`tracing:${name}:asyncStart`);
    this.#asyncEnd = channel(`tracing:${name}:asyncEnd`);
    this.#error = channel(`tracing:${name}:error`);
  }

  /** Whether anybody listens. */
  get wanted(): boolean {
    return (
      this.#start.hasSubscribers ||
      this.#asyncEnd.hasSubscribers ||
      this.#error.hasSubscribers ||
      this.#end.hasSubscribers ||
      this.#asyncStart.hasSubscribers
    );
  }

  /**
   * Runs an operation, tells the listeners of it, and returns what it returns. The stores that are bound to `start` are active
   * in it. A listener that throws ends the process, as with all channels of Node, but it does not get in here.
   *
   * @param unprocessed what the operation throws or rejects with if it was given up without having failed
   */
  run<Answer>(context: Context, operation: () => Answer, unprocessed?: symbol): Answer {
    return this.#start.runStores(context, () => {
      let answer: Answer;
      let then: unknown;
      try {
        answer = operation();
        then = mayBePromise(answer) ? (answer as { then?: unknown }).then : undefined;
      } catch (thrown) {
        this.#failed(context, thrown, unprocessed);
        this.#end.publish(context);
        this.#over(context);
        throw thrown;
      }
      this.#end.publish(context);
      if (typeof then !== 'function') {
        this.#done(context, answer);
        return answer;
      }
      // Its `then` is called once and no more, because some thenables do their work there.
      return new Promise((resolve, reject) => {
        whenSettled(
          answer as object,
          (value) => {
            this.#done(context, value);
            resolve(value);
          },
          (thrown) => {
            this.#failed(context, thrown, unprocessed);
            this.#over(context);
            // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- it is passed on as it is
            reject(thrown);
          },
        );
      }) as Answer;
    });
  }

  #done(context: Context, result: unknown): void {
    context.result = result;
    this.#over(context);
  }

  #failed(context: Context, thrown: unknown, unprocessed: symbol | undefined): void {
    if (unprocessed !== undefined && thrown === unprocessed) {
      context.abandoned = true;
      return;
    }
    context.error = thrown;
    this.#error.publish(context);
  }

  #over(context: Context): void {
    this.#asyncStart.publish(context);
    this.#asyncEnd.publish(context);
  }
}
