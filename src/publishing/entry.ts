import { toOurs } from '../errors.js';
import type { Receipt } from '../connection/protocol.js';
import type { Lane } from './lane.js';
import type { Entries } from './entries.js';
import type { Generation } from './generations.js';
import type { Limits } from './limits.js';

/** The cluster's acknowledgement of one message. */
export interface PubAck {
  /** The ID under which the acknowledged sending went out. A message that was sent more than once had one for each. */
  guid: string;
  channel: string;
  /** How often the message was handed to a server until this acknowledgement came; 1 without faults. */
  attempts: number;
}

/** What went wrong with a message so far. Most messages never have one. */
export class Trouble {
  /** Sendings that the cluster answered with an error which says that the message is not stored. */
  refused = 0;
  /** Refusals that may be the message's own (a bad channel, a limit), each of which cost one retry. */
  retries = 0;
  /** Refusals that are most likely another one's, beside which it was. */
  acquitted = 0;
  /** How many messages were published when it was refused first. */
  refusedFrom: number | undefined = undefined;
  /** Sessions in a row that this message's sending showed to be unregistered. */
  unregistered = 0;
  /** The last of them. */
  unregisteredOn = 0;
  /** The first session that ended while a sending of this message was unanswered; 0 if there was none. */
  unansweredOn = 0;
}

/** Where the answers of one session go. */
export interface Answers {
  answered(sending: Sending, error: string | undefined, guid: string): void;
}

/** One handing over of a message to a session. */
export class Sending implements Receipt {
  end = 0;
  /** The leader's answer to a question that was asked after this proves that it has taken in the sending, or never will. */
  askAfter: number;
  /** When it answered one. */
  provenAt: number | undefined = undefined;
  /** One of too many tries: its answer is not waited for. */
  dropped = false;

  constructor(
    readonly entry: Entry,
    /** Counts all sendings of a client. */
    readonly number: number,
    readonly at: number,
    /** It repeats a message to learn from its acknowledgement what became of what was sent before: of its channel, or of all. */
    readonly probe: false | 'channel' | 'all',
    readonly answers: Answers,
  ) {
    this.askAfter = at;
  }

  /** An answer to what was sent before the message's last sending, or for a message that is not in flight, tells nothing. */
  get awaited(): boolean {
    const last = this.entry.sending;
    return last !== undefined && this.number >= last.number && !this.dropped;
  }

  answered(error: string | undefined, guid: string): void {
    this.answers.answered(this, error, guid);
  }
}

/**
 * One message that is not settled yet. It stands in exactly one list (waiting for room, queued in its lane, in flight), whose
 * links are its own, so that it can leave from anywhere in constant time. Rare things hang on it as objects of their own:
 * 100 000 of these may wait in an outage.
 */
export class Entry {
  prev: Entry | undefined = undefined;
  next: Entry | undefined = undefined;
  /** The list it stands in; undefined once it is settled. */
  list: Entries | undefined = undefined;
  /** Set when it is admitted. */
  lane: Lane | undefined = undefined;
  /** Times it was handed to a session. Never handed over means that it can be rejected as 'not-sent'. */
  attempts = 0;
  /** While it is in flight: its last sending that was not a probe. */
  sending: Sending | undefined = undefined;
  limits: Limits | undefined = undefined;
  trouble: Trouble | undefined = undefined;

  constructor(
    readonly channel: string,
    /** A string as it was given; bytes as a block that has them at `offset`. Dropped when the message is settled. */
    public body: string | Uint8Array,
    readonly offset: number,
    /** The payload's length in bytes. */
    readonly size: number,
    /** Its place in the order of the publish() calls. */
    readonly order: number,
    readonly generation: Generation,
    readonly resolve: (ack: PubAck | Promise<never>) => void,
  ) {}

  /** Without a function of its own: keeping the promise's would cost every message 72 bytes. */
  reject(error: Error): void {
    this.resolve(Promise.reject(toOurs(error, 'publish()')));
  }
}
