/**
 * NKeys are Ed25519 key pairs. The texts of their keys begin with a prefix for the kind of key. The cryptography is that of
 * Node.
 */
import { createPrivateKey, createPublicKey, sign } from 'node:crypto';
import { decodeNKey, encodeNKey, hasChecksum } from '../nkey-text.js';

export interface NKey {
  /** It begins with `U`. */
  readonly publicKey: string;
  /** Returns the 64 bytes of the Ed25519 signature. */
  sign(nonce: Uint8Array): Buffer;
}

const SEED_PREFIX = 18 << 3;
const USER_PREFIX = 20 << 3;
/** The constant beginning of a PKCS #8 document with an Ed25519 private key (RFC 8410). */
const PKCS8_HEAD = Buffer.from('302e020100300506032b657004220420', 'hex');

/** Whether a text has the form of a user's public key. */
export function isUserPublicKey(key: string): boolean {
  return /^U[A-Z2-7]{55}$/.test(key);
}

/**
 * Returns the key pair of a user's seed.
 * @throws Error that says what is wrong, without the seed
 */
export function userKeyFromSeed(seed: string): NKey {
  if (isUserPublicKey(seed)) {
    throw new Error("it is the public key: give the seed, which starts with 'SU'");
  }
  const bytes = decodeNKey(seed);
  if (bytes === undefined || bytes.length !== 36) {
    throw new Error("it is not an NKey seed: 58 characters of A–Z and 2–7 that start with 'SU'");
  }
  if (!hasChecksum(bytes)) throw new Error('its checksum is wrong: it was not copied whole');
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
  return { publicKey: encodeNKey(Buffer.from([USER_PREFIX]), point), sign: (nonce) => sign(null, nonce, privateKey) };
}
