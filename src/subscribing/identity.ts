/**
 * Decides whether a channel is still the one that its subscriptions know. Each new session asks it once for all of them. Pure.
 *
 * Each subscription knows the position of one message. Positions that were certain on the same earlier session belong to the
 * same channel, because a channel starts over only between sessions. So the highest position that still exists proves all below
 * it, and the lowest one that does not exist disproves all above it.
 */
import type { Position } from './cursor.js';

export interface Judgement {
  /** Whether the channel is the known one. It is also true when the message is gone and nothing shows a new channel. */
  same: boolean;
  /** The sequence of the message that shows it. */
  shown: number;
}

export interface Question {
  /** The position to look at. */
  position: Position;
  date: unknown;
}

export class Identity<Asker> {
  /** The askers who wait, by the session on which their position was certain. */
  readonly #dates = new Map<unknown, Ladder<Asker>>();

  /**
   * Asks about a position.
   * @param known a message that was in the channel
   * @param date the session on which it was certain
   * @returns the judgement if it is known already; otherwise `saw` returns it later
   */
  ask(asker: Asker, known: Position, date: unknown): Judgement | undefined {
    let ladder = this.#dates.get(date);
    if (ladder === undefined) this.#dates.set(date, (ladder = new Ladder()));
    const judgement = ladder.judge(known);
    if (judgement === undefined) ladder.waiting.set(asker, known);
    return judgement;
  }

  /** Returns the next position to look at; undefined if nobody waits. */
  next(): Question | undefined {
    for (const [date, ladder] of this.#dates) {
      const position = ladder.next();
      if (position !== undefined) return { position, date };
    }
    return undefined;
  }

  /**
   * Takes the result of a peek: the first message from that sequence on, or the last message if there is none. It is undefined
   * if the peek failed.
   * @returns the askers who get a judgement now
   */
  saw({ position, date }: Question, seen: Position | undefined): [Asker, Judgement | undefined][] {
    const ladder = this.#dates.get(date);
    if (ladder === undefined) return [];
    if (seen !== undefined) ladder.saw(position, seen);
    const told: [Asker, Judgement | undefined][] = [];
    for (const [asker, known] of ladder.waiting) {
      const judgement = ladder.judge(known);
      if (judgement !== undefined || seen === undefined) told.push([asker, judgement]);
    }
    for (const [asker] of told) ladder.waiting.delete(asker);
    return told;
  }
}

/** The judgements about the positions of one session. */
class Ladder<Asker> {
  readonly waiting = new Map<Asker, Position>();
  /** The highest position that is of the known channel, and the lowest one that is not. */
  #same: { upTo: number; shown: number } | undefined;
  #other: { from: number; shown: number } | undefined;

  judge({ sequence }: Position): Judgement | undefined {
    if (this.#same !== undefined && sequence <= this.#same.upTo) return { same: true, shown: this.#same.shown };
    if (this.#other !== undefined && sequence >= this.#other.from) return { same: false, shown: this.#other.shown };
    return undefined;
  }

  saw({ sequence, time }: Position, seen: Position): void {
    const other = seen.sequence < sequence || (seen.sequence === sequence && seen.time !== time);
    if (other) this.#other = { from: sequence, shown: seen.sequence };
    else this.#same = { upTo: sequence, shown: seen.sequence };
  }

  /**
   * Returns the next position to look at. The highest one comes first, because it normally exists. Then comes the lowest one,
   * because it does not exist in a new channel. After that the range is halved.
   */
  next(): Position | undefined {
    if (this.waiting.size === 0) return undefined;
    const positions = [...this.waiting.values()].sort((a, b) => a.sequence - b.sequence);
    if (this.#other === undefined) return positions.at(-1);
    return this.#same === undefined ? positions[0] : positions[Math.floor(positions.length / 2)];
  }
}
