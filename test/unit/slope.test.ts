import assert from 'node:assert/strict';
import fc from 'fast-check';
import { slope, type Sample } from '../endurance/slope.js';

const samples = (heap: (at: number) => number, count = 40): Sample[] =>
  Array.from({ length: count }, (_, i) => ({ at: 50 * (i + 1), heap: heap(50 * (i + 1)) }));

describe('endurance: the slope of a heap', () => {
  it('is what each one adds, whatever the first half and single samples are', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: -1000, max: 1000 }),
        fc.array(fc.nat(1e6), { minLength: 20, maxLength: 20 }),
        fc.integer({ min: 20, max: 39 }),
        fc.nat(1e7),
        (each, start, odd, jump) => {
          const all = samples((at) => 1e7 + each * at);
          for (let i = 0; i < 20; i++) all[i]!.heap += start[i]!;
          all[odd]!.heap += jump;
          assert.ok(Math.abs(slope(all) - each) < 1e-6, `${slope(all)} and not ${each}`);
        },
      ),
    );
  });

  it('is 0 for a flat heap that trembles', () => {
    assert.ok(Math.abs(slope(samples((at) => 1e7 + (at % 3) * 500))) < 5);
  });

  it('is nothing one could call flat when there are no samples', () => {
    assert.ok(Number.isNaN(slope([])));
  });
});
