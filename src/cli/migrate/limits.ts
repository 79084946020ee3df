import type { ChannelLimits } from '../../migrate/index.js';
import { formatBytes, formatDuration, plural } from '../../testing/report/format.js';

/** The limits of a channel or a stream, for people. Pure. */
export function limitsText({ messages, bytes, age, inactivity }: Partial<ChannelLimits>): string {
  const parts = [
    messages !== undefined && plural(messages, 'message'),
    bytes !== undefined && formatBytes(bytes),
    age !== undefined && formatDuration(age),
    inactivity !== undefined && `deleted after ${formatDuration(inactivity)} without use`,
  ].filter((part) => part !== false);
  return parts.length === 0 ? 'none' : parts.join(', ');
}
