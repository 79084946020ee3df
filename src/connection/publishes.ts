/** The publishes of one session: sends them, matches the acknowledgements, and tells the failure detector what these show. */
import { randomBytes } from 'node:crypto';
import { printable } from '../printable.js';
import { GUID_PREFIX_LENGTH, guidOfPlainAck, nextNumber, numberOf, PublishFrames, readPubAck } from './codec.js';
import type { Receipt } from './protocol.js';
import { evidenceIn, Unanswered } from './unanswered.js';

/** What is told of the leader. Times in ms of the client's clock. */
export interface Evidence {
  /** Something was sent that it owes an answer for. */
  owed(): void;
  /** It has answered this. */
  heardAnswer(receipt: Receipt): void;
  /** There may be none: it is to be asked. */
  doubt(): void;
}

export interface PublishesOptions {
  /** The prefix of the subjects that publishes go to. */
  subject: string;
  /** Where acknowledgements go to. */
  inbox: string;
  clientId: string;
  connectionId: Uint8Array;
  /** Returns where its last byte stands in all that the session has sent. */
  send: (frame: Buffer) => number;
  evidence: Evidence;
}

export class Publishes {
  readonly #send: (frame: Buffer) => number;
  readonly #evidence: Evidence;
  readonly #frames: PublishFrames;
  readonly #unanswered = new Unanswered();
  #number = 0;

  constructor({ send, evidence, ...options }: PublishesOptions) {
    this.#send = send;
    this.#evidence = evidence;
    this.#frames = new PublishFrames({ ...options, guid: randomBytes(GUID_PREFIX_LENGTH / 2).toString('hex') });
  }

  publish(channel: string, data: Uint8Array, receipt: Receipt): void {
    const number = (this.#number = nextNumber(this.#number));
    this.#unanswered.add(number, receipt);
    receipt.end = this.#send(this.#frames.frame(channel, data, number));
    this.#evidence.owed();
  }

  /** The oldest one that the leader owes an answer for. */
  get oldestOwed(): Receipt | undefined {
    return this.#unanswered.oldestOwed;
  }

  /** Stops waiting for the answers that tell nothing any more, of all that was handed over up to this one. */
  forget(upTo: Receipt): void {
    this.#unanswered.forget(upTo);
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
    const receipt = this.#unanswered.take(numberOf(guid));
    if (receipt === undefined) return;
    const evidence = evidenceIn(receipt, error);
    if (evidence === 'round-trip') this.#evidence.heardAnswer(receipt);
    else if (evidence === 'doubt') this.#evidence.doubt();
    receipt.answered(error, guid);
  }

  /** No answer counts any more. */
  stop(): void {
    this.#unanswered.clear();
  }
}
