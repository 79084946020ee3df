/**
 * Knows the size of a publish on the wire. NATS closes the connection over a message that exceeds `max_payload`. What counts is
 * the encoded PubMsg, and not the payload alone.
 */

/** The length of a GUID and of a connection ID, in characters. */
const NUID_LENGTH = 22;

/** No fewer bytes than the tags and lengths of all five fields and the two IDs take. It is compared with before it is counted exactly. */
const OVERHEAD_BOUND = 5 * (1 + 5) + 2 * NUID_LENGTH;

export class PubMsgSize {
  readonly #clientIdLength: number;
  readonly #fixed: number;

  /** @param clientId ASCII, as all client IDs are */
  constructor(clientId: string) {
    this.#clientIdLength = clientId.length;
    this.#fixed = field(clientId.length) + 2 * field(NUID_LENGTH);
  }

  /**
   * Returns the size of a PubMsg, in bytes.
   * @param channel ASCII, as all channel names are
   * @param payload its length in bytes
   */
  of(channel: string, payload: number): number {
    return this.#fixed + field(channel.length) + field(payload);
  }

  /** Whether a PubMsg is larger than a limit in bytes. */
  exceeds(limit: number, channel: string, payload: number): boolean {
    if (payload + channel.length + this.#clientIdLength + OVERHEAD_BOUND <= limit) return false;
    return this.of(channel, payload) > limit;
  }
}

/**
 * Returns the size of a protobuf field of so many bytes: one byte for the tag, because all field numbers are below 16, a varint for
 * the length, and the bytes. An empty field is left out.
 */
function field(length: number): number {
  if (length === 0) return 0;
  let varint = 1;
  for (let rest = length; rest >= 128; rest = Math.floor(rest / 128)) varint++;
  return 1 + varint + length;
}
