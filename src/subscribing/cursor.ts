/**
 * The cursor knows which messages a subscription has received and processed, and decides about each message that comes. There
 * are two kinds. In `contiguous-cursor.ts`, for plain and durable subscriptions, every sequence is ours. In `sparse-cursor.ts`,
 * for queue groups, any sequence may go to another member.
 *
 * A sequence is *outstanding* from the moment it is taken until it is processed. Sequences that were taken and are not
 * outstanding are processed, so the cursor keeps nothing for them. One message that always fails costs one range, however many
 * messages are processed after it.
 */
/** What to do with a message. */
export type Verdict =
  /** The message is handed over and is outstanding from now on. */
  | 'deliver'
  /** The gaps are told first, and then the message is handed over. */
  | 'gap'
  /** The message is handed over. Messages before it that should have come to us are missing, see `leapt`. */
  | 'leap'
  /** The message is processed already and is only acknowledged. */
  | 'done'
  /**
   * The message is the one that the subscription was resumed at. It shows that the channel is the same and is only
   * acknowledged.
   */
  | 'anchor'
  /** The message is queued or running. Nothing is done, because it is acknowledged when its handler is done. */
  | 'held'
  /** Messages before this one are missing, see `missing`. It is not taken until they have come or are known to be gone. */
  | 'hole'
  /**
   * The message may be of a new channel. It is not taken; the newest message is looked at, and then `trust()` or `reset()` is
   * called.
   */
  | 'doubt'
  /**
   * The message is of a new channel of the same name. It is not taken; `reset()` is called, and the new channel is read from
   * its first message.
   */
  | 'reset';

/** A sequence and its timestamp in ns; NaN if the timestamp is not known. */
export interface Position {
  sequence: number;
  time: number;
}

/** Messages that the server no longer has. Both ends belong to the gap. */
export interface Gap {
  from: number;
  to: number;
}

/** Messages that were leapt over, from `from` up to but not including `to`. */
export interface Leap {
  from: number;
  to: number;
  /** The latest timestamp received before the leap, in ns. */
  after: number;
  /** Whether all earlier messages came to us. */
  ours: boolean;
  /** Whether an earlier leader has probably sent us the messages, so that they do not come by themselves. */
  forgotten: boolean;
}

export interface Cursor {
  receive(sequence: number, time: number, redelivered: boolean): Verdict;
  /** Notes that a message is processed. Returns false if it was processed before. */
  finish(sequence: number, time: number): boolean;
  /** Notes that a message was not processed, so that it is handed over when it comes again. */
  fail(sequence: number): void;
  /**
   * Takes a message that was fetched by its number. Returns whether to hand it over, which is false if it is in hand or
   * processed.
   */
  retake(sequence: number): boolean;
  /** Notes that a server subscription was made. `at` is the requested sequence, if there is one. */
  begin(at: Position | undefined): void;
  /** Forgets everything, because the channel started over. */
  reset(): void;
  /** Notes that the server has nothing below this sequence, so that missing messages there are gone for good. */
  goneBelow(sequence: number): void;
  /** Returns the messages that are gone for good, after the verdict 'gap'. */
  takeGaps(): Gap[];
  /** Whether a message was received and is not processed. */
  isOutstanding(sequence: number): boolean;
  /** The highest sequence up to which everything is processed; 0 before the first message. */
  readonly lastSequence: number;
  /** The highest received sequence and its timestamp; undefined before the first message. */
  readonly highest: Position | undefined;
  /** The number of messages that are received and not processed. */
  readonly outstanding: number;
  /** Notes that messages up to this timestamp, in ns, belong to the known channel. */
  trust(time: number): void;
}

/** Returns the parts of the gaps that lie below a sequence. */
export function below(gaps: readonly Gap[], sequence: number): Gap[] {
  return gaps.filter(({ from }) => from < sequence).map(({ from, to }) => ({ from, to: Math.min(to, sequence - 1) }));
}
