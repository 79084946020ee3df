/**
 * All that servers say in words, and what each of it means. They have no codes: there are only these texts, of NATS Servers
 * up to 2.9 and NATS Streaming Server 0.25.6, some with and some without `stan:` before them. Whatever is not known by its exact text may pass, and is tried again. Pure.
 */

// ── `-ERR` lines of NATS ──────────────────────────────────────────────────────────────────────────────────────────

export type Complaint =
  /** These credentials do not do. */
  | { kind: 'credentials' }
  /** The user must not publish or subscribe to this subject. The connection lives on. */
  | { kind: 'permission'; subject: string | undefined }
  /** The connection has as many subscriptions as it may have; the one asked for last was not made. The connection lives on. */
  | { kind: 'subscriptions' }
  /** A line of ours was too long; the connection is closed. */
  | { kind: 'control-line' }
  /** A message of ours was too large; the connection is closed. */
  | { kind: 'payload' }
  /** It has nothing to do with what was asked: another time, or another server. */
  | { kind: 'passing' }
  | { kind: 'unknown' };

/** With what a server ended a session. */
export interface LastWords {
  readonly complaint: Complaint;
  /** The server's own words, printable. */
  readonly text: string;
}

const CREDENTIALS = new Set([
  'authorization violation',
  'user authentication expired',
  'user authentication revoked',
  'account authentication expired',
]);
/** About the server or the way to it, and about no request of ours. */
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

/** @param text without the quotation marks of the protocol */
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

/** Another client has the ID, or the server still works on an earlier request of ours. */
export function isIdTaken(text: string): boolean {
  return text === 'stan: clientID already registered';
}

/** What an error in the answer to a publish means. */
export type PublishRefusal =
  /** The cluster does not know this session (any more). */
  | 'unregistered'
  /** The node that answered cannot take it now; another one, or the same one later, will. */
  | 'leaderless'
  /** The message's own fault, or that of one beside it in the same batch: a few more tries, then give up. */
  | 'refused';

const LEADERLESS = /not the leader|leadership lost|raft is already shutdown|channel is being deleted|shutting down/i;
/** These may come after the message has reached the Raft log, which another node may commit. */
const MAYBE_STORED = /leadership lost|raft is already shutdown/i;

export function publishRefusal(text: string): PublishRefusal {
  if (text === UNREGISTERED_PUBLISH) return 'unregistered';
  return LEADERLESS.test(text) ? 'leaderless' : 'refused';
}

export function maybeStored(text: string): boolean {
  return MAYBE_STORED.test(text);
}

/** Why a message was refused that is not taken by any session, so far as the text tells. */
export function refusalReason(text: string): 'too-many-channels' | 'other-case' | 'unregistered' | undefined {
  if (/too many channels/i.test(text)) return 'too-many-channels';
  if (/different cases/i.test(text)) return 'other-case';
  return text === UNREGISTERED_PUBLISH ? 'unregistered' : undefined;
}

/**
 * Which channel a refused publish speaks of; undefined when it does not say. A cluster answers so to all messages of a batch,
 * whatever their channels are.
 */
export function refusalIsAbout(text: string, channel: string): 'this' | 'another' | undefined {
  const prefix = 'rejecting channel ';
  if (!text.startsWith(`${prefix}"`)) return undefined;
  // Names have no blanks. Quotation marks and backslashes in them are escaped.
  const quoted = `${prefix}"${channel.replace(/["\\]/g, '\\$&')}" `;
  return `${text} `.startsWith(quoted) ? 'this' : 'another';
}

/** What an error in the answer to a subscribe request means. */
export type SubscribeRefusal =
  /** The server does not know this session (any more). */
  | 'unregistered'
  /** The durable is online, perhaps by a subscription that is just going away. */
  | 'duplicate'
  /** No leader, for the moment, or a channel on its way out. */
  | 'passing'
  /** It will say the same the next time. */
  | 'final'
  /** A few more tries, then give up. */
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
  // Of NATS, for one that can be done without.
  'maximum subscriptions exceeded',
]);
/** Of a server that does not lead now, or not yet, or stops. */
const PASSING_REQUEST =
  /not the leader|leadership|already shutdown|shut down|enqueuing|snapshot restored|being deleted/i;

export function subscribeRefusal(text: string): SubscribeRefusal {
  if (UNKNOWN_CLIENT.has(text)) return 'unregistered';
  if (text === 'stan: duplicate durable registration') return 'duplicate';
  if (FINAL.has(text) || text.startsWith('rejecting channel "')) return 'final';
  return PASSING_REQUEST.test(text) ? 'passing' : 'unknown';
}

/** What an error in the answer to an unsubscribe request, or to a request to close a subscription, means. */
export type EndRefusal =
  /** Its channel is gone, and with it all that was subscribed to it. */
  | 'gone'
  /** The server has no such subscription. It may still keep a durable of that name. */
  | 'unknown-subscription'
  /** The server does not know this session (any more). It may still keep a durable. */
  | 'unregistered'
  /** It is not done, for want of a leader: it will be, later or on another session. */
  | 'passing'
  /** It is not done: a few more tries, then whoever has asked is told. */
  | 'unknown';

export function endRefusal(text: string): EndRefusal {
  if (text === 'stan: unknown channel') return 'gone';
  if (text === 'stan: invalid subscription') return 'unknown-subscription';
  if (UNKNOWN_CLIENT.has(text)) return 'unregistered';
  return PASSING_REQUEST.test(text) ? 'passing' : 'unknown';
}

/** Whether an error in the answer to a client's own close request says that there is nothing left to close. */
export function isUnknownClient(text: string): boolean {
  return UNKNOWN_CLIENT.has(text);
}
