import assert from 'node:assert/strict';
import { GroupDeliveryState, OwnDeliveryState } from '../../../src/subscribing/delivery-state.js';
import { beginning, type Beginning } from '../../../src/subscribing/resume.js';
import { subscribeOptions } from '../../support/scripted-subscriptions.js';

const begun = (startAt: Parameters<typeof beginning>[0]): Beginning => ({
  ...beginning(startAt, 0, 0),
  requestedAt: 0,
});

describe('what a queue group knows', () => {
  const OVERTAKING = 250;

  function member(options: { ackWait?: number; maxInFlight?: number } = {}): GroupDeliveryState {
    const group = new GroupDeliveryState();
    group.join({ ackWait: 30_000, maxInFlight: 16, ...options });
    group.noteSession({}, true);
    return group;
  }

  const receive = (group: GroupDeliveryState, sequence: number, now: number): void => {
    group.cursor.receive(sequence, sequence * 10);
    group.noteReceived(sequence, now);
    group.cursor.finish(sequence);
  };

  const made = (group: GroupDeliveryState, now: number, startAt: Parameters<typeof begun>[0] = 'first'): void =>
    group.noteMade(group.plan(begun(startAt), now), now, 10);

  /** Made at 0; 5 came at 1000, 6 at 2000, 7 at 3000; the leader answered what it was asked at 2500. */
  function group(): GroupDeliveryState {
    const group = member();
    made(group, 0);
    receive(group, 5, 1000);
    receive(group, 6, 2000);
    group.noteAnswer(2500);
    receive(group, 7, 3000);
    return group;
  }

  const start = (group: GroupDeliveryState, now: number, startAt: Parameters<typeof begun>[0] = 'first'): unknown =>
    group.plan(begun(startAt), now).start;

  it('repeats only what came after the last proof of the whole way', () => {
    const knowledge = group();
    knowledge.noteLost(3100, -Infinity);
    assert.deepEqual(start(knowledge, 9000), { sequence: 7 });
  });

  it('repeats nothing when nothing came since, by time', () => {
    const knowledge = group();
    knowledge.noteAnswer(100_000);
    knowledge.noteLost(100_500, -Infinity);
    assert.deepEqual(start(knowledge, 140_000), { ago: 140_000 - (100_000 - OVERTAKING) });
  });

  it('repeats what was on its way when something was noticed as lost', () => {
    const knowledge = group();
    knowledge.noteLoss(3050);
    knowledge.noteAnswer(4000);
    receive(knowledge, 8, 5000);
    knowledge.noteAnswer(6000);
    knowledge.noteLost(6100, -Infinity);
    assert.deepEqual(start(knowledge, 9000), { sequence: 7 });
  });

  it('but no longer than ackWait: by then the server has sent it again', () => {
    const knowledge = group();
    knowledge.noteLoss(3050);
    receive(knowledge, 8, 5000);
    knowledge.noteAnswer(50_000);
    knowledge.noteLost(50_100, -Infinity);
    assert.deepEqual(start(knowledge, 60_000), { ago: 60_000 - (50_000 - OVERTAKING) });
  });

  it('waits for the member that waits longest', () => {
    const knowledge = group();
    knowledge.join({ ackWait: 60_000, maxInFlight: 4 });
    knowledge.join({ ackWait: 1000, maxInFlight: 4 });
    knowledge.noteLoss(3050);
    receive(knowledge, 8, 5000);
    knowledge.noteAnswer(50_000);
    knowledge.noteLost(50_100, -Infinity);
    assert.deepEqual(start(knowledge, 60_000), { sequence: 7 });
  });

  it('repeats what is known to be missing', () => {
    const knowledge = group();
    knowledge.noteLoss(3050, 4);
    knowledge.noteAnswer(5000);
    knowledge.noteLost(5100, -Infinity);
    assert.deepEqual(start(knowledge, 6000), { sequence: 4 });
  });

  it('repeats what is in hand, no further back than a window', () => {
    const knowledge = group();
    knowledge.cursor.receive(8, 80);
    knowledge.noteReceived(8, 3200);
    knowledge.noteAnswer(5000);
    knowledge.noteLost(5100, -Infinity);
    assert.deepEqual(start(knowledge, 6000), { sequence: 8 });
    for (let n = 9; n < 40; n++) receive(knowledge, n, 5100);
    knowledge.noteAnswer(8000);
    assert.deepEqual(start(knowledge, 9000), { ago: 9000 - (8000 - OVERTAKING) });
  });

  it('begins at the beginning when nothing was proven since', () => {
    const knowledge = member();
    made(knowledge, 1000, 'new');
    receive(knowledge, 5, 1500);
    knowledge.noteLost(2000, -Infinity);
    assert.deepEqual(start(knowledge, 3000, 'new'), { ago: 3000 });
    assert.deepEqual(start(knowledge, 3000), { sequence: 5 });
  });

  it('reaches back over sessions that brought nothing', () => {
    const knowledge = group();
    knowledge.noteAnswer(100_000);
    knowledge.noteLost(100_100, -Infinity);
    knowledge.noteSession({}, true);
    made(knowledge, 140_000);
    knowledge.noteAnswer(140_100);
    knowledge.noteLost(150_000, -Infinity);
    assert.deepEqual(start(knowledge, 200_000), { ago: 200_000 - (100_000 - OVERTAKING) });
    knowledge.noteSession({}, true);
    made(knowledge, 200_000);
    knowledge.noteAnswer(205_000);
    knowledge.noteLost(205_100, -Infinity);
    assert.deepEqual(start(knowledge, 300_000), { ago: 300_000 - (205_000 - OVERTAKING) }, 'there was nothing');
  });

  it('repeats from where the last session began, until that has brought something', () => {
    const knowledge = group();
    knowledge.noteLost(3100, -Infinity);
    knowledge.noteSession({}, true);
    made(knowledge, 9000);
    knowledge.noteLost(9500, -Infinity);
    assert.deepEqual(start(knowledge, 10_000), { sequence: 7 });
  });

  it('asks for a proof while there is something in doubt', () => {
    const knowledge = member();
    made(knowledge, 0);
    assert.equal(knowledge.wantsAnswerSince, undefined);
    receive(knowledge, 5, 1000);
    assert.equal(knowledge.wantsAnswerSince, -Infinity);
    knowledge.noteAnswer(1100);
    assert.equal(knowledge.wantsAnswerSince, undefined);
    receive(knowledge, 6, 1200);
    assert.equal(knowledge.wantsAnswerSince, 1500);
  });

  it('leaves what failed to the group while the session lives, unless it is alone', () => {
    const knowledge = group();
    const unfinished = {
      sequence: 7,
      time: 70,
      due: 0,
      session: 1,
      fetched: false,
      reservedUntil: 0,
      handed: undefined,
      waits: 0,
    };
    assert.equal(knowledge.fate(unfinished), 'fetch', 'alone, so far as can be seen');
    receive(knowledge, 20, 3300);
    assert.equal(knowledge.fate(unfinished), 'later', 'what was leapt over may have been lost');
    assert.equal(knowledge.fate({ ...unfinished, waits: 3 }), 'fetch', 'but not for ever');
    for (let n = 22; n < 60; n += 2) receive(knowledge, n, 3300);
    assert.equal(knowledge.fate(unfinished), 'group', 'others have their share');
    assert.equal(knowledge.fate({ ...unfinished, fetched: true }), 'fetch', 'the server does not have it pending');
    knowledge.noteSession({}, true);
    assert.equal(knowledge.fate(unfinished), 'fetch');
  });

  it('remembers a bounded number of failures', () => {
    const knowledge = member();
    for (let n = 1; n < 30_000; n++) knowledge.noteFailure(n, n);
    assert.ok(knowledge.failures.size <= 10_000);
    assert.equal(knowledge.noteFailure(29_999, 0), 2);
  });
});

