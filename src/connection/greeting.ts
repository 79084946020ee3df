/** Reads and checks the INFO line of a server. Anybody may answer at an address, so nothing in it is trusted. Pure. */
import { describe, type PlainServer } from '../errors.js';
import { printable } from '../printable.js';

/** The longest INFO line that is read, in bytes. A line with a thousand addresses has a tenth of it. */
export const LONGEST_INFO = 256 * 1024;
/** The default limit of NATS servers for one message, in bytes. */
const DEFAULT_MAX_PAYLOAD = 1024 * 1024;
/** The highest limit that is believed, in bytes. No server takes more, and a string of Node holds little more. */
const MOST_PAYLOAD = 256 * 1024 * 1024;

export interface Greeting {
  /** The server's limit for one protocol message, in bytes. */
  readonly maxPayload: number;
  /** The text to sign if the server uses NKeys. */
  readonly nonce?: string;
  /** Whether the server demands TLS, offers it, or neither. Only the result of the TLS handshake counts in the end. */
  readonly tls: 'required' | 'available' | 'none';
  /** Whether the server asks for a client certificate. */
  readonly asksCertificate: boolean;
  /** The servers that it knows, itself included, as `host:port`. They are not checked. It is empty if the server names none. */
  readonly announced: readonly string[];
  /**
   * Is set if no server of NATS Streaming is built into it, and it can tell whether one is connected to it. That alone does not
   * say that there is none: `plain-server.ts` asks.
   */
  readonly plain?: PlainServer;
}

/** The version of the NATS server in the last release of NATS Streaming, 0.25.6. */
const LAST_BUILT_IN = [2, 9, 24] as const;
/** The first version that tells of a subject that nobody listens to. */
const FIRST_TO_TELL = [2, 2, 0] as const;

/**
 * Reads an INFO line.
 * @param json the text behind `INFO `
 * @throws Error when it is not a JSON object, or its nonce is impossible
 */
export function readGreeting(json: string): Greeting {
  let info: unknown;
  try {
    info = JSON.parse(json);
  } catch (error) {
    throw new Error(`its INFO is not JSON: ${printable(describe(error), 100)}`);
  }
  if (typeof info !== 'object' || info === null || Array.isArray(info)) throw new Error('its INFO is no object');
  const fields = info as Record<string, unknown>;
  const { max_payload, nonce, tls_required, tls_available, tls_verify, connect_urls } = fields;
  if (nonce !== undefined && !(typeof nonce === 'string' && /^[!-~]{1,512}$/.test(nonce))) {
    throw new Error('its INFO has a nonce that cannot be one');
  }
  const legal = typeof max_payload === 'number' && Number.isInteger(max_payload) && max_payload > 0;
  const plain = plainServer(fields);
  return {
    maxPayload: legal ? Math.min(max_payload, MOST_PAYLOAD) : DEFAULT_MAX_PAYLOAD,
    ...(nonce !== undefined && { nonce }),
    // Any value that is not plainly "no" counts as a yes. The TLS handshake shows what is true.
    tls: tls_required ? 'required' : tls_available ? 'available' : 'none',
    asksCertificate: tls_verify === true,
    announced: Array.isArray(connect_urls) ? connect_urls.filter((url) => typeof url === 'string') : [],
    ...(plain !== undefined && { plain }),
  };
}

/**
 * Reads the signs of a NATS server that runs by itself: releases of it have the commit that they were built from, which the one
 * inside of a release of NATS Streaming has not. Newer ones than the last of these, and JetStream, are signs as well.
 */
function plainServer({ version, git_commit, jetstream, headers }: Record<string, unknown>): PlainServer | undefined {
  const parts = typeof version === 'string' ? /^(\d{1,6})\.(\d{1,6})\.(\d{1,6})/.exec(version) : null;
  if (parts === null || headers !== true) return undefined;
  const numbers = parts.slice(1).map(Number);
  if (compare(numbers, FIRST_TO_TELL) < 0) return undefined;
  const byItself = (typeof git_commit === 'string' && git_commit !== '') || jetstream === true;
  if (!byItself && compare(numbers, LAST_BUILT_IN) <= 0) return undefined;
  return { version: numbers.join('.'), jetStream: jetstream === true };
}

/** Compares two versions: below 0 if the first one is older. */
function compare(one: readonly number[], other: readonly number[]): number {
  const at = one.findIndex((number, i) => number !== other[i]);
  return at < 0 ? 0 : one[at]! - other[at]!;
}
