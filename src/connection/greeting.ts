/** What a server says of itself in its INFO line, checked: whoever answers at an address may say anything. Pure. */
import { describe } from '../errors.js';
import { printable } from '../printable.js';

/** The longest INFO line that is read, in bytes: one with a thousand addresses in it has a tenth of that. */
export const LONGEST_INFO = 256 * 1024;
/** What NATS servers have by default, in bytes. */
const DEFAULT_MAX_PAYLOAD = 1024 * 1024;
/** No server takes more in one message, in bytes, and a string of Node holds not much more. */
const MOST_PAYLOAD = 256 * 1024 * 1024;

export interface Greeting {
  /** The server's limit for one protocol message, in bytes. */
  readonly maxPayload: number;
  /** To be signed, where NKeys are in use. */
  readonly nonce?: string;
  /** It takes TLS, and nothing else, or can. The result is what counts, never this. */
  readonly tls: 'required' | 'available' | 'none';
  /** It asks for a client certificate. */
  readonly asksCertificate: boolean;
  /** `host:port` of the servers it knows, itself included; unchecked. Empty when it tells of none. */
  readonly announced: readonly string[];
}

/**
 * @param json what follows `INFO `
 * @throws Error when it is no object in JSON, or its nonce cannot be one
 */
export function readGreeting(json: string): Greeting {
  let info: unknown;
  try {
    info = JSON.parse(json);
  } catch (error) {
    throw new Error(`its INFO is not JSON: ${printable(describe(error), 100)}`);
  }
  if (typeof info !== 'object' || info === null || Array.isArray(info)) throw new Error('its INFO is no object');
  const { max_payload, nonce, tls_required, tls_available, tls_verify, connect_urls } = info as Record<string, unknown>;
  if (nonce !== undefined && !(typeof nonce === 'string' && /^[!-~]{1,512}$/.test(nonce))) {
    throw new Error('its INFO has a nonce that cannot be one');
  }
  const legal = typeof max_payload === 'number' && Number.isInteger(max_payload) && max_payload > 0;
  return {
    maxPayload: legal ? Math.min(max_payload, MOST_PAYLOAD) : DEFAULT_MAX_PAYLOAD,
    ...(nonce !== undefined && { nonce }),
    // Whatever is not plainly "no" is a yes: the upgrade shows what it is worth.
    tls: tls_required ? 'required' : tls_available ? 'available' : 'none',
    asksCertificate: tls_verify === true,
    announced: Array.isArray(connect_urls) ? connect_urls.filter((url) => typeof url === 'string') : [],
  };
}
