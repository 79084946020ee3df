import { Column } from './column.js';

/**
 * Which message is at which sequence of the channel, as far as any subscription has seen it. An acknowledgement does not say
 * the sequence. So this tells whether a message that a subscription never got is among those it was told to be gone.
 */
export class Places {
  readonly #publisher = new Column(Uint16Array);
  readonly #counter = new Column(Float64Array);
  #highest = 0;

  /** The highest sequence that any subscription has seen. */
  get highest(): number {
    return this.#highest;
  }

  /** Notes the message at a sequence. Returns true if it is new, also after the channel has begun again. */
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

  /** The message at a sequence. Undefined when none was seen. */
  at(sequence: number): { publisher: number; counter: number } | undefined {
    const publisher = this.#publisher.get(sequence);
    return publisher === 0 ? undefined : { publisher: publisher - 1, counter: this.#counter.get(sequence) };
  }
}
