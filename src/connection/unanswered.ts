/**
 * The publishes of one session that have no answer yet: the one place that knows them. Pure; times in ms of the client's clock.
 */
import type { Receipt } from './protocol.js';
import { publishRefusal } from './server-texts.js';

/** From this many on, those whose answers would tell nothing are looked for and forgotten. */
const MANY = 10_000;

export class Unanswered {
  /** By the number in the GUID: quicker to look up than the GUID itself. In the order of sending. */
  readonly #receipts = new Map<number, Receipt>();
  /** The last one that was to find out what became of all before it. */
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

  /** An answer to this number came. */
  take(number: number): Receipt | undefined {
    const receipt = this.#receipts.get(number);
    if (receipt === undefined) return undefined;
    this.#delete(number, receipt);
    return receipt;
  }

  /**
   * The oldest one that the leader owes an answer for. While a probe is under way it is the probe: answers to what was sent
   * before it need not come.
   */
  get oldestOwed(): Receipt | undefined {
    if (this.#probe?.owed === true) return this.#probe;
    for (const receipt of this.#receipts.values()) if (receipt.owed) return receipt;
    return undefined;
  }

  /** Stops waiting for the answers that tell nothing any more, of all that was sent up to this one. */
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

  /** Messages with a short timeout on a channel that nobody acknowledges would gather for as long as the session lives. */
  #sweep(): void {
    for (const [number, receipt] of this.#receipts) if (!receipt.awaited) this.#delete(number, receipt);
    this.#sweepAt = Math.max(MANY, 2 * this.#receipts.size);
  }
}

/**
 * What the answer to a publish shows of the leader: that it lives, with a round trip; that there may be none, so that it is to be
 * asked; or nothing. The answer to a probe is no sample: it stood behind whatever the leader had to make up for.
 */
export function evidenceIn({ probe }: Receipt, error: string | undefined): 'round-trip' | 'doubt' | undefined {
  const refusal = error === undefined ? undefined : publishRefusal(error);
  if (refusal === 'leaderless') return 'doubt';
  return refusal === 'unregistered' || probe !== false ? undefined : 'round-trip';
}
