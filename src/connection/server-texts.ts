/**
 * All texts of the servers and their meaning. The servers use no codes, only these texts, of NATS Servers up to 2.9 and NATS
 * Streaming Server 0.25.6, some with and some without `stan:` before them. A text that is not known exactly counts as one that
 * may pass, and the request is repeated. Pure.
 */

// ── `-ERR` lines of NATS ──────────────────────────────────────────────────────────────────────────────────────────

export type Complaint =
  /** The credentials are refused. */
  | { kind: 'credentials' }
  /** The user may not publish or subscribe to this subject. The connection lives on. */
  | { kind: 'permission'; subject: string | undefined }
  /** The connection has as many subscriptions as it may have, and the last one was not made. The connection lives on. */
  | { kind: 'subscriptions' }
  /** A line of ours was too long. The connection is closed. */
  | { kind: 'control-line' }
  /** A message of ours was too large. The connection is closed. */
  | { kind: 'payload' }
  /** The reason lies in the server and not in a request. Another time or another server may help. */
  | { kind: 'passing' }
  | { kind: 'unknown' };

/** The complaint with which a server ended a session. */
export interface LastWords {
  readonly complaint: Complaint;
  /** The server's text, with printable characters only. */
  readonly text: string;
}

const CREDENTIALS = new Set([
  'authorization violation',
  'user authentication expired',
  'user authentication revoked',
  'account authentication expired',
]);
/** Texts about the server or the path to it, and not about a request of ours. */
const PASSING = new Set([
  'authentication timeout',
  'stale connection',
  'slow consumer',
  'server shutdown',
  'maximum connections exceeded',
  'maximum account active connections exceeded',
  'connection throttling is active. please try again later.',
  'secure connection - tls required',
  'failed account registration',
  'attempted to connect to route port',
  'attempted to connect to gateway port',
  'attempted to connect to leaf node port',
]);
const OF_A_REQUEST = new Map<string, Complaint>([
  ['maximum subscriptions exceeded', { kind: 'subscriptions' }],
  ['maximum control line exceeded', { kind: 'control-line' }],
  ['maximum payload violation', { kind: 'payload' }],
  ['maximum payload exceeded', { kind: 'payload' }],
]);
const PERMISSION = /^permissions violation for (?:publish|subscription)(?: with reply of| to)? "?([^"\s]+)"?/i;

/**
 * Returns the meaning of an `-ERR` text.
 * @param text without the quotation marks of the protocol
 */
export function complaint(text: string): Complaint {
  const lower = text.toLowerCase();
  if (CREDENTIALS.has(lower)) return { kind: 'credentials' };
  if (PASSING.has(lower)) return { kind: 'passing' };
  if (lower.startsWith('permissions violation')) return { kind: 'permission', subject: PERMISSION.exec(text)?.[1] };
  return OF_A_REQUEST.get(lower) ?? { kind: 'unknown' };
}

// ── answers to the requests of STAN ───────────────────────────────────────────────────────────────────────────────

const UNREGISTERED_PUBLISH = 'stan: invalid publish request';
const UNKNOWN_CLIENT = new Set([
  'stan: unknown clientID',
  'client has been replaced or is no longer registered',
  'stan: client has been replaced or is no longer registered',
]);

/** Whether the client ID is taken by another client, or by an earlier request of ours that the server still works on. */
export function isIdTaken(text: string): boolean {
  return text === 'stan: clientID already registered';
}

/** The meaning of an error in the answer to a publish. */
export type PublishRefusal =
  /** The cluster does not know this session, or no longer. */
  | 'unregistered'
  /** The server that answered cannot take the message now. Another one can, or the same one later. */
  | 'leaderless'
  /** The message is at fault, or one beside it in the same batch. It is tried a few more times and then given up. */
  | 'refused';

const LEADERLESS = /not the leader|leadership lost|raft is already shutdown|channel is being deleted|shutting down/i;
/** Texts that may come after the message has reached the Raft log, so that another server may store it. */
const MAYBE_STORED = /leadership lost|raft is already shutdown/i;

