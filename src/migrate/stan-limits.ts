/** The limits of a channel, as the monitoring of STAN tells them. Pure. */
import { matches } from './options.js';

/** The limits of one channel. Undefined is no limit. */
export interface ChannelLimits {
  /** Messages. */
  readonly messages: number | undefined;
  /** Bytes. */
  readonly bytes: number | undefined;
  /** The age of a message, in ms. */
  readonly age: number | undefined;
  /** The time without any use after which the channel is deleted, in ms. */
  readonly inactivity: number | undefined;
}

/** Limits as the server says them: times in ns; 0 is none. */
interface ServerLimits {
  readonly max_msgs?: number;
  readonly max_bytes?: number;
  readonly max_age?: number;
  readonly max_inactivity?: number;
}

/** The part of the page `/streaming/storez` that tells of limits. */
export interface StoreLimits extends ServerLimits {
  /** By names, and by patterns as `eu.>`. What an entry does not say it has from a wider one already, or from all channels. */
  readonly channels?: Readonly<Record<string, ServerLimits>>;
}

/** The limits of a channel: those of the narrowest entry that fits, as the server has it. */
export function limitsOf(limits: StoreLimits, channel: string): ChannelLimits {
  let own: ServerLimits = limits;
  let narrowest = '';
  for (const [pattern, entry] of Object.entries(limits.channels ?? {})) {
    if (!matches(pattern, channel) || narrowness(pattern) < narrowest) continue;
    narrowest = narrowness(pattern);
    own = entry;
  }
  const limit = (value = 0): number | undefined => (value > 0 ? value : undefined);
  const ms = (value = 0): number | undefined => (value > 0 ? value / 1e6 : undefined);
  return {
    messages: limit(own.max_msgs),
    bytes: limit(own.max_bytes),
    age: ms(own.max_age),
    inactivity: ms(own.max_inactivity),
  };
}

/** Of two patterns that fit one channel, the one that the server takes has the greater text: names before `*` before `>`. */
function narrowness(pattern: string): string {
  return pattern
    .split('.')
    .map((token) => (token === '>' ? '1' : token === '*' ? '2' : '3'))
    .join('');
}
