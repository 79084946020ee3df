/** The text of an NKey: base32 of its bytes and a checksum (CRC-16/XMODEM, little-endian). Pure. */

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
/** Length of the checksum, in bytes. */
const CHECKSUM = 2;

/** The text of a key: its prefix, its 32 bytes and their checksum. */
export function encodeNKey(prefix: Uint8Array, key: Uint8Array): string {
  const body = Buffer.concat([prefix, key]);
  const checksum = Buffer.alloc(CHECKSUM);
  checksum.writeUInt16LE(crc16(body));
  return encodeBase32(Buffer.concat([body, checksum]));
}

/** The bytes of a text, its checksum included. Undefined when it has a character that base32 does not have. */
export function decodeNKey(text: string): Buffer | undefined {
  const bytes: number[] = [];
  let bits = 0;
  let held = 0;
  for (const char of text) {
    const value = ALPHABET.indexOf(char);
    if (value < 0) return undefined;
    held = ((held << 5) | value) & 0xfff;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      bytes.push((held >> bits) & 0xff);
    }
  }
  return Buffer.from(bytes);
}

/** Whether the last two bytes are the checksum of the bytes before them. */
export function hasChecksum(bytes: Buffer): boolean {
  const end = bytes.length - CHECKSUM;
  return crc16(bytes.subarray(0, end)) === bytes.readUInt16LE(end);
}

function crc16(bytes: Uint8Array): number {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff;
  }
  return crc;
}

function encodeBase32(bytes: Uint8Array): string {
  let text = '';
  let bits = 0;
  let held = 0;
  for (const byte of bytes) {
    held = (held << 8) | byte;
    for (bits += 8; bits >= 5; bits -= 5) text += ALPHABET[(held >> (bits - 5)) & 31];
    held &= (1 << bits) - 1;
  }
  // A rest of less than 5 bits is filled up with zeros.
  return bits > 0 ? text + ALPHABET[(held << (5 - bits)) & 31] : text;
}
