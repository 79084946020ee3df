/** What an error in the server's answer to a publish means. The texts are those of nats-streaming-server 0.25.6. */

export type Refusal =
  /** The cluster does not know this session (any more). */
  | 'unregistered'
  /** The node that answered cannot take it now; another one, or the same one later, will. */
  | 'leaderless'
  /** The message's own fault, or that of one beside it in the same batch: a few more tries, then give up. */
  | 'refused';

const UNREGISTERED = 'stan: invalid publish request';
const LEADERLESS = /not the leader|leadership lost|raft is already shutdown|channel is being deleted|shutting down/i;
/** These may come after the message has reached the Raft log, which another node may commit. */
const MAYBE_STORED = /leadership lost|raft is already shutdown/i;

export function refusal(text: string): Refusal {
  if (text === UNREGISTERED) return 'unregistered';
  return LEADERLESS.test(text) ? 'leaderless' : 'refused';
}

export function maybeStored(text: string): boolean {
  return MAYBE_STORED.test(text);
}

/** The message of a PublishRejectedError: the server's text, and what to do about it. */
export function explainRefusal(channel: string, text: string, attempts: number): string {
  return `the cluster refused a message on channel '${channel}' (sent ${attempts} time${attempts === 1 ? '' : 's'}): "${text}". ${advice(text)}`;
}

function advice(text: string): string {
  if (/too many channels/i.test(text)) {
    return `Raise max_channels in the server's store limits, or publish to fewer channels`;
  }
  if (/different cases/i.test(text)) {
    return 'A channel with this name in another case exists: use its exact spelling';
  }
  if (text === UNREGISTERED) {
    return `It said so on several sessions in a row: make sure that no other process uses this client ID, and that the server accepts this channel's name`;
  }
  return `Look into the server's log for the reason; the message is safe to publish again once it is mended`;
}
