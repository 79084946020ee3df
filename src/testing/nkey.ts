/** NKeys of NATS: Ed25519 keys in base 32, with a prefix that says of whom and a checksum. For test users. */
import { generateKeyPairSync } from 'node:crypto';

const SEED = 18 << 3; // 'S'
const USER = 20 << 3; // 'U'

export interface NKeyPair {
  /** `U…`, what the server is told. */
  publicKey: string;
  /** `SU…`, what the client signs with. */
  seed: string;
}

export function makeUserNKey(): NKeyPair {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  // In JWK both keys are their bare 32 bytes.
  const jwk = privateKey.export({ format: 'jwk' });
  const bare = Buffer.from(jwk.d ?? '', 'base64url');
  const open = Buffer.from(publicKey.export({ format: 'jwk' }).x ?? '', 'base64url');
  // Of a seed's prefix 5 bits say that it is one, and the next 8 whose.
  const prefix = Buffer.from([SEED | (USER >> 5), (USER & 31) << 3]);
  return { publicKey: encode(Buffer.from([USER]), open), seed: encode(prefix, bare) };
}

function encode(prefix: Buffer, key: Buffer): string {
  const body = Buffer.concat([prefix, key]);
  const checksum = Buffer.alloc(2);
  checksum.writeUInt16LE(crc16(body));
  return base32(Buffer.concat([body, checksum]));
}

/** CRC-16/XMODEM. */
function crc16(data: Buffer): number {
  let crc = 0;
  for (const byte of data) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff;
  }
  return crc;
}

function base32(data: Buffer): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
  let text = '';
  let bits = 0;
  let value = 0;
  for (const byte of data) {
    value = (value << 8) | byte;
    for (bits += 8; bits >= 5; bits -= 5) text += alphabet[(value >>> (bits - 5)) & 31];
    value &= (1 << bits) - 1;
  }
  return bits > 0 ? text + alphabet[(value << (5 - bits)) & 31] : text;
}
