import assert from 'node:assert/strict';
import { userKeyFromSeed } from '../../../src/connection/nkey.js';
import { SEED, tsNkeys } from '../../support/nkeys.js';

describe('userKeyFromSeed', () => {
  it('agrees with ts-nkeys on public keys and signatures', () => {
    for (let round = 0; round < 50; round++) {
      const pair = tsNkeys.createUser();
      const key = userKeyFromSeed(pair.getSeed().toString());
      assert.equal(key.publicKey, pair.getPublicKey().toString());
      const nonce = Buffer.from(`nonce-${round}`);
      assert.deepEqual(key.sign(nonce), Buffer.from(pair.sign(nonce)));
      assert.ok(tsNkeys.fromPublic(Buffer.from(key.publicKey)).verify(nonce, key.sign(nonce)));
    }
  });

  for (const [what, seed, word] of [
    ['an empty seed', '', 'not an NKey seed'],
    ['something else', 'hunter2', 'not an NKey seed'],
    ['a seed cut short', SEED.slice(0, -2), 'not an NKey seed'],
    ['a seed in lower case', SEED.toLowerCase(), 'not an NKey seed'],
    ['a seed with a slip', SEED.slice(0, 20) + (SEED[20] === 'A' ? 'B' : 'A') + SEED.slice(21), 'checksum'],
    ['a public key', tsNkeys.createUser().getPublicKey().toString(), 'public key'],
    ['the seed of an account', tsNkeys.createAccount().getSeed().toString(), 'not the seed of a user'],
    ['the seed of an operator', tsNkeys.createOperator().getSeed().toString(), 'not the seed of a user'],
  ] as const) {
    it(`refuses ${what}, without showing it`, () => {
      assert.throws(
        () => userKeyFromSeed(seed),
        ({ message }: Error) => message.includes(word) && (seed === '' || !message.includes(seed)),
      );
    });
  }
});
