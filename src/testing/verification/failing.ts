/** Decides for which messages a handler fails, and how often. Pure. */
import type { HandlerFailures } from '../nemesis/nemesis.js';
import { randomFrom } from '../random.js';

export class Failing {
  #how: HandlerFailures = { share: 0, times: 0, choice: 0 };
  /** How often each message that has failed has to fail. */
  readonly #left = new Map<string, number>();

  begin(how: HandlerFailures): void {
    this.#how = how;
  }

  /** Whether a handler has to fail now. A message that has failed once goes on up to its number, also when no other one begins. */
  next(subscription: string, sequence: number): boolean {
    const { share, times, choice } = this.#how;
    const key = `${subscription} ${sequence}`;
    const left = this.#left.get(key) ?? (this.#isChosen(share, choice, sequence) ? times : undefined);
    if (left === undefined) return false;
    if (left > 0) this.#left.set(key, left - 1);
    // It is processed now. If it is handed over again, it may fail again.
    else this.#left.delete(key);
    return left > 0;
  }

  /** A number from 0 to 1 for a message. It is the same for all subscriptions, and in each run with this seed. */
  #isChosen(share: number, choice: number, sequence: number): boolean {
    return share > 0 && randomFrom(Math.floor(choice * 2 ** 32) ^ Math.imul(sequence, 0x9e3779b1))() < share;
  }
}
