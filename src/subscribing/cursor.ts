/**
 * The cursor: what a subscription has received and processed, and so what is to be done with each message that comes. There
 * are two kinds: `contiguous-cursor.ts` (plain and durable: every sequence is ours) and `sparse-cursor.ts` (a queue group: any
 * may be another member's).
 *
 * A sequence is *outstanding* from the moment it is taken until it is processed. What is taken and not outstanding is
 * done, so nothing is kept of done messages: one that fails for ever costs one run, however many are processed after it.
 */
/** What is to be done with a message. */
export type Verdict =
  /** Hand it over; it is outstanding from now on. */
  | 'deliver'
  /** Hand it over; but first tell of the gaps. */
  | 'gap'
  /** Hand it over; something was leapt over, see `leapt`, that should have come to us. */
  | 'leap'
  /** It is processed already: acknowledge it, nothing else. */
  | 'done'
  /** It is the one the subscription was resumed at, come to show that the channel is still the same: acknowledge it. */
  | 'anchor'
  /** It is queued or running: it will be acknowledged when its handler is done. Do nothing. */
  | 'held'
  /** Something before it is missing, see `missing`: do not take it before that has come, or is known to be gone. */
  | 'hole'
  /** It may be of a new channel. Do not take it; look at the newest message, then `trust()` it or `reset()`. */
  | 'doubt'
  /** It is of a new channel of the same name: the old one is gone. Do not take it; `reset()`, and start at the first. */
  | 'reset';

/** A sequence, and its timestamp where it is known (else NaN). */
export interface Position {
  sequence: number;
  time: number;
}

/** Messages the server does not have any more; both ends included. */
export interface Gap {
  from: number;
  to: number;
}

/** From, and up to but without. */
export interface Leap {
  from: number;
  to: number;
  /** The latest timestamp received before it. */
  after: number;
  /** All others came to us. */
  ours: boolean;
  /** It was probably sent to us by an earlier leader, and will not come by itself. */
  forgotten: boolean;
}

export interface Cursor {
  receive(sequence: number, time: number, redelivered: boolean): Verdict;
  /** It is processed. False if it was before. */
  finish(sequence: number, time: number): boolean;
  /** It was not processed: to be handed over again when it comes again. */
  fail(sequence: number): void;
  /** It was fetched by its number. False: it is in hand, or processed; true: hand it over. */
  retake(sequence: number): boolean;
  /** A server-side subscription was made; `at` is the sequence that was asked for, if one was. */
  begin(at: Position | undefined): void;
  /** The channel started over. */
  reset(): void;
  /** The server has nothing below this sequence: what is missing there is missing for good. */
  goneBelow(sequence: number): void;
  /** After the verdict 'gap': what is missing for good. */
  takeGaps(): Gap[];
  /** It was received and is not processed. */
  isOutstanding(sequence: number): boolean;
  /** The highest sequence below which everything is processed; 0 before the first message. */
  readonly lastSequence: number;
  /** The highest one received; undefined before the first message. */
  readonly highest: Position | undefined;
  /** How many are received and not processed. */
  readonly outstanding: number;
  /** A message of this timestamp is of the channel we know. */
  trust(time: number): void;
}

/** What of these lies below a sequence. */
export function below(gaps: readonly Gap[], sequence: number): Gap[] {
  return gaps.filter(({ from }) => from < sequence).map(({ from, to }) => ({ from, to: Math.min(to, sequence - 1) }));
}
