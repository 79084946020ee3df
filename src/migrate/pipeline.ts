/** Publishes copied messages of one channel, many at a time, and hears the answers of the target. */
import type { MsgHdrs, Subscription } from '@nats-io/transport-node';
import type { StanMessage } from '../subscribing/message.js';
import type { Answer, Link } from './chain.js';
import { copyHeaders, formatTimestamp } from './stan-headers.js';
import type { OfficialClient, Target } from './target.js';

/** What a message takes besides its payload, in bytes: headers, subject, objects. */
const OVERHEAD = 512;

/** One message of STAN on its way. */
export class CopiedMessage implements Link {
  readonly sequence: number;
  readonly data: Buffer;
  /** As {@link STAN_TIMESTAMP} has it. */
  readonly timestamp: string;
  readonly size: number;

  constructor({ sequence, data, timestampNanos }: Pick<StanMessage, 'sequence' | 'data' | 'timestampNanos'>) {
    this.sequence = sequence;
    this.data = data;
    this.timestamp = formatTimestamp(timestampNanos);
    this.size = data.length + OVERHEAD;
  }
}

/** Headers whose bytes are known. The official client makes them of a map, which takes longer than all the rest of a publish. */
function knownHeaders({ core }: OfficialClient): (text: string) => MsgHdrs {
  class KnownHeaders extends core.MsgHdrsImpl {
    readonly #bytes: Buffer;

    constructor(text: string) {
      super();
      this.#bytes = Buffer.from(text, 'latin1');
    }

    override encode(): Uint8Array {
      return this.#bytes;
    }
  }
  return (text) => new KnownHeaders(text);
}

export class Pipeline {
  readonly #target: Target;
  readonly #headers: (text: string) => MsgHdrs;
  /** The subject on which messages get into the stream. */
  subject = '';
  readonly #inbox: string;
  readonly #subscription: Subscription;
  /** The run that is answered. The answers of earlier ones come too late. */
  #run = 0;

  /** @param onAnswer hears what the target says of a message of this run */
  constructor(target: Target, onAnswer: (sequence: number, answer: Answer) => void) {
    this.#target = target;
    this.#headers = knownHeaders(target.client);
    this.#inbox = target.client.core.createInbox();
    const start = this.#inbox.length + 1;
    this.#subscription = target.connection.subscribe(`${this.#inbox}.*.*`, {
      callback: (error, message) => {
        if (error !== null) return;
        const [run, sequence] = message.subject.slice(start).split('.');
        if (Number(run) !== this.#run) return;
        onAnswer(Number(sequence), answerOf(message.data, message.headers));
      },
    });
  }

  /** Hears no more of what was sent up to now. */
  newRun(): void {
    this.#run++;
  }

  /** @param chained whether the target has to know the message before by its ID */
  send({ sequence, data, timestamp }: CopiedMessage, chained: boolean): void {
    this.#target.connection.publish(this.subject, data, {
      headers: this.#headers(copyHeaders(sequence, timestamp, chained)),
      reply: `${this.#inbox}.${this.#run}.${sequence}`,
    });
  }

  close(): void {
    this.#subscription.unsubscribe();
  }
}

/** An answer of JetStream to a publish, as it comes. */
interface Ack {
  readonly seq?: number;
  readonly error?: { readonly err_code?: number; readonly code?: number; readonly description?: string };
}

function answerOf(data: Uint8Array, headers: MsgHdrs | undefined): Answer {
  if (data.length === 0) return { silent: headers?.code === 503 ? 'nobody' : 'timeout' };
  let ack: Ack;
  try {
    ack = JSON.parse(Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString()) as Ack;
  } catch {
    return { refused: 0, text: 'an answer that is not of JetStream: does another program reply on this subject?' };
  }
  if (ack.error !== undefined) {
    return { refused: ack.error.err_code ?? ack.error.code ?? 0, text: ack.error.description ?? 'no reason given' };
  }
  if (typeof ack.seq === 'number') return { stored: ack.seq };
  return { refused: 0, text: 'an answer that is not of JetStream: does another program reply on this subject?' };
}
