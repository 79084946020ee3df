import assert from 'node:assert/strict';
import type { StanStats } from '../../src/index.js';
import type { Endured } from '../endurance/endure.js';
import { leftOvers } from '../endurance/verdict.js';

const NONE = { sockets: 0, timers: 0 };
const state = { listeners: 7, handles: { sockets: 1, timers: 3 } };

/** A run in which nothing is left over, but for `changes`. */
function endured(changes: Partial<Endured> = {}, stats: Partial<StanStats> = {}): Endured {
  return {
    samples: Array.from({ length: 40 }, (_, i) => ({ at: 50 * (i + 1), heap: 1e7 + (i % 2) * 100 })),
    before: state,
    after: state,
    handles: { without: NONE, closed: NONE },
    ...changes,
    stats: { losses: 2000, reconnects: 2000, subscriptions: 1, ...stats } as StanStats,
  };
}

describe('endurance: what is left over', () => {
  it('nothing, when all is as it was', () => {
    assert.deepEqual(leftOvers('reconnects', 2000, endured()), []);
    assert.deepEqual(leftOvers('attempts', 2000, endured({}, { losses: 1, reconnects: 1 })), []);
  });

  for (const [what, changes, stats] of [
    ['heap', { samples: Array.from({ length: 40 }, (_, i) => ({ at: i + 1, heap: 1e7 + 24 * i })) }, {}],
    ['no samples', { samples: [] }, {}],
    ['a listener', { after: { ...state, listeners: 8 } }, {}],
    ['a timer', { after: { ...state, handles: { sockets: 1, timers: 4 } } }, {}],
    ['a socket', { handles: { without: NONE, closed: { sockets: 1, timers: 0 } } }, {}],
    ['a loss that was not counted', {}, { losses: 1999 }],
    ['a reconnect that was counted twice', {}, { reconnects: 2001 }],
    ['a subscription', {}, { subscriptions: 2 }],
  ] satisfies [string, Partial<Endured>, Partial<StanStats>][]) {
    it(`says so: ${what}`, () => {
      assert.equal(leftOvers('reconnects', 2000, endured(changes, stats)).length, 1);
    });
  }
});
