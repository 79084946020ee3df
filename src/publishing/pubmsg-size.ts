/**
 * The size of a publish on the wire. NATS closes the connection over a message that exceeds `max_payload`, and what counts
 * is the encoded PubMsg of NATS Streaming's protocol, not the caller's payload alone.
 */

/** GUIDs and connection IDs are NUIDs: always 22 characters. */
const NUID_LENGTH = 22;

/** More than all five fields' tags and lengths can take, and the two IDs: a bound to compare with before counting exactly. */
const OVERHEAD_BOUND = 5 * (1 + 5) + 2 * NUID_LENGTH;

export class PubMsgSize {
  readonly #clientIdLength: number;
  readonly #fixed: number;

  /** @param clientId ASCII, as STAN's client IDs are. */
  constructor(clientId: string) {
    this.#clientIdLength = clientId.length;
    this.#fixed = field(clientId.length) + 2 * field(NUID_LENGTH);
  }

  /** Bytes of the PubMsg for `payload` bytes on `channel` (ASCII, as channel names are). */
  of(channel: string, payload: number): number {
    return this.#fixed + field(channel.length) + field(payload);
  }

  exceeds(limit: number, channel: string, payload: number): boolean {
    if (payload + channel.length + this.#clientIdLength + OVERHEAD_BOUND <= limit) return false;
    return this.of(channel, payload) > limit;
  }
}

/** A length-delimited protobuf field: one byte of tag (all field numbers are below 16), a varint, the bytes. Empty ones are left out. */
function field(length: number): number {
  if (length === 0) return 0;
  let varint = 1;
  for (let rest = length; rest >= 128; rest = Math.floor(rest / 128)) varint++;
  return 1 + varint + length;
}
