import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Deadlines, roundedUp, type Timed, type TimedBucket } from '../../../src/publishing/deadlines.js';

class Item implements Timed<Item> {
  dueAt = 0;
  bucket: TimedBucket<Item> | undefined = undefined;
  sooner: Item | undefined = undefined;
  later: Item | undefined = undefined;
}

describe('Deadlines', () => {
  it('hold whatever is added and removed, and give out what is due, as a plain array would', () => {
    const step = fc.oneof(
      fc.record({ add: fc.constantFrom(10, 20, 25.5, 1000) }),
      fc.record({ remove: fc.nat(20) }),
      fc.record({ wait: fc.nat(30) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const deadlines = new Deadlines<Item>();
        let model: Item[] = [];
        let now = 0;
        for (const step of steps) {
          if ('add' in step) {
            const item = new Item();
            deadlines.add(item, now, step.add);
            assert.equal(item.dueAt, now + step.add);
            model.push(item);
          } else if ('remove' in step) {
            const [item] = model.splice(step.remove, 1);
            if (item) deadlines.remove(item);
            if (item) deadlines.remove(item);
          } else {
            now += step.wait;
            const due = new Set<Item>();
            for (let item = deadlines.takeDue(now); item; item = deadlines.takeDue(now)) due.add(item);
            assert.deepEqual(due, new Set(model.filter((item) => item.dueAt <= now)));
            model = model.filter((item) => item.dueAt > now);
          }
          assert.equal(deadlines.next(), Math.min(Infinity, ...model.map((item) => item.dueAt)));
        }
      }),
    );
  });

  it('never make a duration shorter, nor much longer, when there are very many different ones', () => {
    const deadlines = new Deadlines<Item>();
    const items: [Item, number][] = [];
    for (let n = 0; n < 50_000; n++) {
      const item = new Item();
      const duration = 1000 + n / 7;
      deadlines.add(item, 0, duration);
      items.push([item, duration]);
    }
    for (const [item, duration] of items) {
      assert.ok(item.dueAt >= duration && item.dueAt <= duration * 1.016, `${duration} became ${item.dueAt}`);
    }
    assert.ok(deadlines.buckets < 700, `${deadlines.buckets} buckets`);
    assert.equal(deadlines.next(), 1000);
    for (const [item] of items) deadlines.remove(item);
    assert.equal(deadlines.next(), Infinity);
    assert.ok(deadlines.buckets <= 16, `${deadlines.buckets} buckets are left`);
  });

  it('round up within 1.6 %, and by at most a millisecond below 128 ms', () => {
    fc.assert(
      fc.property(fc.double({ min: 0.001, max: 1e9, noNaN: true }), (duration) => {
        const rounded = roundedUp(duration);
        assert.ok(rounded >= duration);
        assert.ok(rounded <= Math.max(duration + 1, duration * (1 + 1 / 64)));
        assert.equal(roundedUp(rounded), rounded);
      }),
    );
  });
});
