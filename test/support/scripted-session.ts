/**
 * A Session that does what the test says: it keeps what it is handed, and answers when told to. A fake, because no real
 * server can be made to lose exactly this message, answer that one twice, or refuse a third with a chosen text, at will and
 * thousands of times a minute.
 */
import type { LossReason } from '../../src/errors.js';
import type { Receipt, Session, SessionSubscription } from '../../src/connection/protocol.js';
import { evidenceIn, Unanswered } from '../../src/connection/unanswered.js';

export interface Sending {
  channel: string;
  data: Uint8Array;
  text: string;
  answered: boolean;
  /** The publisher does not wait for its answer any more. */
  forgotten: boolean;
  answer: (error: string | undefined, guid: string) => void;
  receipt: Receipt;
}

export class ScriptedSession implements Session {
  alive = true;
  readonly continued: boolean = true;
  readonly pendingRequests = 0;
  readonly server = 'nats://127.0.0.1:4222';
  /** Everything that was handed over, in order. */
  readonly sendings: Sending[] = [];
  /** How long each answer took that shows a living leader, ms. */
  readonly roundTrips: number[] = [];
  /** The table of a real session. */
  readonly #unanswered = new Unanswered();
  #sent = 0;
  readonly losses: { reason: LossReason; message: string }[] = [];
  /** Answers that show that there may be no leader. */
  doubts = 0;
  /** Called within publish(), as a session that answers or ends while it is being called. */
  onPublish: ((sending: Sending) => void) | undefined;
  /** Called by lose(), as the owner who detaches. */
  onLoss: (() => void) | undefined;

  constructor(
    readonly ordinal = 1,
    readonly maxPayload = 1_048_576,
    readonly now: () => number = () => NaN,
  ) {}

  publish(channel: string, data: Uint8Array, receipt: Receipt): void {
    if (!this.alive) throw new Error('handed to a dead session');
    if (data.constructor !== Uint8Array) throw new Error('not a plain Uint8Array');
    const copy = data.slice();
    const sending: Sending = {
      channel,
      data: copy,
      text: Buffer.from(copy).toString(),
      answered: false,
      forgotten: false,
      answer: (error, guid) => {
        if (sending.forgotten) return;
        if (this.#unanswered.take(number) !== undefined && this.alive) this.#hear(receipt, error);
        receipt.answered(error, guid);
      },
      receipt,
    };
    const number = this.sendings.push(sending);
    this.#unanswered.add(number, receipt);
    receipt.end = this.#sent += data.length;
    this.onPublish?.(sending);
  }

  /** What the leader owes an answer for, as a real session knows it. */
  get oldestOwed(): Receipt | undefined {
    return this.#unanswered.oldestOwed;
  }

  forget(upTo: Receipt): void {
    this.#unanswered.forget(upTo);
    for (const sending of this.unanswered) {
      if (sending.receipt.number <= upTo.number && !sending.receipt.awaited) sending.forgotten = true;
    }
  }

  /** What a session would have to keep. */
  get awaited(): Sending[] {
    return this.sendings.filter(({ answered, forgotten }) => !answered && !forgotten);
  }

  /** Channel-independent texts of what was handed over. */
  get texts(): string[] {
    return this.sendings.map((sending) => sending.text);
  }

  get unanswered(): Sending[] {
    return this.sendings.filter((sending) => !sending.answered);
  }

  /** Acknowledges the n-th sending (from 0), or refuses it with a text. */
  answer(n: number, error?: string): void {
    const sending = this.sendings[n];
    if (sending === undefined) throw new Error(`there is no sending ${n}`);
    if (sending.answered) throw new Error(`sending ${n} was answered before`);
    sending.answered = true;
    sending.answer(error, `guid-${this.ordinal}-${n}`);
  }

  /** Acknowledges all that is unanswered, in order, and what follows from it. */
  answerAll(): void {
    for (let n = 0; n < this.sendings.length; n++) if (this.sendings[n]?.answered === false) this.answer(n);
  }

  #hear(receipt: Receipt, error: string | undefined): void {
    const evidence = evidenceIn(receipt, error);
    if (evidence === 'round-trip') this.roundTrips.push(this.now() - receipt.at);
    else if (evidence === 'doubt') this.doubts++;
  }

  lose(reason: LossReason, message: string): void {
    if (!this.alive) return;
    this.alive = false;
    this.#unanswered.clear();
    this.losses.push({ reason, message });
    this.onLoss?.();
  }

  subscribe(): Promise<SessionSubscription> {
    throw new Error('publishing does not subscribe');
  }
}
