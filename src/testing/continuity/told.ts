import { Column } from './column.js';

/**
 * The sequences that a subscription was told to be gone.
 * @category Continuity
 */
export interface Gap {
  /** The first sequence. */
  from: number;
  /** The last sequence. */
  to: number;
  /** The life or the member of the subscription that was told. Default 0. */
  life?: number;
}

/** All sequences that one subscription was told to be gone. */
export class Told {
  /** The gaps as they were told. */
  readonly gaps: (Required<Gap> & { at: number })[] = [];
  /** For each sequence the first life that was told, plus 1. 0: none was. */
  readonly #life = new Column(Uint32Array);
  readonly #false = new Column(Uint8Array);
  #total = 0;
  #falsehoods = 0;

  /** How many different sequences were told to be gone. */
  get total(): number {
    return this.#total;
  }

  /** How many of them were there all the same. */
  get falsehoods(): number {
    return this.#falsehoods;
  }

  has(sequence: number): boolean {
    return this.#life.get(sequence) !== 0;
  }

  /** The first life that was told that this sequence is gone. */
  lifeOf(sequence: number): number {
    return this.#life.get(sequence) - 1;
  }

  /** How many sequences of a gap the same life was told before. */
  again({ from, to, life = 0 }: Gap): number {
    const overlap = (gap: Required<Gap>): number => Math.max(Math.min(gap.to, to) - Math.max(gap.from, from) + 1, 0);
    return this.gaps.filter((gap) => gap.life === life).reduce((sum, gap) => sum + overlap(gap), 0);
  }

  /** Notes a gap. Returns those of its sequences that no life was told before. */
  note({ from, to, life = 0 }: Gap, at: number): number[] {
    this.gaps.push({ from, to, life, at });
    const fresh: number[] = [];
    for (let sequence = from; sequence <= to; sequence++) {
      if (this.has(sequence)) continue;
      this.#life.set(sequence, life + 1);
      this.#total++;
      fresh.push(sequence);
    }
    return fresh;
  }

  /** Notes that a sequence was there all the same. Returns false if that is known already. */
  refute(sequence: number): boolean {
    if (this.isFalse(sequence)) return false;
    this.#false.set(sequence, 1);
    this.#falsehoods++;
    return true;
  }

  isFalse(sequence: number): boolean {
    return this.#false.get(sequence) !== 0;
  }
}
