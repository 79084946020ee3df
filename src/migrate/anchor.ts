/** Compares what the target has with what STAN has, message by message. */
import type { StoredMsg } from '@nats-io/jetstream';
import type { ResilientStan } from '../resilient-stan.js';
import { CopiedMessage } from './pipeline.js';
import { STAN_SEQUENCE, STAN_TIMESTAMP } from './stan-headers.js';
import type { Target } from './target.js';

/** Whether a stored message is the copy of message `sequence`, by its own word. */
export function isCopy({ header, seq }: StoredMsg): boolean {
  return header.get(STAN_SEQUENCE) === String(seq);
}

/** Whether a stored message is the copy of this one. */
export function isCopyOf(stored: StoredMsg, { sequence, timestamp, data }: CopiedMessage): boolean {
  return (
    stored.seq === sequence &&
    isCopy(stored) &&
    stored.header.get(STAN_TIMESTAMP) === timestamp &&
    data.equals(stored.data)
  );
}

/** One message of a channel. Undefined when STAN does not have it. */
export async function stanMessage(
  stan: ResilientStan,
  channel: string,
  sequence: number,
): Promise<CopiedMessage | undefined> {
  for await (const message of stan.read(channel, { from: sequence, to: sequence })) {
    if (message.sequence === sequence) return new CopiedMessage(message);
  }
  return undefined;
}

/**
 * The first message of a stream that is no copy. It looks at few of them, because behind a foreign message there is nothing
 * else: a copy stops there.
 * @param from a number of which all below are copies
 * @param last a number at which no copy is
 */
export async function firstForeign(target: Target, stream: string, from: number, last: number): Promise<number> {
  let low = from;
  let high = last;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const message = await target.message(stream, middle);
    if (message !== undefined && isCopy(message)) low = middle + 1;
    else high = middle;
  }
  return low;
}
