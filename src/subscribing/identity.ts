/**
 * Is a channel still the one that its subscriptions know? Asked on each new session, once for all of them. Pure.
 *
 * What each knows is the position of one message. Positions that were sure on the same earlier session are of the same
 * channel, because a channel starts over between sessions only; so the highest that is still there vouches for all below
 * it, and the lowest that is not condemns all above it.
 */
import type { Position } from './cursor.js';

export interface Judgement {
  /** The channel is the one that was known; or that message is gone, and nothing speaks against it. */
  same: boolean;
  /** The sequence of the message that shows it. */
  shown: number;
}

export interface Question {
  /** The message to look at. */
  position: Position;
  date: unknown;
}

export class Identity<Asker> {
  /** Those who wait, by when what they know was sure. */
  readonly #dates = new Map<unknown, Ladder<Asker>>();

  /**
   * @param known a message that was in the channel
   * @param date when that was sure: the same for all of whom it was on the same session
   * @returns the judgement, if it is known already; otherwise it is told to the asker later
   */
  ask(asker: Asker, known: Position, date: unknown): Judgement | undefined {
    let ladder = this.#dates.get(date);
    if (ladder === undefined) this.#dates.set(date, (ladder = new Ladder()));
    const judgement = ladder.judge(known);
    if (judgement === undefined) ladder.waiting.set(asker, known);
    return judgement;
  }

  /** What to look at next; undefined: nobody waits. */
  next(): Question | undefined {
    for (const [date, ladder] of this.#dates) {
      const position = ladder.next();
      if (position !== undefined) return { position, date };
    }
    return undefined;
  }

  /**
   * What was seen there: the first message from that sequence on, or, if there is none, the last one of all. Undefined:
   * nothing could be learned.
   * @returns who is answered by that, and how
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

/** What is known of the positions of one date. */
class Ladder<Asker> {
  readonly waiting = new Map<Asker, Position>();
  /** Up to this one they are the same, and from that one on they are not. */
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

  /** The highest, as a rule it is there; then the lowest, for a channel that started over has none of them; then by halves. */
  next(): Position | undefined {
    if (this.waiting.size === 0) return undefined;
    const positions = [...this.waiting.values()].sort((a, b) => a.sequence - b.sequence);
    if (this.#other === undefined) return positions.at(-1);
    return this.#same === undefined ? positions[0] : positions[Math.floor(positions.length / 2)];
  }
}
