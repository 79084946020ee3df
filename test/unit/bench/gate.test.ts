import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { excesses, FACADE_LIMITS, facadeExcesses, TOLERANCE, type Costs } from '../../../bench/gate/verdict.js';
import { median, pairedRatio, quantile, spread } from '../../../bench/statistics.js';

const expected = JSON.parse(
  readFileSync(new URL('../../../bench/gate/expected.json', import.meta.url), 'utf8'),
) as Record<string, Costs>;

describe("the gate's verdict", () => {
  it('lets through what costs what it did, and what noise makes of it', () => {
    for (const noise of [0.8, 1, 1.05]) {
      const measured = Object.entries(expected).map(
        ([what, { cpu, allocations }]) => [what, { cpu: cpu * noise, allocations: allocations * noise }] as const,
      );
      assert.deepEqual(excesses(new Map(measured), expected), []);
    }
  });

  it('does not let through what is a fifth dearer, whichever it is', () => {
    for (const [what, costs] of Object.entries(expected)) {
      for (const cost of ['cpu', 'allocations'] as const) {
        const measured = new Map([[what, { ...costs, [cost]: costs[cost] * 1.2 }]]);
        const [excess, ...others] = excesses(measured, expected);
        assert.deepEqual([excess?.what, excess?.cost, others], [what, cost, []]);
        assert.equal(excess?.limit, costs[cost] * TOLERANCE[cost]);
      }
    }
  });

  it('does not let through what could not be measured', () => {
    const [what] = Object.keys(expected) as [string];
    assert.equal(excesses(new Map([[what, { cpu: NaN, allocations: NaN }]]), expected).length, 2);
  });

  it('lets the facade cost as much more as it may, and no more', () => {
    for (const [what, limit] of Object.entries(FACADE_LIMITS)) {
      assert.deepEqual(facadeExcesses(new Map([[what, limit]])), []);
      for (const measured of [limit + 0.01, NaN]) {
        assert.deepEqual(facadeExcesses(new Map([[what, measured]])), [{ what, cost: 'facade', measured, limit }]);
      }
    }
    assert.throws(() => facadeExcesses(new Map([['new', 0]])), /no limit for 'new'/);
  });

  it('says what to do about a case that is new', () => {
    assert.throws(() => excesses(new Map([['new', { cpu: 1, allocations: 1 }]]), expected), /'new'.*--write/);
  });
});

describe('the statistics of the benchmarks', () => {
  it('interpolate quantiles', () => {
    assert.equal(median([4, 1, 3, 2]), 2.5);
    assert.equal(quantile([0, 10], 0.95), 9.5);
    assert.ok(Number.isNaN(median([])));
  });

  it("keep 'never' where it stands", () => {
    assert.equal(median([1, 2, Infinity]), 2);
    assert.equal(quantile([1, Infinity], 0.95), Infinity);
    assert.equal(median([Infinity, Infinity]), Infinity);
  });

  it('compare pairs, so that what slows both does not count', () => {
    const theirs = [10, 20, 30, 1000];
    const {
      median: ratio,
      low,
      high,
    } = pairedRatio(
      theirs.map((value) => value / 2),
      theirs,
    );
    assert.deepEqual([ratio, low, high], [0.5, 0.5, 0.5]);
  });

  it('tell how much a figure wavers', () => {
    assert.equal(spread([100, 100, 100]), 0);
    assert.equal(spread([90, 100, 110]), 0.05);
  });
});
