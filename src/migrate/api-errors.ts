/** The codes with which JetStream refuses, and what they mean for a migration. Pure. */

export const CONSUMER_NOT_FOUND = 10014;
export const MESSAGE_TOO_LARGE = 10054;
export const NAME_IN_USE = 10058;
export const NO_MESSAGE = 10037;
export const NO_PEERS = 10005;
export const NOT_CLUSTERED = 10074;
export const NO_ROOM = 10023;
export const STREAM_NOT_FOUND = 10059;
export const SUBJECT_IN_USE = 10065;
/** The last message has another sequence than it was said: before 2.12, and from then on. */
export const WRONG_LAST_SEQUENCE: readonly number[] = [10071, 10164];
/** The last message has another ID than it was said. */
export const WRONG_LAST_ID = 10070;
/** The message is for another stream. */
export const OTHER_STREAM = 10060;
/** JetStream has no leader, or is too busy. These pass. */
const PASSING: readonly number[] = [10008, 10023];
/** What a server answers in the words of HTTP when it is not available for now. */
const UNAVAILABLE = 503;

/** The code of an error of JetStream's API. Undefined for another error, as of the connection. */
export function apiCode(error: unknown): number | undefined {
  const code = (error as { code?: unknown } | undefined)?.code;
  return typeof code === 'number' ? code : undefined;
}

/** Whether an error is one with which the official client refuses a call by itself: it has sent nothing, and will not. */
function isOfCall(error: unknown): boolean {
  return (error as Error | undefined)?.name === 'InvalidArgumentError';
}

/** Whether JetStream, or the official client in its place, has refused, and not only for now. */
export function isRefusal(error: unknown): boolean {
  const code = apiCode(error);
  if (code === undefined) return isOfCall(error);
  return !PASSING.includes(code) && (error as { status?: unknown }).status !== UNAVAILABLE;
}

/**
 * Why a message of a publish is too large.
 *
 * - `'servers'`: the official client has not sent it, because the servers would not take it;
 * - `'stream'`: the stream does not take it.
 *
 * Undefined when it was not refused for that.
 */
export function tooLargeFor(error: unknown): 'servers' | 'stream' | undefined {
  if (apiCode(error) === MESSAGE_TOO_LARGE) return 'stream';
  return isOfCall(error) && /max_payload/.test((error as Error).message) ? 'servers' : undefined;
}
