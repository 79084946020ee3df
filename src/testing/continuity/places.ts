import { Column } from './column.js';

/**
 * What is at which sequence of the channel, as far as any subscription has seen it. An acknowledgement does not say where
 * its message was stored, so this is how a message that one of them never got is found in what that one was told.
 */
export class Places {
  readonly #publisher = new Column(Uint16Array);
  readonly #counter = new Column(Float64Array);
  #highest = 0;

  /** The highest sequence that anybody has seen. */
  get highest(): number {
    return this.#highest;
  }

  /** True: nobody had seen it before. A channel that began again is seen afresh. */
  note(sequence: number, publisher: number, counter: number): boolean {
    const known = this.#publisher.get(sequence);
    if (known === publisher + 1 && this.#counter.get(sequence) === counter) return false;
    if (known !== 0) {
      this.#publisher.clear();
      this.#counter.clear();
      this.#highest = 0;
    }
    this.#publisher.set(sequence, publisher + 1);
    this.#counter.set(sequence, counter);
    this.#highest = Math.max(this.#highest, sequence);
    return true;
  }

  /** Undefined: nobody has seen it. */
  at(sequence: number): { publisher: number; counter: number } | undefined {
    const publisher = this.#publisher.get(sequence);
    return publisher === 0 ? undefined : { publisher: publisher - 1, counter: this.#counter.get(sequence) };
  }
}
