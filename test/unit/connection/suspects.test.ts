import assert from 'node:assert/strict';
import type { InHand } from '../../../src/connection/protocol.js';
import { longestOf, Suspects } from '../../../src/connection/suspects.js';

const inHand = (key: string, line = 0): InHand => ({ key, line, giveUp: () => {} });

describe('suspects', () => {
  it('are guilty when they were in hand alone three times, over two seconds', () => {
    const suspects = new Suspects();
    assert.equal(suspects.accuse([inHand('a')], 0), undefined);
    assert.equal(suspects.accuse([inHand('a')], 1000), undefined);
    assert.equal(suspects.accuse([inHand('a')], 1900), undefined, 'it may pass');
    assert.equal(suspects.accuse([inHand('a')], 2000)?.key, 'a');
  });

  it('are not guilty of what happened in company, or in two seconds by twice', () => {
    const suspects = new Suspects();
    for (let now = 0; now < 10_000; now += 500) {
      assert.equal(suspects.accuse([inHand('a'), inHand('b')], now), undefined);
      assert.equal(suspects.accuse([], now), undefined);
    }
    suspects.accuse([inHand('a')], 0);
    assert.equal(suspects.accuse([inHand('a')], 9000), undefined);
  });

  it('are acquitted by a session that lasts', () => {
    const suspects = new Suspects();
    suspects.accuse([inHand('a')], 0);
    suspects.accuse([inHand('a')], 1000);
    suspects.acquit();
    assert.equal(suspects.accuse([inHand('a')], 5000), undefined);
  });

  it('of a line that was too long are known by its length', () => {
    assert.equal(longestOf([inHand('a', 3), inHand('b', 9), inHand('c', 4)])?.key, 'b');
    assert.equal(longestOf([inHand('a')]), undefined);
  });

  it('are looked for one at a time once a session ended over words that nobody knows', () => {
    const suspects = new Suspects();
    assert.equal(suspects.judge({ kind: 'unknown' }, [inHand('a'), inHand('b')], 0), undefined);
    assert.ok(suspects.careful);
    for (const now of [0, 1000]) assert.equal(suspects.judge({ kind: 'payload' }, [inHand('a')], now), undefined);
    assert.equal(suspects.judge({ kind: 'unknown' }, [inHand('a')], 2000)?.key, 'a');
    assert.ok(suspects.careful, 'until a session lasts');
    assert.equal(suspects.acquit(), true);
    assert.ok(!suspects.careful);
    assert.equal(suspects.acquit(), false);
  });

  it('are known at once by a line that was too long; nobody is, when nothing was in hand or the words are about none of it', () => {
    const suspects = new Suspects();
    assert.equal(suspects.judge({ kind: 'control-line' }, [inHand('a', 3), inHand('b', 9)], 0)?.key, 'b');
    assert.equal(suspects.judge({ kind: 'passing' }, [inHand('a')], 0), undefined);
    assert.equal(suspects.judge({ kind: 'unknown' }, [], 0), undefined);
    assert.ok(!suspects.careful);
  });
});
