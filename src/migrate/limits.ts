/** The limits of a channel, as its stream has them after the cut. Pure. */
import type { StreamConfig } from '@nats-io/jetstream';
import type { SourceChannel } from './source.js';
import type { ChannelLimits } from './stan-limits.js';
import { HEADER_BYTES } from './stan-headers.js';

/** What JetStream counts for a message besides its subject and its payload, in bytes, at most: the headers, and its own record. */
const RECORD_BYTES = HEADER_BYTES + 34;
/** How many ns are in a ms: JetStream has times in ns. */
export const NS = 1e6;

/** The limits of a stream. Undefined is no limit. */
export type StreamLimits = Omit<ChannelLimits, 'inactivity'>;

/**
 * The limit of bytes that a stream gets at the cut: that of the channel, and what JetStream counts for the copied messages besides.
 * So nothing is dropped that STAN has. While it is copied a stream has no such limit, because how many messages it will have to
 * keep is not known then. Undefined when the channel has no limit of bytes.
 */
export function maxBytesAtCut({
  limits,
  messages,
  bytes,
}: Pick<SourceChannel, 'limits' | 'messages' | 'bytes'>): number | undefined {
  if (limits.bytes === undefined) return undefined;
  // STAN keeps the last message, however large it is.
  return Math.max(limits.bytes, bytes) + messages * RECORD_BYTES;
}

/** The limits of a stream, from its configuration. */
export function limitsOfStream({
  max_msgs,
  max_bytes,
  max_age,
}: Pick<StreamConfig, 'max_msgs' | 'max_bytes' | 'max_age'>): StreamLimits {
  const limit = (value: number): number | undefined => (value > 0 ? value : undefined);
  return { messages: limit(max_msgs), bytes: limit(max_bytes), age: max_age > 0 ? max_age / NS : undefined };
}
