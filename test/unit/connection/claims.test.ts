import assert from 'node:assert/strict';
import { Claims } from '../../../src/connection/claims.js';

describe('claims to a client ID', () => {
  it('that are refused at first: somebody else has it', () => {
    const claims = new Claims();
    claims.made(0)();
    assert.equal(claims.refused(1), true);
  });

  it('without an answer may be what the server is busy with, but not for ever', () => {
    const claims = new Claims();
    claims.made(0);
    claims.made(2000)();
    assert.equal(claims.refused(2000), false, 'the first one is still open');
    assert.equal(claims.refused(9000), false);
    assert.equal(claims.refused(11_000), true);
  });

  it('may be granted after a later one, which they replace', () => {
    const claims = new Claims();
    claims.made(0);
    claims.made(2000)();
    claims.granted();
    assert.equal(claims.refused(9000), false);
  });

  it('of who has held it: a refusal has to last', () => {
    const claims = new Claims();
    claims.made(0)();
    claims.granted();
    for (let now = 1000; now < 6000; now += 500) assert.equal(claims.refused(now), false, `at ${now}`);
    assert.equal(claims.refused(6000), true);
  });

  it('a refusal of long ago, or before it was granted again, counts for nothing', () => {
    const claims = new Claims();
    claims.granted();
    assert.equal(claims.refused(1000), false);
    assert.equal(claims.refused(60_000), false);
    claims.granted();
    assert.equal(claims.refused(62_000), false);
    assert.equal(claims.refused(64_900), false);
    assert.equal(claims.refused(67_000), true);
  });
});
