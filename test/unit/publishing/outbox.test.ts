import assert from 'node:assert/strict';
import { Entry, Sending } from '../../../src/publishing/records.js';
import { FlushBarrier } from '../../../src/publishing/flush-barriers.js';
import { Outbox } from '../../../src/publishing/outbox.js';

const barrier = new FlushBarrier();

function entry(order: number, channel: string, size = 1): Entry {
  return new Entry(channel, 'x', 0, size, order, barrier, () => undefined);
}

function sending(of: Entry, number: number, at: number): Sending {
  return new Sending(of, number, at, false, { answered: () => {} });
}

describe('Outbox', () => {
  const options = { maxInFlight: 10_000, maxPending: 100_000, maxPendingBytes: 1e9 };

  it('strict: keeps few queues of channels that have nothing pending', () => {
    const outbox = new Outbox({ ...options, ordering: 'strict' });
    const entries = Array.from({ length: 3000 }, (_, n) => entry(n, `channel.${n}`));
    for (const e of entries) outbox.take(e);
    assert.equal(outbox.queues, 3000);
    for (const e of entries.slice(0, 1000)) outbox.sent(sending(e, e.order, 0));
    for (const e of entries) outbox.remove(e);
    assert.equal(outbox.queues, 256);
    assert.equal(outbox.pending, 0);
    assert.equal(outbox.next(0), undefined);
  });

  it('pipelined: has queues of channels only while these are held back', () => {
    const outbox = new Outbox({ ...options, ordering: 'pipelined' });
    const entries = [0, 1, 2, 3].map((n) => entry(n, n % 2 === 0 ? 'bad' : 'good'));
    for (const e of entries) outbox.take(e);
    const first = entries[0] as Entry;
    outbox.sent(sending(first, 1, 0));
    outbox.holdChannel(first, 0, 100);
    assert.equal(outbox.queues, 1);
    const order: number[] = [];
    for (const now of [0, 0, 0, 100, 100, 100]) {
      outbox.release(now);
      const next = outbox.next(now);
      if (next === undefined) continue;
      order.push(next.order);
      outbox.sent(sending(next, order.length + 1, now));
    }
    assert.deepEqual(order, [1, 3, 0, 2]);
    assert.equal(outbox.queues, 0);
  });

  it('gives everything back in the order of publishing when the session ends, though it was sent in another', () => {
    const outbox = new Outbox({ ...options, ordering: 'pipelined' });
    const entries = [0, 1, 2, 3, 4].map((n) => entry(n, 'a'));
    for (const e of entries) outbox.take(e);
    for (const n of [0, 1, 2]) outbox.sent(sending(entries[n] as Entry, n, 0));
    outbox.giveBack(entries[0] as Entry);
    outbox.sent(sending(entries[0] as Entry, 3, 0));
    outbox.recall(1);
    assert.deepEqual(
      outbox.all().map((e) => e.order),
      [0, 1, 2, 3, 4],
    );
    const order: number[] = [];
    for (let next = outbox.next(0); next !== undefined; next = outbox.next(0)) {
      order.push(next.order);
      outbox.sent(sending(next, 10 + order.length, 0));
    }
    assert.deepEqual(order, [0, 1, 2, 3, 4]);
  });
});
