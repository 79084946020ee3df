/** Makes NKeys for users of a test cluster. */
import { generateKeyPairSync } from 'node:crypto';
import { encodeNKey } from '../nkey-text.js';

const SEED = 18 << 3; // 'S'
const USER = 20 << 3; // 'U'

export interface NKeyPair {
  /** The public key (`U…`), for the server. */
  publicKey: string;
  /** The seed (`SU…`), with which the client signs. */
  seed: string;
}

export function makeUserNKey(): NKeyPair {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  // A JWK has the bare 32 bytes of both keys.
  const jwk = privateKey.export({ format: 'jwk' });
  const bare = Buffer.from(jwk.d ?? '', 'base64url');
  const open = Buffer.from(publicKey.export({ format: 'jwk' }).x ?? '', 'base64url');
  // In the prefix of a seed 5 bits say that it is a seed, and the next 8 bits say whose.
  const prefix = Buffer.from([SEED | (USER >> 5), (USER & 31) << 3]);
  return { publicKey: encodeNKey(Buffer.from([USER]), open), seed: encodeNKey(prefix, bare) };
}
