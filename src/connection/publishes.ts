/** The publishes of one session: sends them, and matches the acknowledgements. */
import { randomBytes } from 'node:crypto';
import { printable } from '../printable.js';
import { GUID_PREFIX_LENGTH, guidOfPlainAck, nextNumber, numberOf, PublishFrames, readPubAck } from './codec.js';
import type { Receipt } from './protocol.js';

export interface PublishesOptions {
  /** The prefix of the subjects that publishes go to. */
  subject: string;
  /** Where acknowledgements go to. */
  inbox: string;
  clientId: string;
  connectionId: Uint8Array;
  /** Returns where its last byte stands in all that the session has sent. */
  send: (frame: Buffer) => number;
}

export class Publishes {
  readonly #send: (frame: Buffer) => number;
  readonly #frames: PublishFrames;
  /** By the number in the GUID: quicker to look up than the GUID itself. In the order of handing over. */
  readonly #unanswered = new Map<number, Receipt>();
  #number = 0;

  constructor({ send, ...options }: PublishesOptions) {
    this.#send = send;
    this.#frames = new PublishFrames({ ...options, guid: randomBytes(GUID_PREFIX_LENGTH / 2).toString('hex') });
  }

  publish(channel: string, data: Uint8Array, sending: Receipt): void {
    const number = (this.#number = nextNumber(this.#number));
    this.#unanswered.set(number, sending);
    sending.end = this.#send(this.#frames.frame(channel, data, number));
  }

  /** Stops waiting for the answers that tell nothing any more, of all that was handed over up to this one. */
  forget(upTo: Receipt): void {
    for (const [number, sending] of this.#unanswered) {
      if (sending.number > upTo.number) break;
      if (!sending.awaited) this.#unanswered.delete(number);
    }
  }

  /** How many answers are waited for. */
  get unanswered(): number {
    return this.#unanswered.size;
  }

  /**
   * A frame arrived in the inbox.
   * @throws Error when it is malformed
   */
  answered(frame: string): void {
    let guid = guidOfPlainAck(frame);
    let error: string | undefined;
    if (guid === undefined) {
      const ack = readPubAck(frame);
      guid = ack.guid;
      if (ack.error !== '') error = printable(ack.error);
    }
    const number = numberOf(guid);
    const sending = this.#unanswered.get(number);
    if (sending === undefined) return;
    this.#unanswered.delete(number);
    sending.answered(error, guid);
  }

  /** No answer counts any more. */
  stop(): void {
    this.#unanswered.clear();
  }
}
