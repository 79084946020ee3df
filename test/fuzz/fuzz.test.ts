/**
 * A short run of the fuzz (`npm run fuzz` is the long one): malformed frames, INFOs and answers of the streaming protocol at
 * every stage, from a scripted peer, against a client that has a good server in its list.
 */
import assert from 'node:assert/strict';
import { fuzz } from './run.js';

describe('the fuzz', function () {
  this.timeout(120_000);

  it('300 cases: it always ends up at the good server', async () => {
    const seed = 1;
    const result = await fuzz({ seed, first: 0, count: 300, lanes: 16 });
    assert.deepEqual(
      result.failures.map(({ number, what }) => `npm run fuzz -- --seed ${seed} --case ${number}: ${what}`),
      [],
    );
    assert.ok(result.lied > 150, `only ${result.lied} lies were told`);
    assert.ok(result.left > 5, `only ${result.left} left the liar: the lies are too small`);
  });
});
