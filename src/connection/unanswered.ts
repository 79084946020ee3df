/**
 * Knows which publishes of one session have no answer yet. No other place does. Pure; times are in ms of the client's clock.
 */
import type { Receipt } from './protocol.js';
import { publishRefusal } from './server-texts.js';

/** With so many of them, those whose answers would tell nothing are looked for and forgotten. */
const MANY = 10_000;

export class Unanswered {
  /** In the order of sending, by the number in the GUID. A number is quicker to look up than the GUID itself. */
  readonly #receipts = new Map<number, Receipt>();
  /** The last probe of all that was sent before it, until it is answered. */
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

  /** Takes out what an answer is for. */
  take(number: number): Receipt | undefined {
    const receipt = this.#receipts.get(number);
    if (receipt === undefined) return undefined;
    this.#delete(number, receipt);
    return receipt;
  }

  /**
   * The oldest one that the leader owes an answer for. While a probe is under way it is the probe, because the answers to what was
   * sent before it need not come.
   */
  get oldestOwed(): Receipt | undefined {
    if (this.#probe?.owed === true) return this.#probe;
    for (const receipt of this.#receipts.values()) if (receipt.owed) return receipt;
    return undefined;
  }

  /** Forgets what was sent up to this one and is not `awaited` any more. */
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

  /** Forgets what is not awaited. Otherwise messages with a short timeout on a mute channel would gather while the session lives. */
  #sweep(): void {
    for (const [number, receipt] of this.#receipts) if (!receipt.awaited) this.#delete(number, receipt);
    this.#sweepAt = Math.max(MANY, 2 * this.#receipts.size);
  }
}

/**
 * Returns what the answer to a publish shows of the leader: that it lives, and how long a round trip takes; that there may be none,
 * so that it is to be asked; or nothing. The answer to a probe is no sample, because the leader had to work off what stood before it.
 */
export function evidenceIn({ probe }: Receipt, error: string | undefined): 'round-trip' | 'doubt' | undefined {
  const refusal = error === undefined ? undefined : publishRefusal(error);
  if (refusal === 'leaderless') return 'doubt';
  return refusal === 'unregistered' || probe !== false ? undefined : 'round-trip';
}
