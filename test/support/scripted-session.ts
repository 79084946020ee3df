/**
 * A Session that does what the test says: it keeps what it is handed, and answers when told to. A fake, because no real
 * server can be made to lose exactly this message, answer that one twice, or refuse a third with a chosen text, at will and
 * thousands of times a minute.
 */
import type { LossReason } from '../../src/errors.js';
import type { Receipt, Session, SessionSubscription } from '../../src/connection/protocol.js';

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
  readonly roundTrips: number[] = [];
  #sent = 0;
  readonly losses: { reason: LossReason; message: string }[] = [];
  owedCalls = 0;
  doubts = 0;
  /** Called within publish(), as a session that answers or ends while it is being called. */
  onPublish: ((sending: Sending) => void) | undefined;
  /** Called by lose(), as the owner who detaches. */
  onLoss: (() => void) | undefined;
  onHeardAck: (() => void) | undefined;

  constructor(
    readonly ordinal = 1,
    readonly maxPayload = 1_048_576,
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
        if (!sending.forgotten) receipt.answered(error, guid);
      },
      receipt,
    };
    this.sendings.push(sending);
    receipt.end = this.#sent += data.length;
    this.onPublish?.(sending);
  }

  forget(upTo: Receipt): void {
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

  heardAck(roundTrip: number): void {
    this.roundTrips.push(roundTrip);
    this.onHeardAck?.();
  }

  owed(): void {
    this.owedCalls++;
  }

  doubt(): void {
    this.doubts++;
  }

  lose(reason: LossReason, message: string): void {
    if (!this.alive) return;
    this.alive = false;
    this.losses.push({ reason, message });
    this.onLoss?.();
  }

  subscribe(): Promise<SessionSubscription> {
    throw new Error('publishing does not subscribe');
  }
}