describe('what a plain subscription knows', () => {
  it('of its beginning, when that had to be looked at, it insists on', () => {
    const knowledge = new OwnDeliveryState(subscribeOptions({ startAt: 'last' }));
    const again = knowledge.plan(begun('last'), 5000);
    assert.deepEqual(again.start, { ago: 5000 });
    assert.equal(knowledge.mustPeekBack(begun('last'), again, 5000), true);
    knowledge.noteMade(again, 5000, 10);
    assert.equal(knowledge.began(7, NaN), true);
    assert.equal(knowledge.cursor.receive(8, 80, false), 'hole');
    assert.deepEqual(knowledge.plan(begun('last'), 6000).start, { sequence: 7 });
    assert.equal(knowledge.mustPeekBack(begun('last'), again, 5000), false);
  });

  it('of its beginning, when ackWait has passed since, is sure', () => {
    const knowledge = new OwnDeliveryState(subscribeOptions());
    const plan = knowledge.plan(begun('new'), 0);
    assert.equal(knowledge.mustPeekBack(begun('new'), plan, 0), false, 'nothing received');
    knowledge.noteMade(plan, 0, 10);
    knowledge.cursor.receive(5, 50, false);
    knowledge.noteReceived(5, 1000);
    knowledge.noteLost(10_000, -Infinity);
    assert.equal(knowledge.mustPeekBack(begun('new'), plan, 90_000), true, 'it was lost before');
    knowledge.noteMade(plan, 90_000, 10);
    assert.equal(knowledge.mustPeekBack(begun('new'), plan, 90_000), false);
  });

  describe('of its beginning', () => {
    /** Made after 1000 ms, with a request that took 10 ms; message 5 came 500 ms later. */
    function fresh(startAt: 'new' | { ago: number } = 'new'): OwnDeliveryState {
      const knowledge = new OwnDeliveryState(subscribeOptions({ startAt }));
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

  describe('of a sequence that was not there yet', () => {
    const startAt = { sequence: 100 };
    /** Made once, and nothing came. */
    function asked(): OwnDeliveryState {
      const knowledge = new OwnDeliveryState(subscribeOptions({ startAt }));
      const plan = knowledge.plan({ ...begun(startAt), requestedAt: undefined }, 0);
      assert.equal(knowledge.mustPeekBack(begun(startAt), plan, 0), false);
      knowledge.noteMade(plan, 10, 10);
      knowledge.noteLost(1000, -Infinity);
      return knowledge;
    }

    it('looks, in a later life, for the first message since the first request', () => {
      const knowledge = asked();
      const plan = knowledge.plan(begun(startAt), 5000);
      assert.deepEqual(plan.start, startAt);
      assert.equal(knowledge.mustPeekBack(begun(startAt), plan, 5000), true);
      assert.deepEqual(knowledge.beginning(begun(startAt), 5000), { ago: 5000 });
      assert.equal(knowledge.began(6, 1e9), true);
      assert.deepEqual(knowledge.plan(begun(startAt), 6000).start, { sequence: 6 });
      assert.equal(knowledge.mustPeekBack(begun(startAt), plan, 6000), false);
    });

    it('begins with the smaller of the two', () => {
      for (const [first, starts] of [
        [99, 99],
        [100, 100],
        [150, 100],
      ] as const) {
        const knowledge = asked();
        knowledge.noteMade(knowledge.plan(begun(startAt), 5000), 5000, 10);
        assert.equal(knowledge.began(first, 1e9), first < 100);
        assert.deepEqual(knowledge.plan(begun(startAt), 6000).start, { sequence: starts });
      }
    });

    it('looks again while nothing was published', () => {
      const knowledge = asked();
      for (const now of [5000, 6000]) {
        const plan = knowledge.plan(begun(startAt), now);
        assert.equal(knowledge.mustPeekBack(begun(startAt), plan, now), true);
        knowledge.noteMade(plan, now, 10);
      }
    });

    it('looks for those below when only that sequence has come', () => {
      const knowledge = new OwnDeliveryState(subscribeOptions({ startAt }));
      const plan = knowledge.plan(begun(startAt), 0);
      knowledge.noteMade(plan, 0, 10);
      knowledge.cursor.receive(100, 1e9, false);
      knowledge.noteReceived(100, 50);
      assert.equal(knowledge.mustPeekBack(begun(startAt), plan, 100), true);
      assert.equal(knowledge.began(101, 1e9 + 5e6), false, 'it was there');
      assert.equal(knowledge.began(98, 1e9 - 10e6), true, 'it was not, and these were lost on their way');
    });

    it('and when another one has', () => {
      const knowledge = new OwnDeliveryState(subscribeOptions({ startAt }));
      const plan = knowledge.plan(begun(startAt), 0);
      knowledge.noteMade(plan, 0, 10);
      knowledge.cursor.receive(7, 1e9, false);
      knowledge.noteReceived(7, 50);
      assert.equal(knowledge.mustPeekBack(begun(startAt), plan, 100), true);
      assert.deepEqual(knowledge.beginning(begun(startAt), 5000), { ago: 4990 }, 'no earlier than it began');
      assert.equal(knowledge.began(6, 1e9 - 10e6), true);
    });
  });

  describe("of what is gone, when it asked for 'first'", () => {
    const first = (): OwnDeliveryState => {
      const knowledge = new OwnDeliveryState(subscribeOptions({ startAt: 'first' }));
      knowledge.noteMade(knowledge.plan(begun('first'), 0), 0, 10);
      return knowledge;
    };

    it('misses nothing that was gone when it began', () => {
      const knowledge = first();
      knowledge.noteHole(6);
      knowledge.noteMade(knowledge.plan(begun('first'), 100), 100, 10);
    });

    it('misses what was there, and is gone since', () => {
      const knowledge = first();
      knowledge.noteHole(6);
      knowledge.noteMade(knowledge.plan(begun('first'), 100), 100, 10);
      knowledge.noteHole(16);
    });

    it('misses all if its first life has brought nothing', () => {
      const knowledge = first();
      knowledge.noteMade(knowledge.plan(begun('first'), 100), 100, 10);
      knowledge.noteHole(16);
    });

    it('misses all of a channel that started over', () => {
      const knowledge = first();
      knowledge.noteHole(6);
      knowledge.startOver();
    });
  });
});

describe('what a durable may have missed below its first message', () => {
  const startAt = { sequence: 3 };
  function received(sequence: number, redelivered: boolean): OwnDeliveryState {
    const knowledge = new OwnDeliveryState(subscribeOptions({ startAt, durableName: 'd' }));
    knowledge.noteMade(knowledge.plan(begun(startAt), 0), 0, 10);
    knowledge.cursor.receive(sequence, 1e9, redelivered);
    knowledge.noteReceived(sequence, 50);
    return knowledge;
  }

  it('is what it asked for', () => assert.deepEqual(received(6, false).below, { from: 3, to: 5 }));

  it('is nothing when it got that', () => assert.equal(received(3, false).below, undefined));

  it('is nothing when the server knew it', () => {
    const knowledge = received(6, true);
    knowledge.cursor.receive(9, 2e9, false);
    knowledge.noteReceived(9, 60);
    assert.equal(knowledge.below, undefined);
  });

  it('is nothing of a channel that is gone', () => {
    const knowledge = received(6, false);
    knowledge.startOver();
    assert.equal(knowledge.below, undefined);
  });
});

describe('what a durable knows', () => {
  const durable = (): OwnDeliveryState => {
    const knowledge = new OwnDeliveryState(subscribeOptions({ durableName: 'd', maxInFlight: 10 }));
    knowledge.noteSession({}, true);
    knowledge.noteMade(knowledge.plan(begun('first'), 0), 0, 10);
    knowledge.cursor.receive(1, 5e9, false);
    knowledge.noteReceived(1, 1000);
    return knowledge;
  };

  it('is ours while our registration is', () => {
    const knowledge = durable();
    knowledge.noteLost(2000, -Infinity);
    knowledge.noteSession({}, true);
    assert.equal(knowledge.maybeOthers(2, 60e9), false);
    assert.equal(knowledge.wantsLast, false);
  });

  it('is ours up to the last proof when another process may have had it', () => {
    const knowledge = durable();
    knowledge.noteLost(9000, 3000);
    knowledge.noteSession({}, false);
    // The leader knew us 2 s after we had received that.
    const until = 5e9 + 2000e6;
    assert.equal(knowledge.maybeOthers(2, until), false);
    assert.equal(knowledge.maybeOthers(2, until + 1), true);
    knowledge.noteSession({}, true);
    assert.equal(knowledge.maybeOthers(2, until + 1), true, 'on later sessions as well');
    knowledge.noteNew();
    assert.equal(knowledge.maybeOthers(2, until + 1), false, 'until the server sends what is new');
  });

  it('is ours from what was stored on when it was with us again', () => {
    const knowledge = durable();
    knowledge.noteLost(9000, 3000);
    knowledge.noteSession({}, false);
    assert.equal(knowledge.wantsLast, true);
    knowledge.noteLast(7);
    assert.equal(knowledge.wantsLast, false);
    assert.equal(knowledge.maybeOthers(7, 60e9), true);
    assert.equal(knowledge.maybeOthers(8, 60e9), false);
    knowledge.noteSession({}, false);
    assert.equal(knowledge.maybeOthers(8, 60e9), true, 'until another process may have had it again');
  });
});
