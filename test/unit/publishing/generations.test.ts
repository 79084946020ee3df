import assert from 'node:assert/strict';
import fc from 'fast-check';
import { type Generation, Generations } from '../../../src/publishing/generations.js';
import { reactions } from './setup.js';

describe('Generations', () => {
  it('resolve a flush when all that was open before it is settled, in whatever order that happens', async () => {
    const step = fc.oneof(fc.constant('open' as const), fc.constant('flush' as const), fc.nat(10));
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        const generations = new Generations();
        const messages: { generation: Generation; open: boolean }[] = [];
        const flushes: { upTo: number; done: boolean }[] = [];
        for (const step of steps) {
          if (step === 'open') {
            messages.push({ generation: generations.join(), open: true });
          } else if (step === 'flush') {
            const flush = { upTo: messages.length, done: false };
            flushes.push(flush);
            generations.whenFlushed(() => (flush.done = true));
          } else {
            const message = messages.filter(({ open }) => open)[step];
            if (message) {
              message.open = false;
              generations.settled(message.generation);
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
    const generations = new Generations();
    const generation = generations.join();
    const called: string[] = [];
    const forget = generations.whenFlushed(() => called.push('given up'));
    generations.whenFlushed(() => called.push('waited'));
    for (let i = 0; i < 1000; i++) generations.whenFlushed(() => called.push('never'))();
    assert.equal(generation.waiting?.size, 2);
    forget();
    generations.settled(generation);
    await reactions();
    assert.deepEqual(called, ['waited']);
    generations.whenFlushed(() => called.push('nothing is open'));
    assert.equal(called.length, 1, 'not at once');
    await reactions();
    assert.deepEqual(called, ['waited', 'nothing is open']);
  });
});
