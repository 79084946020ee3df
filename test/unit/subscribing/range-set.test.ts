import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Ring } from '../../../src/subscribing/ring.js';
import { RangeSet } from '../../../src/subscribing/range-set.js';

describe('ranges', () => {
  it('are a set, sorted and disjoint, with as few ranges as there can be', () => {
    const operation = fc.oneof(
      fc.record({ do: fc.constant('add' as const), n: fc.integer({ min: 1, max: 40 }) }),
      fc.record({ do: fc.constant('append' as const), n: fc.integer({ min: 1, max: 3 }) }),
      fc.record({ do: fc.constant('remove' as const), n: fc.integer({ min: 1, max: 40 }) }),
      fc.record({ do: fc.constant('remove-min' as const), n: fc.constant(0) }),
      fc.record({ do: fc.constant('drop-lowest' as const), n: fc.constant(0) }),
    );
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 120 }), (operations) => {
        const ranges = new RangeSet();
        const model = new Set<number>();
        const sorted = (): number[] => [...model].sort((a, b) => a - b);
        for (const { do: what, n } of operations) {
          if (what === 'add') {
            assert.equal(ranges.add(n), !model.has(n));
            model.add(n);
          } else if (what === 'append') {
            const next = Math.max(0, ...model) + n;
            ranges.append(next, NaN, NaN);
            model.add(next);
          } else if (what === 'remove') {
            assert.equal(ranges.remove(n, NaN), model.delete(n));
          } else if (what === 'remove-min') {
            const min = sorted()[0];
            assert.equal(ranges.min, min ?? NaN);
            if (min !== undefined) ranges.remove(min, NaN);
            model.delete(min!);
          } else {
            for (
              let min = sorted()[0];
              min !== undefined && model.delete(min);
              min = model.has(min + 1) ? min + 1 : undefined
            );
            ranges.dropLowest();
          }
          assert.equal(ranges.size, model.size);
          assert.equal(ranges.max, sorted().at(-1) ?? NaN);
          const expected: [number, number][] = [];
          for (const m of sorted()) {
            const last = expected.at(-1);
            if (last?.[1] === m - 1) last[1] = m;
            else expected.push([m, m]);
          }
          assert.deepEqual([...ranges], expected);
          assert.equal(ranges.ranges, expected.length);
          for (let m = 0; m <= 45; m++) assert.equal(ranges.has(m), model.has(m));
        }
      }),
      { numRuns: 400 },
    );
  });

  it('remember the marks of what is below the smallest, and of the smallest', () => {
    const ranges = new RangeSet();
    ranges.append(5, 40, 50);
    assert.deepEqual(ranges.rangeFrom(0), { low: 5, high: 5, below: 40, first: 50 });
    ranges.append(6, 50, 60);
    ranges.append(7, 60, 70);
    ranges.append(9, 80, 90);
    ranges.remove(5, 50);
    assert.deepEqual(ranges.rangeFrom(0), { low: 6, high: 7, below: 50, first: NaN });
    ranges.append(10, 90, 100);
    ranges.remove(6, 60);
    ranges.remove(7, 70);
    assert.deepEqual(ranges.rangeFrom(0), { low: 9, high: 10, below: 80, first: 90 });
  });

  it('split where one in the middle is removed', () => {
    const ranges = new RangeSet();
    for (let n = 1; n <= 5; n++) ranges.append(n, n * 10 - 10, n * 10);
    ranges.remove(3, 30);
    assert.deepEqual([...ranges], [[1, 2], [4, 5]]); // prettier-ignore
    ranges.remove(1, 10);
    ranges.remove(2, 20);
    assert.deepEqual([ranges.rangeFrom(0)?.low, ranges.rangeFrom(0)?.below], [4, 30]);
  });

  it('cost nothing for what is dense', () => {
    const ranges = new RangeSet();
    for (let n = 1; n <= 100_000; n++) ranges.append(n, NaN, NaN);
    assert.equal(ranges.ranges, 1);
    assert.equal(ranges.size, 100_000);
  });
});

describe('a ring', () => {
  it('is a queue', () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { maxLength: 300 }), (pushes) => {
        const ring = new Ring<number>();
        const model: number[] = [];
        pushes.forEach((push, i) => {
          if (push) {
            ring.push(i);
            model.push(i);
          } else assert.equal(ring.shift(), model.shift());
          assert.equal(ring.length, model.length);
        });
      }),
    );
  });
});
