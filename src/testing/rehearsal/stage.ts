/** What is told of a rehearsal, how long each part of it may take, and how it ends early. */
import { AbortedError, TimeoutError } from '../../errors.js';
import { realTime, sleep } from '../wait.js';

/** How long a part of the move may take, in ms, on a busy machine too. */
export const PATIENCE = 120_000;
/** After this time, and again each time that it has passed, it is told what is waited for, in ms. */
const TOLD_EVERY = 10_000;

/** One part that something has to be waited for. */
export interface Part {
  /** What is waited for, as it is now: "the copy is at 4 of 5". It completes "still waiting: …" and "after 120 s: …". */
  readonly what: string | (() => string);
  /** Time after which it is given up, in ms. Default: {@link PATIENCE}. */
  readonly timeout?: number;
}

export class Stage {
  readonly #began = performance.now();
  readonly #onEvent: ((line: string) => void) | undefined;
  readonly #over = new AbortController();
  readonly #failed: Promise<never>;
  readonly #underWay = new Set<Promise<unknown>>();
  readonly #forget: () => void;

  /**
   * @param onEvent is called with each line
   * @param signal the one that ends the rehearsal from outside
   */
  constructor(onEvent: ((line: string) => void) | undefined, signal: AbortSignal | undefined) {
    this.#onEvent = onEvent;
    this.#failed = new Promise((_, reject) => {
      this.#over.signal.addEventListener('abort', () => reject(this.#over.signal.reason as Error), { once: true });
    });
    this.#failed.catch(() => {}); // whoever waits hears of it
    const stop = (): void => {
      this.say('the rehearsal is aborted: everything of it is ended');
      this.fail(new AbortedError('the rehearsal was aborted', { cause: signal?.reason }));
    };
    signal?.addEventListener('abort', stop, { once: true });
    this.#forget = () => signal?.removeEventListener('abort', stop);
    if (signal?.aborted === true) stop();
  }

  /** Is aborted when the rehearsal is over, in whatever way. */
  get signal(): AbortSignal {
    return this.#over.signal;
  }

  /** Tells a line, with the time before it. */
  say(text: string): void {
    const seconds = ((performance.now() - this.#began) / 1000).toFixed(1).padStart(6);
    this.#onEvent?.(`${seconds} s  ${text}`);
  }

  /** Tells the command that a team types for what happens now. */
  command(text: string): void {
    this.say(`$ ${text}`);
  }

  /** Ends the rehearsal early: all that is waited for is given up with this error. */
  fail(error: Error): void {
    this.#over.abort(error);
  }

  /**
   * Waits for a part. When it takes long, it is told what is waited for.
   * @throws TimeoutError that says what was waited for; what the rehearsal was ended with; what the part throws
   */
  async wait<T>(work: Promise<T>, { what, timeout = PATIENCE }: Part): Promise<T> {
    const words = (): string => (typeof what === 'string' ? what : what());
    const settled = work.catch(() => {}).finally(() => this.#underWay.delete(settled));
    this.#underWay.add(settled);
    const cancels: (() => void)[] = [];
    const late = new Promise<never>((_, reject) => {
      cancels[0] = realTime(timeout, () => reject(new TimeoutError(`after ${timeout / 1000} s: ${words()}`)));
    });
    const tellLater = (): void => {
      cancels[1] = realTime(TOLD_EVERY, () => {
        this.say(`still waiting: ${words()}`);
        tellLater();
      });
    };
    tellLater();
    try {
      return await Promise.race([work, late, this.#failed]);
    } finally {
      for (const cancel of cancels) cancel();
    }
  }

  /** Waits for a time. */
  async pause(ms: number): Promise<void> {
    const end = performance.now() + ms;
    for (let left = ms; left > 0; left = end - performance.now()) {
      if (this.signal.aborted) await this.#failed;
      await sleep(Math.min(50, left));
    }
  }

  /** Ends it. What is under way hears of it by {@link signal}. */
  end(): void {
    this.#forget();
    this.fail(new AbortedError('the rehearsal is over'));
  }

  /** Resolves when nothing is under way any more that was given up. @param timeout how long that may take, in ms */
  async ended(timeout: number): Promise<void> {
    const deadline = performance.now() + timeout;
    while (this.#underWay.size > 0 && performance.now() < deadline) await sleep(20);
  }
}
