import assert from 'node:assert/strict';
import fc from 'fast-check';
import { type FlushBarrier, FlushBarriers } from '../../../src/publishing/flush-barriers.js';
import { reactions } from './setup.js';

describe('FlushBarriers', () => {
  it('resolve a flush when all that was open before it is settled, in whatever order that happens', async () => {
    const step = fc.oneof(fc.constant('open' as const), fc.constant('flush' as const), fc.nat(10));
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        const barriers = new FlushBarriers();
        const messages: { barrier: FlushBarrier; open: boolean }[] = [];
        const flushes: { upTo: number; done: boolean }[] = [];
        for (const step of steps) {
          if (step === 'open') {
            messages.push({ barrier: barriers.join(), open: true });
          } else if (step === 'flush') {
            const flush = { upTo: messages.length, done: false };
            flushes.push(flush);
            barriers.whenFlushed(() => (flush.done = true));
          } else {
            const message = messages.filter(({ open }) => open)[step];
            if (message) {
              message.open = false;
              barriers.settled(message.barrier);
            }
          }
          for (let turn = 0; turn < 3; turn++) await Promise.resolve();
          for (const { upTo, done } of flushes) assert.equal(done, !messages.slice(0, upTo).some(({ open }) => open));
        }
      }),
      { numRuns: 300 },
    );
  });

  it('call nobody back who does not wait any longer, and keep nothing of him', async () => {
    const barriers = new FlushBarriers();
    const barrier = barriers.join();
    const called: string[] = [];
    const forget = barriers.whenFlushed(() => called.push('given up'));
    barriers.whenFlushed(() => called.push('waited'));
    for (let i = 0; i < 1000; i++) barriers.whenFlushed(() => called.push('never'))();
    assert.equal(barrier.waiting?.size, 2);
    forget();
    barriers.settled(barrier);
    await reactions();
    assert.deepEqual(called, ['waited']);
    barriers.whenFlushed(() => called.push('nothing is open'));
    assert.equal(called.length, 1, 'not at once');
    await reactions();
    assert.deepEqual(called, ['waited', 'nothing is open']);
  });
});
