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
            generations.current.open++;
            messages.push({ generation: generations.current, open: true });
          } else if (step === 'flush') {
            const flush = { upTo: messages.length, done: false };
            flushes.push(flush);
            void generations.flush().then(() => (flush.done = true));
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

  it('give out one promise for all flushes that wait for the same', async () => {
    const generations = new Generations();
    generations.current.open++;
    const generation = generations.current;
    const flush = generations.flush();
    assert.equal(generations.flush(), flush);
    generations.settled(generation);
    await flush;
    generations.current.open++;
    assert.notEqual(generations.flush(), flush);
    await reactions();
  });
});
