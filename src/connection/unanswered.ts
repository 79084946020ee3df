/**
 * Holds the publishes of one session that have no answer yet, and nothing else does. Pure; times are in ms of the client's
 * clock.
 */
import type { Receipt } from './protocol.js';
import { publishRefusal } from './server-texts.js';

/** The number of publishes from which on those are removed whose answers would tell nothing. */
const MANY = 10_000;

export class Unanswered {
  /** The publishes in the order of sending, by the number in their GUID. A number is found more quickly than the GUID itself. */
  readonly #receipts = new Map<number, Receipt>();
  /** The last probe for all earlier publishes, until it is answered. */
  #probe: Receipt | undefined;
  #sweepAt = MANY;

  get size(): number {
    return this.#receipts.size;
  }

  add(number: number, receipt: Receipt): void {
    if (this.#receipts.size >= this.#sweepAt) this.#sweep();
    this.#receipts.set(number, receipt);
    if (receipt.probe === 'all') this.#probe = receipt;
  }

  /** Removes and returns the publish that an answer is for. */
  take(number: number): Receipt | undefined {
    const receipt = this.#receipts.get(number);
    if (receipt === undefined) return undefined;
    this.#delete(number, receipt);
    return receipt;
  }

  /**
   * The oldest publish that the leader owes an answer for. While a probe is under way it is the probe, because earlier
   * publishes need not be answered.
   */
  get oldestOwed(): Receipt | undefined {
    if (this.#probe?.owed === true) return this.#probe;
    for (const receipt of this.#receipts.values()) if (receipt.owed) return receipt;
    return undefined;
  }

  /** Forgets the publishes up to this one that are not `awaited` any more. */
  forget(upTo: Receipt): void {
    for (const [number, receipt] of this.#receipts) {
      if (receipt.number > upTo.number) break;
      if (!receipt.awaited) this.#delete(number, receipt);
    }
  }

  clear(): void {
    this.#receipts.clear();
    this.#probe = undefined;
  }

  #delete(number: number, receipt: Receipt): void {
    this.#receipts.delete(number);
    if (receipt === this.#probe) this.#probe = undefined;
  }

  /**
   * Forgets all publishes that are not `awaited`. Otherwise messages with a short timeout in a mute channel would pile up while
   * the session lives.
   */
  #sweep(): void {
    for (const [number, receipt] of this.#receipts) if (!receipt.awaited) this.#delete(number, receipt);
    this.#sweepAt = Math.max(MANY, 2 * this.#receipts.size);
  }
}

/**
 * Returns what the answer to a publish shows about the leader: the time of a round trip, or a doubt whether there is a leader,
 * or nothing. The answer to a probe is no sample of the round trip, because the leader first handled what was sent before.
 */
export function evidenceIn({ probe }: Receipt, error: string | undefined): 'round-trip' | 'doubt' | undefined {
  const refusal = error === undefined ? undefined : publishRefusal(error);
  if (refusal === 'leaderless') return 'doubt';
  return refusal === 'unregistered' || probe !== false ? undefined : 'round-trip';
}
