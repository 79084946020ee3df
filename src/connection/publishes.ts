/** The publishes of one session: sends them, and matches the acknowledgements. */
import { randomBytes } from 'node:crypto';
import { GUID_PREFIX_LENGTH, guidOfPlainAck, nextNumber, numberOf, PublishFrames, readPubAck } from './codec.js';

type OnAck = (error: string | undefined, guid: string) => void;

export interface PublishesOptions {
  /** The prefix of the subjects that publishes go to. */
  subject: string;
  /** Where acknowledgements go to. */
  inbox: string;
  clientId: string;
  connectionId: Uint8Array;
  send: (frame: Buffer) => void;
}

export class Publishes {
  readonly #send: (frame: Buffer) => void;
  readonly #frames: PublishFrames;
  /** By the number in the GUID: quicker to look up than the GUID itself. */
  readonly #unanswered = new Map<number, OnAck>();
  #number = 0;

  constructor({ send, ...options }: PublishesOptions) {
    this.#send = send;
    this.#frames = new PublishFrames({ ...options, guid: randomBytes(GUID_PREFIX_LENGTH / 2).toString('hex') });
  }

  publish(channel: string, data: Uint8Array, onAck: OnAck): void {
    const number = (this.#number = nextNumber(this.#number));
    this.#unanswered.set(number, onAck);
    this.#send(this.#frames.frame(channel, data, number));
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
      if (ack.error !== '') error = ack.error;
    }
    const number = numberOf(guid);
    const onAck = this.#unanswered.get(number);
    if (onAck === undefined) return;
    this.#unanswered.delete(number);
    onAck(error, guid);
  }

  /** No answer counts any more. */
  stop(): void {
    this.#unanswered.clear();
  }
}
