import assert from 'node:assert/strict';
import fc from 'fast-check';
import { retryDelay } from '../../src/backoff.js';

const options = fc
  .record({
    factor: fc.double({ min: 1, max: 10, noNaN: true }),
    minTimeout: fc.integer({ min: 1, max: 10_000 }),
    maxTimeout: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
    randomize: fc.boolean(),
  })
  .filter(({ minTimeout, maxTimeout }) => minTimeout <= maxTimeout);
const attempt = fc.oneof(fc.integer({ min: 1, max: 30 }), fc.integer({ min: 1, max: 2 ** 31 }));
const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

describe('retryDelay', () => {
  it('grows by the factor up to the cap', () => {
    const plain = { factor: 2, minTimeout: 100, maxTimeout: 1000, randomize: false };
    assert.deepEqual(
      [1, 2, 3, 4, 5, 6].map((n) => retryDelay(n, plain)),
      [100, 200, 400, 800, 1000, 1000],
    );
  });

  it('draws from the upper half of the delay', () => {
    const jittered = { factor: 2, minTimeout: 100, maxTimeout: 1000, randomize: true };
    assert.equal(
      retryDelay(1, jittered, () => 0),
      50,
    );
    assert.equal(
      retryDelay(1, jittered, () => 0.5),
      75,
    );
    assert.equal(
      retryDelay(50, jittered, () => 0),
      500,
    );
    assert.equal(
      retryDelay(50, jittered, () => 0.999),
      999.5,
    );
  });

  it('is never more than maxTimeout, never less than half of minTimeout, and a number a timer takes', () => {
    fc.assert(
      fc.property(attempt, options, random, (n, retry, drawn) => {
        const delay = retryDelay(n, retry, () => drawn);
        assert.ok(Number.isFinite(delay));
        assert.ok(delay <= retry.maxTimeout);
        assert.ok(delay >= retry.minTimeout / (retry.randomize ? 2 : 1));
      }),
    );
  });

  it('does not decrease from attempt to attempt, for the same draw', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 10_000 }), options, random, (n, retry, drawn) => {
        assert.ok(retryDelay(n + 1, retry, () => drawn) >= retryDelay(n, retry, () => drawn));
      }),
    );
  });

  it('keeps its jitter at the cap: other draws, other delays', () => {
    fc.assert(
      fc.property(options, random, random, (retry, one, other) => {
        fc.pre(Math.abs(one - other) > 1e-6);
        const capped = { ...retry, factor: 2, randomize: true };
        assert.notEqual(
          retryDelay(1000, capped, () => one),
          retryDelay(1000, capped, () => other),
        );
      }),
    );
  });
});
