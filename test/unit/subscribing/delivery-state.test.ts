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
    const state = group();
    state.noteLost(3100, -Infinity);
    assert.deepEqual(start(state, 9000), { sequence: 7 });
  });

  it('repeats nothing when nothing came since, by time', () => {
    const state = group();
    state.noteAnswer(100_000);
    state.noteLost(100_500, -Infinity);
    assert.deepEqual(start(state, 140_000), { ago: 140_000 - (100_000 - OVERTAKING) });
  });

  it('goes by number where a hundred in a row came to this client: what is stored may be sent later than an answer', () => {
    const state = group();
    for (let sequence = 8; sequence <= 104; sequence++) receive(state, sequence, 4000);
    state.noteAnswer(100_000);
    state.noteLost(100_500, -Infinity);
    assert.deepEqual(start(state, 140_000), { sequence: 105 });
    receive(state, 106, 150_000);
    state.noteAnswer(200_000);
    state.noteLost(200_500, -Infinity);
    assert.deepEqual(start(state, 210_000), { ago: 210_000 - (200_000 - OVERTAKING) }, 'others may have 105');
  });

  it('repeats what was on its way when something was noticed as lost', () => {
    const state = group();
    state.noteLoss(3050);
    state.noteAnswer(4000);
    receive(state, 8, 5000);
    state.noteAnswer(6000);
    state.noteLost(6100, -Infinity);
    assert.deepEqual(start(state, 9000), { sequence: 7 });
  });

  it('but no longer than ackWait: by then the server has sent it again', () => {
    const state = group();
    state.noteLoss(3050);
    receive(state, 8, 5000);
    state.noteAnswer(50_000);
    state.noteLost(50_100, -Infinity);
    assert.deepEqual(start(state, 60_000), { ago: 60_000 - (50_000 - OVERTAKING) });
  });

  it('waits for the member that waits longest', () => {
    const state = group();
    state.join({ ackWait: 60_000, maxInFlight: 4 });
    state.join({ ackWait: 1000, maxInFlight: 4 });
    state.noteLoss(3050);
    receive(state, 8, 5000);
    state.noteAnswer(50_000);
    state.noteLost(50_100, -Infinity);
    assert.deepEqual(start(state, 60_000), { sequence: 7 });
  });

  it('repeats what is known to be missing', () => {
    const state = group();
    state.noteLoss(3050, 4);
    state.noteAnswer(5000);
    state.noteLost(5100, -Infinity);
    assert.deepEqual(start(state, 6000), { sequence: 4 });
  });

  it('repeats what is in hand, no further back than a window', () => {
    const state = group();
    state.cursor.receive(8, 80);
    state.noteReceived(8, 3200);
    state.noteAnswer(5000);
    state.noteLost(5100, -Infinity);
    assert.deepEqual(start(state, 6000), { sequence: 8 });
    for (let n = 9; n < 40; n++) receive(state, n, 5100);
    state.noteAnswer(8000);
    assert.deepEqual(start(state, 9000), { ago: 9000 - (8000 - OVERTAKING) });
  });

  it('begins at the beginning when nothing was proven since', () => {
    const state = member();
    made(state, 1000, 'new');
    receive(state, 5, 1500);
    state.noteLost(2000, -Infinity);
    assert.deepEqual(start(state, 3000, 'new'), { ago: 3000 });
    assert.deepEqual(start(state, 3000), { sequence: 5 });
  });

  it('reaches back over sessions that brought nothing', () => {
    const state = group();
    state.noteAnswer(100_000);
    state.noteLost(100_100, -Infinity);
    state.noteSession({}, true);
    made(state, 140_000);
    state.noteAnswer(140_100);
    state.noteLost(150_000, -Infinity);
    assert.deepEqual(start(state, 200_000), { ago: 200_000 - (100_000 - OVERTAKING) });
    state.noteSession({}, true);
    made(state, 200_000);
    state.noteAnswer(205_000);
    state.noteLost(205_100, -Infinity);
    assert.deepEqual(start(state, 300_000), { ago: 300_000 - (205_000 - OVERTAKING) }, 'there was nothing');
  });

  it('repeats from where the last session began, until that has brought something', () => {
    const state = group();
    state.noteLost(3100, -Infinity);
    state.noteSession({}, true);
    made(state, 9000);
    state.noteLost(9500, -Infinity);
    assert.deepEqual(start(state, 10_000), { sequence: 7 });
  });

  it('asks for a proof while there is something in doubt', () => {
    const state = member();
    made(state, 0);
    assert.equal(state.wantsAnswerSince, undefined);
    receive(state, 5, 1000);
    assert.equal(state.wantsAnswerSince, -Infinity);
    state.noteAnswer(1100);
    assert.equal(state.wantsAnswerSince, undefined);
    receive(state, 6, 1200);
    assert.equal(state.wantsAnswerSince, 1500);
  });

  it('leaves what failed to the group while the session lives, unless it is alone', () => {
    const state = group();
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
    assert.equal(state.fate(unfinished), 'fetch', 'alone, so far as can be seen');
    receive(state, 20, 3300);
    assert.equal(state.fate(unfinished), 'later', 'what was leapt over may have been lost');
    assert.equal(state.fate({ ...unfinished, waits: 3 }), 'fetch', 'but not for ever');
    for (let n = 22; n < 60; n += 2) receive(state, n, 3300);
    assert.equal(state.fate(unfinished), 'group', 'others have their share');
    assert.equal(state.fate({ ...unfinished, fetched: true }), 'fetch', 'the server does not have it pending');
    state.noteSession({}, true);
    assert.equal(state.fate(unfinished), 'fetch');
  });

  it('remembers a bounded number of failures', () => {
    const state = member();
    for (let n = 1; n < 30_000; n++) state.noteFailure(n, n);
    assert.ok(state.failures.size <= 10_000);
    assert.equal(state.noteFailure(29_999, 0), 2);
  });

  it('counts what was handed over apart from what failed, until it is processed', () => {
    const state = member();
    assert.equal(state.handedBefore(1), 0);
    state.noteHanded(1, 0);
    assert.equal(state.handedBefore(1), 1);
    assert.equal(state.noteFailure(1, 0), 1, 'what a member gives back has not failed');
    assert.equal(state.handedBefore(1), 2);
    assert.equal(state.handedBefore(2), 0);
    state.forget(1);
    assert.equal(state.handedBefore(1), 0);
  });
});

