import assert from 'node:assert/strict';
import fc from 'fast-check';
import { editDistance, suggest } from '../../src/suggest.js';

const KNOWN = ['clusterId', 'clientId', 'publishing', 'maxInFlight', 'tls', 'name', 'pass', 'token'];

describe('suggest', () => {
  for (const [name, meant] of [
    ['clusterID', 'clusterId'],
    ['cluster_id', 'clusterId'],
    ['cluster-id', 'clusterId'],
    ['clientld', 'clientId'],
    ['publishng', 'publishing'],
    ['publsihing', 'publishing'],
    ['maxInflight', 'maxInFlight'],
    ['maxinflght', 'maxInFlight'],
    ['TLS', 'tls'],
    ['tsl', 'tls'],
    ['names', 'name'],
    ['tokne', 'token'],
  ] as const) {
    it(`takes '${name}' for '${meant}'`, () => assert.equal(suggest(name, KNOWN), meant));
  }

  for (const name of ['', 'x', 'port', 'handler', 'somethingElse', 'a'.repeat(100_000)]) {
    it(`finds nothing near '${name.slice(0, 20)}'`, () => assert.equal(suggest(name, KNOWN), undefined));
  }

  it('prefers the nearest', () => assert.equal(suggest('abcdef', ['abcxyf', 'abcdxf', 'abxyzf']), 'abcdxf'));
});

describe('editDistance', () => {
  const text = fc.string({ maxLength: 12 });

  it('counts insertions, deletions, replacements and swaps', () => {
    assert.equal(editDistance('abc', 'abc'), 0);
    assert.equal(editDistance('abc', 'abxc'), 1);
    assert.equal(editDistance('abc', 'ac'), 1);
    assert.equal(editDistance('abc', 'axc'), 1);
    assert.equal(editDistance('abc', 'acb'), 1);
    assert.equal(editDistance('', 'abc'), 3);
    assert.equal(editDistance('kitten', 'sitting'), 3);
  });

  it('is symmetric, zero only for the same text, and at most the longer length', () => {
    fc.assert(
      fc.property(text, text, (a, b) => {
        const distance = editDistance(a, b);
        assert.equal(distance, editDistance(b, a));
        assert.equal(distance === 0, a === b);
        assert.ok(distance <= Math.max(a.length, b.length));
        assert.ok(distance >= Math.abs(a.length - b.length));
      }),
    );
  });

  it('stops at its limit', () => {
    fc.assert(
      fc.property(text, text, fc.integer({ min: 0, max: 15 }), (a, b, limit) => {
        assert.equal(editDistance(a, b, limit), Math.min(editDistance(a, b), limit));
      }),
    );
  });
});
