/**
 * What the server's refusal of a subscription means. It comes as text only; these are the texts of NATS Streaming
 * Server 0.25.6.
 */
export type Refusal =
  /** The server does not know this session (any more). */
  | 'unregistered'
  /** The durable is online, perhaps by a subscription that is just going away. */
  | 'duplicate'
  /** No leader, for the moment, or a channel on its way out. */
  | 'passing'
  /** It will say the same the next time. */
  | 'final';

export function classifyRefusal(text: string): Refusal {
  if (/unknown clientID|no longer registered/i.test(text)) return 'unregistered';
  if (/duplicate durable/i.test(text)) return 'duplicate';
  if (/not the leader|leadership|already shutdown|shut down|enqueuing|being deleted/i.test(text)) return 'passing';
  return 'final';
}