export function publishRefusal(text: string): PublishRefusal {
  if (text === UNREGISTERED_PUBLISH) return 'unregistered';
  return LEADERLESS.test(text) ? 'leaderless' : 'refused';
}

export function maybeStored(text: string): boolean {
  return MAYBE_STORED.test(text);
}

/** Returns why no session can take a message, if the text tells it. */
export function refusalReason(text: string): 'too-many-channels' | 'other-case' | 'unregistered' | undefined {
  if (/too many channels/i.test(text)) return 'too-many-channels';
  if (/different cases/i.test(text)) return 'other-case';
  return text === UNREGISTERED_PUBLISH ? 'unregistered' : undefined;
}

/**
 * Returns which channel a refusal is about; undefined if the text does not tell it. A cluster gives the same answer to all
 * messages of a batch, whatever their channels are.
 */
export function refusalIsAbout(text: string, channel: string): 'this' | 'another' | undefined {
  const prefix = 'rejecting channel ';
  if (!text.startsWith(`${prefix}"`)) return undefined;
  // Channel names have no blanks. The server escapes quotation marks and backslashes in them.
  const quoted = `${prefix}"${channel.replace(/["\\]/g, '\\$&')}" `;
  return `${text} `.startsWith(quoted) ? 'this' : 'another';
}

/** The meaning of an error in the answer to a subscribe request. */
export type SubscribeRefusal =
  /** The server does not know this session, or no longer. */
  | 'unregistered'
  /** Another subscription has the durable, which may be one that is just ending. */
  | 'duplicate'
  /** There is no leader for the moment, or the channel is being deleted. */
  | 'passing'
  /** The server will say the same the next time. */
  | 'final'
  /** The request is tried a few more times and then given up. */
  | 'unknown';

const FINAL = new Set([
  'stan: invalid subject',
  'stan: invalid start position',
  'stan: invalid subscription',
  'stan: invalid subscription request',
  'stan: invalid ack wait time, should be >= 1s',
  'stan: invalid MaxInflight, should be >= 1',
  "stan: durable name of a durable queue subscriber can't contain the character ':'",
  'stan: no configured channel',
  'too many subscriptions per channel',
  'too many channels',
  // This one is of NATS, for a subscription that can be left out.
  'maximum subscriptions exceeded',
]);
/** Texts of a server that does not lead, or that is stopping. */
const PASSING_REQUEST =
  /not the leader|leadership|already shutdown|shut down|enqueuing|snapshot restored|being deleted/i;

export function subscribeRefusal(text: string): SubscribeRefusal {
  if (UNKNOWN_CLIENT.has(text)) return 'unregistered';
  if (text === 'stan: duplicate durable registration') return 'duplicate';
  if (FINAL.has(text) || text.startsWith('rejecting channel "')) return 'final';
  return PASSING_REQUEST.test(text) ? 'passing' : 'unknown';
}

/** The meaning of an error in the answer to an unsubscribe request or to a request to close a subscription. */
export type EndRefusal =
  /** The channel is gone with all its subscriptions. */
  | 'gone'
  /** The server has no such subscription. It may still keep a durable of that name. */
  | 'unknown-subscription'
  /** The server does not know this session, or no longer. It may still keep a durable. */
  | 'unregistered'
  /** There is no leader for the moment. The subscription ends later or on another session. */
  | 'passing'
  /** The request is tried a few more times, and then whoever made it is told. */
  | 'unknown';

export function endRefusal(text: string): EndRefusal {
  if (text === 'stan: unknown channel') return 'gone';
  if (text === 'stan: invalid subscription') return 'unknown-subscription';
  if (UNKNOWN_CLIENT.has(text)) return 'unregistered';
  return PASSING_REQUEST.test(text) ? 'passing' : 'unknown';
}

/** Whether an error in the answer to a client's close request says that there is nothing left to close. */
export function isUnknownClient(text: string): boolean {
  return UNKNOWN_CLIENT.has(text);
}