describe('what a plain subscription knows', () => {
  it('of its beginning, when that had to be looked at, it insists on', () => {
    const state = new OwnDeliveryState(subscribeOptions({ startAt: 'last' }));
    const again = state.plan(begun('last'), 5000);
    assert.deepEqual(again.start, { ago: 5000 });
    assert.equal(state.mustPeekBack(begun('last'), again, 5000), true);
    state.noteMade(again, 5000, 10);
    assert.equal(state.began(7, NaN), true);
    assert.equal(state.cursor.receive(8, 80, false), 'hole');
    assert.deepEqual(state.plan(begun('last'), 6000).start, { sequence: 7 });
    assert.equal(state.mustPeekBack(begun('last'), again, 5000), false);
  });

  it('of its beginning, when ackWait has passed since, is sure', () => {
    const state = new OwnDeliveryState(subscribeOptions());
    const plan = state.plan(begun('new'), 0);
    assert.equal(state.mustPeekBack(begun('new'), plan, 0), false, 'nothing received');
    state.noteMade(plan, 0, 10);
    state.cursor.receive(5, 50, false);
    state.noteReceived(5, 1000);
    state.noteLost(10_000, -Infinity);
    assert.equal(state.mustPeekBack(begun('new'), plan, 90_000), true, 'it was lost before');
    state.noteMade(plan, 90_000, 10);
    assert.equal(state.mustPeekBack(begun('new'), plan, 90_000), false);
  });

  describe('of its beginning', () => {
    /** Made after 1000 ms, with a request that took 10 ms; message 5 came 500 ms later. */
    function fresh(startAt: 'new' | { ago: number } = 'new'): OwnDeliveryState {
      const state = new OwnDeliveryState(subscribeOptions({ startAt }));
      state.noteMade(state.plan({ ...begun(startAt), requestedAt: undefined }, 990), 1000, 10);
      state.cursor.receive(5, 1e9 + 1500e6, false);
      state.noteReceived(5, 1500);
      return state;
    }

    it('looks back to when it was made, and no further', () => {
      assert.deepEqual(fresh().beginning({ ...begun('new'), requestedAt: 990 }, 6000), { ago: 5000 });
      assert.deepEqual(fresh({ ago: 700 }).beginning(begun({ ago: 700 }), 6000), { ago: 6690 });
    });

    it('fetches what was stored since', () => {
      const state = fresh();
      assert.equal(state.began(4, 1e9 + 1200e6), true);
      assert.deepEqual(state.plan(begun('new'), 6000).start, { sequence: 4 });
    });

    it('leaves alone what was stored before, whatever another clock says', () => {
      const state = fresh();
      assert.equal(state.began(4, 1e9 + 900e6), false);
      assert.equal(state.cursor.base, 5);
    });
  });

  describe('of a sequence that was not there yet', () => {
    const startAt = { sequence: 100 };
    /** Made once, and nothing came. */
    function asked(): OwnDeliveryState {
      const state = new OwnDeliveryState(subscribeOptions({ startAt }));
      const plan = state.plan({ ...begun(startAt), requestedAt: undefined }, 0);
      assert.equal(state.mustPeekBack(begun(startAt), plan, 0), false);
      state.noteMade(plan, 10, 10);
      state.noteLost(1000, -Infinity);
      return state;
    }

    it('looks, in a later life, for the first message since the first request', () => {
      const state = asked();
      const plan = state.plan(begun(startAt), 5000);
      assert.deepEqual(plan.start, startAt);
      assert.equal(state.mustPeekBack(begun(startAt), plan, 5000), true);
      assert.deepEqual(state.beginning(begun(startAt), 5000), { ago: 5000 });
      assert.equal(state.began(6, 1e9), true);
      assert.deepEqual(state.plan(begun(startAt), 6000).start, { sequence: 6 });
      assert.equal(state.mustPeekBack(begun(startAt), plan, 6000), false);
    });

    it('begins with the smaller of the two', () => {
      for (const [first, starts] of [
        [99, 99],
        [100, 100],
        [150, 100],
      ] as const) {
        const state = asked();
        state.noteMade(state.plan(begun(startAt), 5000), 5000, 10);
        assert.equal(state.began(first, 1e9), first < 100);
        assert.deepEqual(state.plan(begun(startAt), 6000).start, { sequence: starts });
      }
    });

    it('looks again while nothing was published', () => {
      const state = asked();
      for (const now of [5000, 6000]) {
        const plan = state.plan(begun(startAt), now);
        assert.equal(state.mustPeekBack(begun(startAt), plan, now), true);
        state.noteMade(plan, now, 10);
      }
    });

    it('looks for those below when only that sequence has come', () => {
      const state = new OwnDeliveryState(subscribeOptions({ startAt }));
      const plan = state.plan(begun(startAt), 0);
      state.noteMade(plan, 0, 10);
      state.cursor.receive(100, 1e9, false);
      state.noteReceived(100, 50);
      assert.equal(state.mustPeekBack(begun(startAt), plan, 100), true);
      assert.equal(state.began(101, 1e9 + 5e6), false, 'it was there');
      assert.equal(state.began(98, 1e9 - 10e6), true, 'it was not, and these were lost on their way');
    });

    it('and when another one has', () => {
      const state = new OwnDeliveryState(subscribeOptions({ startAt }));
      const plan = state.plan(begun(startAt), 0);
      state.noteMade(plan, 0, 10);
      state.cursor.receive(7, 1e9, false);
      state.noteReceived(7, 50);
      assert.equal(state.mustPeekBack(begun(startAt), plan, 100), true);
      assert.deepEqual(state.beginning(begun(startAt), 5000), { ago: 4990 }, 'no earlier than it began');
      assert.equal(state.began(6, 1e9 - 10e6), true);
    });
  });

  describe("of what is gone, when it asked for 'first'", () => {
    const first = (): OwnDeliveryState => {
      const state = new OwnDeliveryState(subscribeOptions({ startAt: 'first' }));
      state.noteMade(state.plan(begun('first'), 0), 0, 10);
      return state;
    };

    it('misses nothing that was gone when it began', () => {
      const state = first();
      state.noteHole(6);
      state.noteMade(state.plan(begun('first'), 100), 100, 10);
    });

    it('misses what was there, and is gone since', () => {
      const state = first();
      state.noteHole(6);
      state.noteMade(state.plan(begun('first'), 100), 100, 10);
      state.noteHole(16);
    });

    it('misses all if its first life has brought nothing', () => {
      const state = first();
      state.noteMade(state.plan(begun('first'), 100), 100, 10);
      state.noteHole(16);
    });

    it('misses all of a channel that started over', () => {
      const state = first();
      state.noteHole(6);
      state.startOver();
    });
  });
});

