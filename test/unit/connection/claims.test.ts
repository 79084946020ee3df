import assert from 'node:assert/strict';
import { Claims } from '../../../src/connection/claims.js';

describe('claims to a client ID', () => {
  it('of which all were answered say that a refusal is about somebody else', () => {
    const claims = new Claims();
    assert.equal(claims.mayBeOurs(0), false);
    claims.made(0)();
    assert.equal(claims.mayBeOurs(1), false);
  });

  it('without an answer may be what the server is busy with', () => {
    const claims = new Claims();
    claims.made(0);
    const answered = claims.made(2000);
    answered();
    assert.equal(
      claims.mayBeOurs(2000),
      true,
      'the first one is still open, and may replace even one that was granted',
    );
  });

  it('are not an explanation for ever', () => {
    const claims = new Claims();
    claims.made(0);
    assert.equal(claims.mayBeOurs(9000), true);
    assert.equal(claims.mayBeOurs(11_000), false);
  });
});
