/**
 * A long outage costs nothing for each attempt, and a loss nothing when it is over. In a process of its own, where nothing
 * else is on the heap. The long runs are `npm run endurance`.
 */
import assert from 'node:assert/strict';
import { endure } from '../endurance/endure.js';
import { leftOvers } from '../endurance/verdict.js';

describe('what an outage costs in memory', function () {
  this.timeout(120_000);

  it('nothing for each failed attempt: the heap is flat, and listeners, sockets and timers are as they were', async () => {
    const count = 2000;
    assert.deepEqual(leftOvers('attempts', count, await endure('attempts', count)), []);
  });

  it('nothing for each loss that a ConnectionLostHandler has let pass', async () => {
    const count = 1000;
    assert.deepEqual(leftOvers('reconnects', count, await endure('reconnects', count)), []);
  });
});
