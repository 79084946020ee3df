import assert from 'node:assert/strict';
import { GroupsKnowledge, OwnKnowledge } from '../../../src/subscribing/knowledge.js';
import { beginning, NOTICE, type Beginning } from '../../../src/subscribing/resume.js';
import { subscribeOptions } from '../../support/scripted-subscriptions.js';

const begun = (startAt: Parameters<typeof beginning>[0]): Beginning => ({
  ...beginning(startAt, 0, 0),
  requestedAt: 0,
});

describe('what a queue group knows', () => {
  function group(): GroupsKnowledge {
    const group = new GroupsKnowledge(30_000);
    group.noteMade(group.plan(begun('first'), 0), 0, 10);
    group.cursor.receive(5, 50);
    group.noteReceived(5, 1000);
    group.cursor.finish(5);
    return group;
  }

  it('reaches back over sessions that brought nothing', () => {
    const knowledge = group();
    knowledge.noteLost(100_000);
    const first = knowledge.plan(begun('first'), 140_000);
    assert.deepEqual(first.start, { ago: 140_000 - (100_000 - 30_000 - NOTICE) });
    knowledge.noteMade(first, 140_000, 10);
    knowledge.noteLost(150_000);
    const second = knowledge.plan(begun('first'), 200_000);
    assert.deepEqual(second.start, { ago: 200_000 - (100_000 - 30_000 - NOTICE) });
    knowledge.noteMade(second, 200_000, 10);
    knowledge.cursor.receive(6, 60);
    knowledge.noteReceived(6, 200_000);
    knowledge.cursor.finish(6);
    knowledge.noteLost(201_000);
    assert.deepEqual(knowledge.plan(begun('first'), 300_000).start, { sequence: 6 });
  });

  it('counts from the first loss while no session comes up', () => {
    const knowledge = group();
    knowledge.noteLost(100_000);
    knowledge.noteLost(160_000);
    assert.deepEqual(knowledge.plan(begun('first'), 200_000).start, { ago: 200_000 - (100_000 - 30_000 - NOTICE) });
  });

  it('goes back to what failed lately', () => {
    const knowledge = group();
    knowledge.noteFailure(3, 80_000);
    knowledge.noteLost(100_000);
    assert.deepEqual(knowledge.plan(begun('first'), 500_000).start, { sequence: 3 });
    knowledge.forget(3);
    assert.ok('ago' in knowledge.plan(begun('first'), 500_000).start);
  });

  it('remembers a bounded number of failures', () => {
    const knowledge = group();
    for (let n = 1; n < 30_000; n++) knowledge.noteFailure(n, n);
    assert.ok(knowledge.failures.size <= 10_000);
    assert.equal(knowledge.noteFailure(29_999, 0), 2);
  });
});

describe('what a plain subscription knows', () => {
  it('of its beginning, when that had to be looked at, it insists on', () => {
    const knowledge = new OwnKnowledge(subscribeOptions({ startAt: 'last' }));
    const again = knowledge.plan(begun('last'), 5000);
    assert.deepEqual(again.start, { ago: 5000 });
    assert.equal(knowledge.mustLookBack(begun('last'), again, 5000), true);
    knowledge.noteMade(again, 5000, 10);
    assert.equal(knowledge.began(7, NaN), true);
    assert.equal(knowledge.cursor.receive(8, 80, false), 'hole');
    assert.deepEqual(knowledge.plan(begun('last'), 6000).start, { sequence: 7 });
    assert.equal(knowledge.mustLookBack(begun('last'), again, 5000), false);
  });

  it('of its beginning, when ackWait has passed since, is sure', () => {
    const knowledge = new OwnKnowledge(subscribeOptions());
    const plan = knowledge.plan(begun('new'), 0);
    assert.equal(knowledge.mustLookBack(begun('new'), plan, 0), false, 'nothing received');
    knowledge.noteMade(plan, 0, 10);
    knowledge.cursor.receive(5, 50, false);
    knowledge.noteReceived(5, 1000);
    knowledge.noteLost(10_000);
    assert.equal(knowledge.mustLookBack(begun('new'), plan, 90_000), true, 'it was lost before');
    knowledge.noteMade(plan, 90_000, 10);
    assert.equal(knowledge.mustLookBack(begun('new'), plan, 90_000), false);
  });

  describe('of its beginning', () => {
    /** Made after 1000 ms, with a request that took 10 ms; message 5 came 500 ms later. */
    function fresh(startAt: 'new' | { ago: number } = 'new'): OwnKnowledge {
      const knowledge = new OwnKnowledge(subscribeOptions({ startAt }));
      knowledge.noteMade(knowledge.plan({ ...begun(startAt), requestedAt: undefined }, 990), 1000, 10);
      knowledge.cursor.receive(5, 1e9 + 1500e6, false);
      knowledge.noteReceived(5, 1500);
      return knowledge;
    }

    it('looks back to when it was made, and no further', () => {
      assert.deepEqual(fresh().beginning({ ...begun('new'), requestedAt: 990 }, 6000), { ago: 5000 });
      assert.deepEqual(fresh({ ago: 700 }).beginning(begun({ ago: 700 }), 6000), { ago: 6690 });
    });

    it('fetches what was stored since', () => {
      const knowledge = fresh();
      assert.equal(knowledge.began(4, 1e9 + 1200e6), true);
      assert.deepEqual(knowledge.plan(begun('new'), 6000).start, { sequence: 4 });
    });

    it('leaves alone what was stored before, whatever another clock says', () => {
      const knowledge = fresh();
      assert.equal(knowledge.began(4, 1e9 + 900e6), false);
      assert.equal(knowledge.cursor.base, 5);
    });
  });
});
