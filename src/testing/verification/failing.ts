/** Which messages a handler is to fail for, and how often. Pure. */
import type { HandlerFailures } from '../nemesis/nemesis.js';
import { randomFrom } from '../random.js';

export class Failing {
  #how: HandlerFailures = { share: 0, times: 0, choice: 0 };
  /** Messages that have failed, and how often they are to. */
  readonly #left = new Map<string, number>();

  begin(how: HandlerFailures): void {
    this.#how = how;
  }

  /** Whether to fail now. A message that has begun to fail does so as often as it is to, also when no other begins any more. */
  next(subscription: string, sequence: number): boolean {
    const { share, times, choice } = this.#how;
    const key = `${subscription} ${sequence}`;
    const left = this.#left.get(key) ?? (this.#isChosen(share, choice, sequence) ? times : undefined);
    if (left === undefined) return false;
    if (left > 0) this.#left.set(key, left - 1);
    // It is through now; when it is handed over again, that is another matter.
    else this.#left.delete(key);
    return left > 0;
  }

  /** The same for all subscriptions, and for every run of the seed. */
  #isChosen(share: number, choice: number, sequence: number): boolean {
    return share > 0 && randomFrom(Math.floor(choice * 2 ** 32) ^ Math.imul(sequence, 0x9e3779b1))() < share;
  }
}