describe('what a durable may have missed below its first message', () => {
  const startAt = { sequence: 3 };
  function received(sequence: number, redelivered: boolean): OwnDeliveryState {
    const state = new OwnDeliveryState(subscribeOptions({ startAt, durableName: 'd' }));
    state.noteMade(state.plan(begun(startAt), 0), 0, 10);
    state.cursor.receive(sequence, 1e9, redelivered);
    state.noteReceived(sequence, 50);
    return state;
  }

  it('is what it asked for', () => assert.deepEqual(received(6, false).below, { from: 3, to: 5 }));

  it('is nothing when it got that', () => assert.equal(received(3, false).below, undefined));

  it('is nothing when the server knew it', () => {
    const state = received(6, true);
    state.cursor.receive(9, 2e9, false);
    state.noteReceived(9, 60);
    assert.equal(state.below, undefined);
  });

  it('is nothing of a channel that is gone', () => {
    const state = received(6, false);
    state.startOver();
    assert.equal(state.below, undefined);
  });
});

describe('what a durable knows', () => {
  const durable = (): OwnDeliveryState => {
    const state = new OwnDeliveryState(subscribeOptions({ durableName: 'd', maxInFlight: 10 }));
    state.noteSession({}, true);
    state.noteMade(state.plan(begun('first'), 0), 0, 10);
    state.cursor.receive(1, 5e9, false);
    state.noteReceived(1, 1000);
    return state;
  };

  it('is ours while our registration is', () => {
    const state = durable();
    state.noteLost(2000, -Infinity);
    state.noteSession({}, true);
    assert.equal(state.maybeOthers(2, 60e9), false);
    assert.equal(state.wantsLast, false);
  });

  it('is ours up to the last proof when another process may have had it', () => {
    const state = durable();
    state.noteLost(9000, 3000);
    state.noteSession({}, false);
    // The leader knew us 2 s after we had received that.
    const until = 5e9 + 2000e6;
    assert.equal(state.maybeOthers(2, until), false);
    assert.equal(state.maybeOthers(2, until + 1), true);
    state.noteSession({}, true);
    assert.equal(state.maybeOthers(2, until + 1), true, 'on later sessions as well');
    state.noteNew();
    assert.equal(state.maybeOthers(2, until + 1), false, 'until the server sends what is new');
  });

  it('is ours from what was stored on when it was with us again', () => {
    const state = durable();
    state.noteLost(9000, 3000);
    state.noteSession({}, false);
    assert.equal(state.wantsLast, true);
    state.noteLast(7);
    assert.equal(state.wantsLast, false);
    assert.equal(state.maybeOthers(7, 60e9), true);
    assert.equal(state.maybeOthers(8, 60e9), false);
    state.noteSession({}, false);
    assert.equal(state.maybeOthers(8, 60e9), true, 'until another process may have had it again');
  });
});
