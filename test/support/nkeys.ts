/** Key pairs made with ts-nkeys, the implementation that the wrapped client uses. For tests only. */
import { createRequire } from 'node:module';

interface KeyPair {
  getSeed(): Buffer;
  getPublicKey(): Buffer;
  sign(input: Buffer): Buffer;
  verify(input: Buffer, signature: Buffer): boolean;
}

// Not a dependency of ours: found from where `nats` finds it.
const nats = createRequire(import.meta.url).resolve('nats');
export const tsNkeys = createRequire(nats)('ts-nkeys') as {
  createUser(): KeyPair;
  createAccount(): KeyPair;
  createOperator(): KeyPair;
  fromPublic(key: Buffer): KeyPair;
};

/** The seed of some user. */
export const SEED = tsNkeys.createUser().getSeed().toString();
