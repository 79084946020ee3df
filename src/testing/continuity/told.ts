import { Column } from './column.js';

/** What a subscription was told to be gone. */
export interface Gap {
  /** Both ends included. */
  from: number;
  to: number;
  /** Which life of the subscription was told. Default 0. */
  life?: number;
}

/** Everything that one subscription was told to be gone, sequence by sequence. */
export class Told {
  /** As they were told. */
  readonly gaps: (Required<Gap> & { at: number })[] = [];
  /** The first life that was told, plus one. */
  readonly #life = new Column(Uint32Array);
  readonly #false = new Column(Uint8Array);
  #total = 0;
  #falsehoods = 0;

  /** Different sequences. */
  get total(): number {
    return this.#total;
  }

  /** Sequences that were there all the same. */
  get falsehoods(): number {
    return this.#falsehoods;
  }

  has(sequence: number): boolean {
    return this.#life.get(sequence) !== 0;
  }

  /** The first life that was told this. */
  lifeOf(sequence: number): number {
    return this.#life.get(sequence) - 1;
  }

  /** How many of these the same life was told before. */
  again({ from, to, life = 0 }: Gap): number {
    const overlap = (gap: Required<Gap>): number => Math.max(Math.min(gap.to, to) - Math.max(gap.from, from) + 1, 0);
    return this.gaps.filter((gap) => gap.life === life).reduce((sum, gap) => sum + overlap(gap), 0);
  }

  /** Returns the sequences that nobody was told before. */
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

  /** It was there. False: that is known already. */
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
