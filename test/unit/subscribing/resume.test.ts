import assert from 'node:assert/strict';
import fc from 'fast-check';
import { RecentDeliveries } from '../../../src/subscribing/recent-deliveries.js';
import {
  beginning,
  notBefore,
  planContiguous,
  planFirst,
  planGroup,
  type GroupPosition,
} from '../../../src/subscribing/resume.js';
import { subscribeOptions } from '../../support/scripted-subscriptions.js';

describe('where a subscription starts', () => {
  const first = (startAt: Parameters<typeof beginning>[0], requestedAt?: number) =>
    planFirst({ ...beginning(startAt, 1000, 5_000_000), requestedAt }, 4000).start;

  it('is at first what was asked for', () => {
    assert.deepEqual(first('new'), { at: 'new' });
    assert.deepEqual(first('last'), { at: 'last' });
    assert.deepEqual(first('first'), { at: 'first' });
    assert.deepEqual(first({ sequence: 7 }), { sequence: 7 });
  });

  it("is never 'new' or 'last' again, but as long ago as the first request", () => {
    assert.deepEqual(first('new', 1500), { ago: 2500 });
    assert.deepEqual(first('last', 1500), { ago: 2500 });
    assert.deepEqual(first('first', 1500), { at: 'first' });
    assert.deepEqual(first({ sequence: 7 }, 1500), { sequence: 7 });
  });

  it('by age or time counts from the call', () => {
    assert.deepEqual(first({ ago: 500 }), { ago: 3500 });
    assert.deepEqual(first({ ago: 500 }, 1500), { ago: 3500 });
    assert.deepEqual(first({ time: new Date(5_000_000 - 60_000) }), { ago: 63_000 });
    assert.deepEqual(first({ time: new Date(9_000_000) }), { ago: 3000 }, 'not in the future');
  });

  it('by time is earlier where what is before that time is dropped', () => {
    const time = new Date(5_000_000 - 60_000);
    assert.deepEqual(beginning({ time }, 0, 5_000_000, 1000).startAt, { ago: 61_000 });
    assert.deepEqual(beginning({ time: new Date(5_000_400) }, 0, 5_000_000, 1000).startAt, { ago: 600 });
    assert.deepEqual(beginning({ ago: 7 }, 0, 5_000_000, 1000).startAt, { ago: 7 }, 'an age is what it is');
  });

  it('drops what is before a time, unless the server may know better', () => {
    const startAt = { time: new Date(5) };
    assert.equal(notBefore(subscribeOptions({ startAt })), 5e6);
    assert.equal(notBefore(subscribeOptions({ startAt, durableName: 'd' })), -Infinity);
    assert.equal(notBefore(subscribeOptions({ startAt, queueGroup: 'q' })), -Infinity);
    for (const other of ['new', { ago: 5 }, { sequence: 5 }] as const)
      assert.equal(notBefore(subscribeOptions({ startAt: other })), -Infinity);
  });

  it('is then at the cursor', () => {
    const plan = planContiguous(beginning('new', 0, 0), { sequence: 9, time: 90 }, 10);
    assert.deepEqual(plan, { start: { sequence: 9 }, at: { sequence: 9, time: 90 } });
  });

  describe('of a queue group', () => {
    const known: GroupPosition = {
      received: true,
      unfinished: undefined,
      missing: undefined,
      next: undefined,
      recent: 20,
      proven: true,
      lastReceipt: 99_000,
      arrivedUpTo: 98_000,
      since: Infinity,
    };
    const plan = (changes: Partial<GroupPosition>, startAt: 'first' | 'new' = 'first') =>
      planGroup({ ...beginning(startAt, 0, 0), requestedAt: 0 }, { ...known, ...changes }, 160_000).start;

    it('is as asked for while nothing was received', () => {
      assert.deepEqual(plan({ received: false }), { at: 'first' });
      assert.deepEqual(plan({ received: false }, 'new'), { ago: 160_000 });
    });

    it('is where something may have been lost, or is unfinished', () => {
      assert.deepEqual(plan({}), { sequence: 20 });
      assert.deepEqual(plan({ unfinished: 5 }), { sequence: 5 });
      assert.deepEqual(plan({ unfinished: 25 }), { sequence: 20 });
      assert.deepEqual(plan({ missing: 5 }), { sequence: 5 });
    });

    it('goes by time when nothing was received since the last proof', () => {
      assert.deepEqual(plan({ lastReceipt: 60_000 }), { ago: 62_000 });
      assert.deepEqual(plan({ lastReceipt: 60_000, unfinished: 7 }), { sequence: 7 });
      assert.deepEqual(plan({ lastReceipt: 60_000, missing: 7 }), { sequence: 7 });
      assert.deepEqual(plan({ lastReceipt: 60_000, since: 1000 }), { ago: 159_000 });
    });

    it('is above the highest one where all messages come to this client, whatever time it is', () => {
      assert.deepEqual(plan({ lastReceipt: 60_000, next: 31 }), { sequence: 31 });
      assert.deepEqual(plan({ lastReceipt: 60_000, next: 31, unfinished: 7 }), { sequence: 7 });
      assert.deepEqual(plan({ next: 31 }), { sequence: 20 }, 'where something may be lost');
    });

    it('goes back to the beginning when nothing was proven since', () => {
      assert.deepEqual(plan({ proven: false }, 'new'), { ago: 160_000 });
      assert.deepEqual(plan({ proven: false }, 'first'), { sequence: 20 }, "but never to 'first'");
    });
  });
});

describe('receipts', () => {
  it('know from where on something may be lost', () => {
    const receipts = new RecentDeliveries(32_000);
    assert.equal(receipts.from(0), undefined);
    receipts.note(10, 0);
    receipts.note(12, 100);
    assert.equal(receipts.from(-Infinity), 10);
    receipts.note(11, 9000);
    receipts.note(30, 15_000);
    assert.equal(receipts.from(0), 10);
    assert.equal(receipts.from(5000), 11, 'the lowest since');
    assert.equal(receipts.from(12_000), 13, 'all above the highest before it');
    assert.equal(receipts.from(20_000), 31, 'nothing came since');
    receipts.note(50, 60_000);
    assert.equal(receipts.from(0), 31, 'no further back than the span');
    assert.equal(receipts.covers(28_000), true);
    assert.equal(receipts.covers(27_000), false);
    receipts.clear();
    assert.equal(receipts.from(0), undefined);
  });

  it('never leave out what came since, or may have been lost since', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ gap: fc.integer({ min: 0, max: 3000 }), sequence: fc.integer({ min: 1, max: 500 }) }), {
          minLength: 1,
        }),
        fc.integer({ min: 0, max: 20_000 }),
        (notes, back) => {
          const receipts = new RecentDeliveries(32_000);
          const all: { at: number; sequence: number }[] = [];
          let at = 0;
          for (const { gap, sequence } of notes) {
            receipts.note(sequence, (at += gap));
            all.push({ at, sequence });
          }
          const since = Math.max(0, at - back);
          const from = receipts.from(since)!;
          const before = Math.max(0, ...all.filter((note) => note.at < since).map((note) => note.sequence));
          for (const note of all) if (note.at >= since) assert.ok(from <= note.sequence);
          if (before > 0) assert.ok(from <= before + 1);
        },
      ),
    );
  });
});
