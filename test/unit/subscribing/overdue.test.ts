/** Handlers that run for longer than `ackWait`, in virtual time. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { ReceivedMessage } from '../../../src/subscribing/message.js';
import { OverdueWatch } from '../../../src/subscribing/overdue.js';
import { VirtualTime } from '../../support/virtual-time.js';

const ACK_WAIT = 8000;
const message = (sequence: number): ReceivedMessage => ({ sequence, place: -1 }) as ReceivedMessage;

describe('a handler that runs for longer than ackWait', () => {
  let time: VirtualTime;
  let told: [sequence: number, at: number][];
  let watch: OverdueWatch;
  let counting: Set<OverdueWatch>;

  beforeEach(() => {
    time = new VirtualTime({ start: 0, exact: true });
    told = [];
    counting = new Set();
    watch = new OverdueWatch(time.clock, ACK_WAIT, counting, ({ sequence }) => told.push([sequence, time.now()]));
  });

  it('is told once, at most an eighth late', async () => {
    watch.began(message(1));
    await time.pass(ACK_WAIT);
    assert.deepEqual(told, []);
    await time.pass(10 * ACK_WAIT);
    assert.deepEqual(told, [[1, 9000]]);
  });

  it('needs no timer once it was told, and none when nothing runs', async () => {
    const first = message(1);
    watch.began(first);
    assert.equal(time.armed, 1);
    watch.ended(first);
    await time.pass(1001);
    assert.equal(time.armed, 0);
    watch.began(message(2));
    await time.pass(2 * ACK_WAIT);
    assert.equal(told.length, 1);
    assert.equal(time.armed, 0);
    assert.equal(counting.size, 0);
  });

  it('is not told once the watch is stopped, which leaves no timer', async () => {
    const first = message(1);
    watch.began(first);
    watch.began(message(2));
    assert.deepEqual([...counting], [watch]);
    watch.stop();
    assert.equal(counting.size, 0);
    assert.equal(time.armed, 0);
    // A handler may end later than that.
    watch.ended(first);
    await time.pass(10 * ACK_WAIT);
    assert.deepEqual(told, []);
  });

  it('is not told when it ends in time', async () => {
    for (let i = 0; i < 50; i++) {
      const each = message(i);
      watch.began(each);
      await time.pass(ACK_WAIT);
      watch.ended(each);
    }
    assert.deepEqual(told, []);
  });

  it('is told for each that does, however they overlap (property)', async () => {
    const runs = fc.array(fc.record({ at: fc.nat(40_000), takes: fc.nat(30_000) }), { maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(runs, async (runs) => {
        const time = new VirtualTime({ start: 0, exact: true });
        const told = new Map<number, number>();
        const watch = new OverdueWatch(time.clock, ACK_WAIT, new Set(), ({ sequence }) => {
          assert.ok(!told.has(sequence));
          told.set(sequence, time.now());
        });
        for (const [i, { at, takes }] of runs.entries()) {
          const each = message(i);
          time.sources.setTimeout(() => watch.began(each), at, true);
          time.sources.setTimeout(() => watch.ended(each), at + takes, true);
        }
        await time.pass(100_000);
        for (const [i, { at, takes }] of runs.entries()) {
          const toldAt = told.get(i);
          if (takes < ACK_WAIT) assert.equal(toldAt, undefined);
          if (takes > (ACK_WAIT * 9) / 8) assert.ok(toldAt !== undefined);
          if (toldAt !== undefined) assert.ok(toldAt >= at + ACK_WAIT && toldAt <= at + (ACK_WAIT * 9) / 8);
        }
      }),
    );
  });
});
