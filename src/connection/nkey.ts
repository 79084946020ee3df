/**
 * NKeys: an Ed25519 key pair whose seed and public key are written in base32, with a prefix that says what kind of key
 * it is and a checksum (CRC-16/XMODEM, little-endian). Node's own crypto does the rest.
 */
import { createPrivateKey, createPublicKey, sign } from 'node:crypto';

export interface NKey {
  /** `U…` */
  readonly publicKey: string;
  /** The raw 64-byte Ed25519 signature. */
  sign(nonce: Uint8Array): Buffer;
}

const SEED_PREFIX = 18 << 3;
const USER_PREFIX = 20 << 3;
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
/** The constant head of a PKCS #8 document with an Ed25519 private key (RFC 8410). */
const PKCS8_HEAD = Buffer.from('302e020100300506032b657004220420', 'hex');

export function isUserPublicKey(key: string): boolean {
  return /^U[A-Z2-7]{55}$/.test(key);
}

/** @throws Error that says what is wrong, without the seed */
export function userKeyFromSeed(seed: string): NKey {
  if (isUserPublicKey(seed)) {
    throw new Error("it is the public key: give the seed, which starts with 'SU'");
  }
  const bytes = decodeBase32(seed);
  if (bytes === undefined || bytes.length !== 36) {
    throw new Error("it is not an NKey seed: 58 characters of A–Z and 2–7 that start with 'SU'");
  }
  if (crc16(bytes.subarray(0, 34)) !== bytes.readUInt16LE(34))
    throw new Error('its checksum is wrong: it was not copied whole');
  const kind = ((bytes[0]! & 0b111) << 5) | (bytes[1]! >> 3);
  if ((bytes[0]! & 0b11111000) !== SEED_PREFIX || kind !== USER_PREFIX) {
    throw new Error("it is not the seed of a user: that one starts with 'SU'");
  }

  const privateKey = createPrivateKey({
    key: Buffer.concat([PKCS8_HEAD, bytes.subarray(2, 34)]),
    format: 'der',
    type: 'pkcs8',
  });
  const point = Buffer.from(createPublicKey(privateKey).export({ format: 'jwk' }).x!, 'base64url');
  return { publicKey: encodeKey(USER_PREFIX, point), sign: (nonce) => sign(null, nonce, privateKey) };
}

function encodeKey(prefix: number, key: Buffer): string {
  const body = Buffer.concat([Buffer.from([prefix]), key]);
  const checksum = Buffer.alloc(2);
  checksum.writeUInt16LE(crc16(body));
  return encodeBase32(Buffer.concat([body, checksum]));
}

function crc16(bytes: Uint8Array): number {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff;
  }
  return crc;
}

/** Of a multiple of 5 bytes, as a key with its prefix and checksum is: nothing is left over then. */
function encodeBase32(bytes: Uint8Array): string {
  let text = '';
  let bits = 0;
  let held = 0;
  for (const byte of bytes) {
    held = (held << 8) | byte;
    for (bits += 8; bits >= 5; bits -= 5) text += ALPHABET[(held >> (bits - 5)) & 31];
    held &= 31;
  }
  return text;
}

function decodeBase32(text: string): Buffer | undefined {
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
