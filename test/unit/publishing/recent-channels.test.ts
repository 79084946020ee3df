import assert from 'node:assert/strict';
import fc from 'fast-check';
import { RecentChannels } from '../../../src/publishing/recent-channels.js';

describe('RecentChannels', () => {
  it('knows what was added, until it is deleted', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.boolean())), (steps) => {
        const recent = new RecentChannels();
        const model = new Set<string>();
        for (const [channel, add] of steps) {
          if (add) recent.add(channel);
          else recent.delete(channel);
          if (add) model.add(channel);
          else model.delete(channel);
          for (const each of ['a', 'b', 'c']) assert.equal(recent.has(each), model.has(each));
        }
      }),
    );
  });

  it('keeps the latest 5000, and never more than 10 000', () => {
    const recent = new RecentChannels();
    const count = 23_456;
    for (let n = 0; n < count; n++) recent.add(`channel-${n}`);
    let known = 0;
    for (let n = 0; n < count; n++) {
      if (recent.has(`channel-${n}`)) known++;
      else assert.ok(n < count - 5000, `channel-${n} is forgotten`);
    }
    assert.ok(known <= 10_000, `${known} are known`);
  });
});
