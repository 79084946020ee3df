import assert from 'node:assert/strict';
import { ContiguousCursor } from '../../../src/subscribing/contiguous-cursor.js';
import { SparseCursor } from '../../../src/subscribing/sparse-cursor.js';

/** The n-th message of a channel was stored at this time. */
const at = (n: number): number => 1000 + n;

/** Plain, starting at 'new', with messages from..to processed. */
function read(from: number, to: number, options: { durable?: boolean } = {}): ContiguousCursor {
  const cursor = new ContiguousCursor({ durable: options.durable ?? false });
  cursor.begin(undefined);
  for (let n = from; n <= to; n++) {
    assert.equal(cursor.receive(n, at(n), false), 'deliver');
    assert.equal(cursor.finish(n, at(n)), true);
  }
  return cursor;
}

function resume(cursor: ContiguousCursor): void {
  cursor.begin(cursor.resumePoint);
}

describe('contiguous cursor', () => {
  it('takes what is next, from wherever it begins', () => {
    const cursor = read(7, 9);
    assert.equal(cursor.lastSequence, 9);
    assert.deepEqual(cursor.highest, { sequence: 9, time: at(9) });
    assert.equal(cursor.outstanding, 0);
  });

  it('has done nothing before the first message', () => {
    const cursor = new ContiguousCursor({ durable: false, from: 5 });
    cursor.begin({ sequence: 5, time: NaN });
    assert.equal(cursor.lastSequence, 0);
    assert.equal(cursor.highest, undefined);
    assert.equal(cursor.resumePoint, undefined);
  });

  it('knows what is processed, flagged or not, and what is in hand', () => {
    const cursor = read(1, 3);
    cursor.receive(4, at(4), false);
    cursor.receive(5, at(5), false);
    assert.equal(cursor.receive(2, at(2), true), 'done');
    assert.equal(cursor.receive(3, at(3), false), 'done', 'a new leader sends it as new');
    assert.equal(cursor.receive(4, at(4), true), 'held');
    cursor.finish(5, at(5));
    assert.equal(cursor.receive(5, at(5), true), 'done');
    assert.equal(cursor.lastSequence, 3, 'the highest below which everything is processed');
    cursor.finish(4, at(4));
    assert.equal(cursor.lastSequence, 5);
  });

  it('finishes once', () => {
    const cursor = read(1, 1);
    assert.equal(cursor.finish(1, at(1)), false);
  });

  it('hands a failed one over again when it comes again, and no other', () => {
    const cursor = read(1, 3);
    cursor.receive(4, at(4), false);
    cursor.receive(5, at(5), false);
    cursor.fail(4);
    cursor.finish(5, at(5));
    assert.equal(cursor.lastSequence, 3);
    assert.equal(cursor.receive(4, at(4), true), 'deliver');
    assert.equal(cursor.receive(4, at(4), true), 'held');
    cursor.finish(4, at(4));
    assert.equal(cursor.lastSequence, 5);
  });

  it('misses nothing when one fails again while the rest is repeated', () => {
    const cursor = read(1, 3);
    for (const n of [4, 5, 6]) cursor.receive(n, at(n), false);
    for (const n of [5, 6]) cursor.finish(n, at(n));
    resume(cursor);
    assert.equal(cursor.receive(3, at(3), false), 'anchor');
    assert.equal(cursor.receive(4, at(4), false), 'held');
    cursor.fail(4);
    assert.equal(cursor.receive(5, at(5), false), 'done');
    assert.equal(cursor.receive(6, at(6), false), 'done');
    assert.equal(cursor.receive(7, at(7), false), 'deliver');
  });

  it('does not grow while one message fails for ever', () => {
    const cursor = read(1, 4);
    cursor.receive(5, at(5), false);
    cursor.fail(5);
    for (let n = 6; n < 50_000; n++) {
      cursor.receive(n, at(n), false);
      cursor.finish(n, at(n));
    }
    assert.ok(cursor.cost <= 3, `cost ${cursor.cost}`);
    assert.equal(cursor.lastSequence, 4);
    assert.deepEqual(cursor.resumePoint, { sequence: 49_999, time: at(49_999) }, 'and costs no history');
  });

  it('does not take what is beyond a hole', () => {
    const cursor = read(1, 3);
    assert.equal(cursor.receive(5, at(5), false), 'hole');
    assert.deepEqual({ ...cursor.missing }, { from: 4, to: 5, times: 1, lowestTo: 5, likelyGone: false });
    resume(cursor);
    assert.equal(cursor.receive(3, at(3), false), 'anchor');
    assert.equal(cursor.receive(4, at(4), false), 'deliver');
    assert.equal(cursor.receive(5, at(5), false), 'deliver');
  });

  it('counts in how many lives the same is missing', () => {
    const cursor = read(1, 3);
    cursor.receive(6, at(6), false);
    cursor.receive(7, at(7), false);
    assert.equal(cursor.missing.times, 1);
    resume(cursor);
    cursor.receive(3, at(3), false);
    cursor.receive(6, at(6), false);
    assert.equal(cursor.missing.times, 2);
    resume(cursor);
    cursor.receive(3, at(3), false);
    cursor.receive(4, at(4), false);
    cursor.receive(6, at(6), false);
    assert.deepEqual({ ...cursor.missing }, { from: 5, to: 6, times: 1, lowestTo: 6, likelyGone: false });
  });

  it('tells of a gap only when it is known that the server has nothing there', () => {
    const cursor = read(1, 3);
    assert.equal(cursor.receive(10, at(10), false), 'hole');
    cursor.goneBelow(9);
    resume(cursor);
    assert.equal(cursor.receive(10, at(10), false), 'hole', '9 is there');
    cursor.goneBelow(10);
    resume(cursor);
    assert.equal(cursor.receive(10, at(10), false), 'gap');
    assert.deepEqual(cursor.takeGaps(), [{ from: 4, to: 9 }]);
    assert.deepEqual(cursor.takeGaps(), []);
    cursor.finish(10, at(10));
    assert.equal(cursor.lastSequence, 10);
  });

  it('tells which failed ones are gone, and forgets them', () => {
    const cursor = read(1, 3);
    for (let n = 4; n <= 8; n++) cursor.receive(n, at(n), false);
    for (const n of [6, 7]) cursor.fail(n);
    for (const n of [5, 8]) cursor.finish(n, at(n));
    resume(cursor);
    assert.equal(cursor.receive(20, at(20), false), 'hole');
    cursor.goneBelow(20);
    resume(cursor);
    assert.equal(cursor.receive(20, at(20), false), 'gap');
    assert.deepEqual(cursor.takeGaps(), [
      { from: 6, to: 7 },
      { from: 9, to: 19 },
    ]);
    assert.equal(cursor.outstanding, 2, 'what is in hand is in hand');
  });

  it('tells which messages were missing each time: one that came once was not', () => {
    const cursor = read(1, 3);
    for (const sequence of [5, 7, 6]) {
      resume(cursor);
      cursor.receive(3, at(3), false);
      assert.equal(cursor.receive(sequence, at(sequence), false), 'hole');
    }
    assert.deepEqual({ ...cursor.missing }, { from: 4, to: 6, times: 3, lowestTo: 5, likelyGone: false });
  });

  describe('resumes', () => {
    it('at the last processed one, and knows it again', () => {
      const cursor = read(3, 8);
      assert.deepEqual(cursor.resumePoint, { sequence: 8, time: at(8) });
      resume(cursor);
      assert.equal(cursor.receive(8, at(8), false), 'anchor');
      assert.equal(cursor.receive(9, at(9), false), 'deliver');
    });

    it('below the first one that is not processed', () => {
      const cursor = read(3, 8);
      for (let n = 9; n <= 12; n++) cursor.receive(n, at(n), false);
      cursor.finish(9, at(9));
      cursor.finish(11, at(11));
      assert.deepEqual(cursor.resumePoint, { sequence: 9, time: at(9) });
      resume(cursor);
      assert.equal(cursor.receive(9, at(9), false), 'anchor');
      assert.equal(cursor.receive(10, at(10), false), 'held');
      assert.equal(cursor.receive(11, at(11), false), 'done');
      assert.equal(cursor.receive(12, at(12), false), 'held');
      assert.equal(cursor.receive(13, at(13), false), 'deliver');
    });

    it('at the first one received if nothing is processed, and never before it', () => {
      const cursor = new ContiguousCursor({ durable: false });
      cursor.begin(undefined);
      cursor.receive(7, at(7), false);
      assert.deepEqual(cursor.resumePoint, { sequence: 7, time: at(7) });
      resume(cursor);
      assert.equal(cursor.receive(7, at(7), false), 'held');
    });

    it('and insists on the message it resumed at, unless that is gone', () => {
      const cursor = read(1, 5);
      resume(cursor);
      assert.equal(cursor.receive(6, at(6), false), 'hole');
      assert.deepEqual({ ...cursor.missing }, { from: 5, to: 6, times: 1, lowestTo: 6, likelyGone: true });
      cursor.goneBelow(6);
      resume(cursor);
      assert.equal(cursor.receive(6, at(6), false), 'deliver');
    });
  });

  describe('sees that the channel started over', () => {
    it('by another timestamp of the message it resumed at', () => {
      const cursor = read(1, 5);
      resume(cursor);
      assert.equal(cursor.receive(5, at(50), false), 'reset');
    });

    it('even if by the clock it is the older one', () => {
      const cursor = read(1, 5);
      for (let n = 6; n <= 8; n++) cursor.receive(n, at(n), false);
      resume(cursor);
      assert.equal(cursor.receive(5, at(4), false), 'reset');
    });

    it('by an earlier sequence than it resumed at', () => {
      const cursor = read(1, 5);
      resume(cursor);
      assert.equal(cursor.receive(4, at(4), false), 'reset');
    });

    it('by a later timestamp of a sequence it has had', () => {
      const cursor = read(1, 5, { durable: true });
      cursor.begin(cursor.resumePoint);
      assert.equal(cursor.receive(2, at(6), true), 'reset');
    });

    it('and then takes it from its first message', () => {
      const cursor = read(1, 5);
      cursor.reset();
      assert.equal(cursor.lastSequence, 0);
      assert.equal(cursor.finish(5, at(5)), false, 'of the old channel');
      cursor.begin({ sequence: 1, time: NaN });
      assert.equal(cursor.receive(1, at(50), false), 'deliver');
      assert.equal(cursor.receive(3, at(52), false), 'hole');
    });

    it('but not by a leader whose clock is behind', () => {
      const cursor = read(1, 5);
      assert.equal(cursor.receive(6, at(2), false), 'deliver');
      cursor.finish(6, at(2));
      assert.equal(cursor.receive(5, at(5), true), 'done', 'later than the highest, but not than all');
    });
  });

  describe('of a durable', () => {
    it('accepts the jumps of what a previous life has left pending', () => {
      const cursor = new ContiguousCursor({ durable: true });
      cursor.begin(undefined);
      for (const n of [3, 7, 8]) assert.equal(cursor.receive(n, at(n), true), 'deliver');
      assert.equal(cursor.receive(20, at(20), false), 'deliver');
      assert.equal(cursor.receive(22, at(22), false), 'hole');
      for (const n of [3, 7, 8, 20]) cursor.finish(n, at(n));
      for (const n of [3, 7, 8]) assert.equal(cursor.receive(n, at(n), true), 'done');
      assert.equal(cursor.lastSequence, 20);
      assert.equal(cursor.receive(5, at(5), true), 'deliver', 'pending, and lost the first time');
    });

    it('comes back wherever the server says', () => {
      const cursor = read(1, 9, { durable: true });
      cursor.begin(cursor.resumePoint);
      assert.equal(cursor.receive(6, at(6), true), 'done');
      assert.equal(cursor.receive(10, at(10), false), 'deliver');
    });
  });

  describe('at a sequence', () => {
    it('misses what is not there', () => {
      const cursor = new ContiguousCursor({ durable: false, from: 10 });
      cursor.begin({ sequence: 10, time: NaN });
      assert.equal(cursor.receive(15, at(15), false), 'hole');
      assert.equal(cursor.missing.likelyGone, true);
      cursor.goneBelow(15);
      cursor.begin({ sequence: 10, time: NaN });
      assert.equal(cursor.receive(15, at(15), false), 'gap');
      assert.deepEqual(cursor.takeGaps(), [{ from: 10, to: 14 }]);
    });

    it('above the end takes what the server gives: the next one', () => {
      const cursor = new ContiguousCursor({ durable: false, from: 100 });
      cursor.begin({ sequence: 100, time: NaN });
      assert.equal(cursor.receive(51, at(51), false), 'deliver');
      assert.equal(cursor.receive(52, at(52), false), 'deliver');
    });
  });

  it('fetches what was missed at the beginning', () => {
    const cursor = read(5, 8);
    assert.equal(cursor.base, 5);
    cursor.extend(3);
    assert.equal(cursor.lastSequence, 2);
    resume(cursor);
    for (const n of [3, 4]) assert.equal(cursor.receive(n, at(n), false), 'deliver');
    assert.equal(cursor.receive(5, at(5), false), 'done');
    for (const n of [3, 4]) cursor.finish(n, at(n));
    assert.equal(cursor.lastSequence, 8);
  });

  it('doubts a message from before its beginning that is later than all', () => {
    const cursor = read(5, 8);
    assert.equal(cursor.receive(4, at(20), true), 'doubt');
    cursor.trust(at(20));
    assert.equal(cursor.receive(4, at(20), true), 'deliver');
  });

  it('does not take what is no message', () => {
    assert.equal(read(1, 2).receive(0, 0, false), 'held');
  });

  describe('with a window', () => {
    function windowed(): ContiguousCursor {
      const cursor = new ContiguousCursor({ durable: false, window: 10 });
      for (let n = 1; n <= 100; n++) {
        cursor.receive(n, at(n), false);
        if (n !== 5) cursor.finish(n, at(n));
      }
      return cursor;
    }

    it('goes back no further for one old message', () => {
      const cursor = windowed();
      assert.equal(cursor.lastSequence, 4);
      assert.deepEqual(cursor.resumePoint, { sequence: 100, time: at(100) });
      cursor.fail(5);
      cursor.begin(cursor.resumePoint);
      assert.equal(cursor.receive(100, at(100), false), 'anchor');
      assert.equal(cursor.receive(101, at(101), false), 'deliver');
      assert.equal(cursor.retake(5), true, 'it is fetched');
      assert.equal(cursor.retake(5), false);
      cursor.finish(5, at(5));
      cursor.finish(101, at(101));
      assert.equal(cursor.lastSequence, 101);
    });

    it('goes back to what is within, but not for what has failed', () => {
      const cursor = windowed();
      for (let n = 101; n <= 105; n++) cursor.receive(n, at(n), false);
      assert.deepEqual(cursor.resumePoint, { sequence: 100, time: at(100) });
      cursor.finish(101, at(101));
      assert.deepEqual(cursor.resumePoint, { sequence: 101, time: at(101) });
      for (let n = 102; n <= 105; n++) cursor.fail(n);
      assert.deepEqual(cursor.resumePoint, { sequence: 105, time: at(105) });
    });

    it('goes back to what is in hand within it, of a run that begins before', () => {
      const cursor = new ContiguousCursor({ durable: false, window: 4 });
      for (let n = 1; n <= 9; n++) cursor.receive(n, at(n), false);
      for (let n = 1; n <= 3; n++) cursor.fail(n);
      assert.deepEqual(cursor.resumePoint, { sequence: 5, time: NaN });
    });

    it('goes back further, once, to what cannot be fetched', () => {
      const cursor = windowed();
      cursor.fail(5);
      cursor.goBackTo(5);
      assert.deepEqual(cursor.resumePoint, { sequence: 4, time: at(4) });
      cursor.begin(cursor.resumePoint);
      assert.equal(cursor.receive(4, at(4), false), 'anchor');
      assert.equal(cursor.receive(5, at(5), false), 'deliver');
      for (let n = 6; n <= 100; n++) assert.equal(cursor.receive(n, at(n), false), 'done');
      assert.equal(cursor.resumePoint?.sequence, 100);
    });

    it('goes back to what was found to be missing below the first message, once', () => {
      const cursor = new ContiguousCursor({ durable: false, window: 10 });
      for (let n = 101; n <= 150; n++) {
        cursor.receive(n, at(n), false);
        cursor.finish(n, at(n));
      }
      cursor.extend(51);
      assert.equal(cursor.resumePoint?.sequence, 51);
      cursor.begin(cursor.resumePoint);
      for (let n = 51; n <= 100; n++) {
        assert.equal(cursor.receive(n, at(n), false), 'deliver');
        if (n === 60) cursor.fail(n);
        else cursor.finish(n, at(n));
      }
      assert.equal(cursor.receive(101, at(101), false), 'done');
      assert.equal(cursor.resumePoint?.sequence, 150);
    });
  });

  it('passes over what was sent to another process', () => {
    const cursor = new ContiguousCursor({ durable: true });
    cursor.receive(1, at(1), false);
    cursor.finish(1, at(1));
    cursor.begin(undefined);
    assert.equal(cursor.receive(5, at(5), false), 'hole');
    cursor.othersBelow(5);
    cursor.begin(undefined);
    assert.equal(cursor.receive(5, at(5), false), 'deliver');
    assert.deepEqual(cursor.takeGaps(), []);
    cursor.finish(5, at(5));
    assert.equal(cursor.lastSequence, 5);
    assert.equal(cursor.receive(3, at(3), true), 'deliver', 'that one has not acknowledged it');
    assert.equal(cursor.lastSequence, 2);
    cursor.finish(3, at(3));
    assert.equal(cursor.receive(3, at(3), true), 'done');
  });
});

describe('sparse cursor', () => {
  function member(...processed: number[]): SparseCursor {
    const cursor = new SparseCursor();
    for (const n of processed) {
      assert.match(cursor.receive(n, at(n)), /^(deliver|leap)$/);
      cursor.finish(n);
    }
    return cursor;
  }

  it('takes whatever it has not had', () => {
    const cursor = member(3, 10, 12);
    assert.equal(cursor.receive(10, at(10)), 'done');
    assert.equal(cursor.receive(11, at(11)), 'deliver', "another member's, handed on");
    assert.equal(cursor.receive(11, at(11)), 'held');
    assert.equal(cursor.lastSequence, 10);
  });

  it('forgets what failed: any member may get it', () => {
    const cursor = member(3);
    cursor.receive(4, at(4));
    cursor.fail(4);
    assert.equal(cursor.outstanding, 0);
    assert.equal(cursor.receive(4, at(4)), 'deliver');
  });

  it('remembers a bounded number', () => {
    const cursor = new SparseCursor(10);
    for (let n = 1; n <= 200; n += 2) {
      cursor.receive(n, at(n));
      cursor.finish(n);
    }
    assert.ok(cursor.cost <= 11);
    assert.equal(cursor.receive(199, at(199)), 'done');
    assert.equal(cursor.receive(1, at(1)), 'deliver', 'forgotten: at least once');
  });

  describe('tells of a leap', () => {
    const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1);

    it('where all came to us, and a new life at the server begins with one', () => {
      const cursor = member(...upTo(150));
      cursor.begin();
      assert.equal(cursor.receive(154, at(154)), 'leap');
      assert.deepEqual(cursor.leapt, { from: 151, to: 154, after: at(150), ours: true, forgotten: true });
      // What is read past the group is taken like any other.
      assert.equal(cursor.receive(151, at(151)), 'deliver');
      assert.equal(cursor.receive(151, at(151)), 'held');
    });

    it('and in the middle of a life, where it was lost or went to somebody who has just joined', () => {
      const cursor = member(...upTo(150));
      cursor.begin();
      assert.equal(cursor.receive(151, at(151)), 'deliver');
      assert.equal(cursor.receive(153, at(153)), 'leap');
      assert.deepEqual(cursor.leapt, { from: 152, to: 153, after: at(151), ours: true, forgotten: false });
      assert.equal(cursor.alone, false);
      assert.equal(cursor.lacking, true);
      assert.equal(cursor.receive(152, at(152)), 'deliver');
      assert.equal(cursor.alone, true, 'it has come after all');
      assert.equal(cursor.lacking, false);
    });

    it('and says what of it is gone', () => {
      const cursor = member(...upTo(150));
      assert.equal(cursor.receive(160, at(160)), 'leap');
      assert.equal(cursor.receive(153, at(153)), 'deliver');
      cursor.goneBelow(155);
      assert.deepEqual(cursor.takeGaps(), [
        { from: 151, to: 152 },
        { from: 154, to: 154 },
      ]);
      cursor.goneBelow(155);
      assert.deepEqual(cursor.takeGaps(), []);
      assert.equal(cursor.alone, false, 'there is some left');
      cursor.goneBelow(160);
      assert.deepEqual(cursor.takeGaps(), [{ from: 155, to: 159 }]);
      assert.equal(cursor.alone, true);
    });

    it('of a group that has not had many, which says nothing of what is gone: others may have it', () => {
      const cursor = member(1, 2);
      cursor.begin();
      assert.equal(cursor.alone, true);
      assert.equal(cursor.receive(5, at(5)), 'leap');
      assert.equal(cursor.leapt?.ours, false);
      assert.equal(cursor.lacking, false);
      cursor.goneBelow(5);
      assert.deepEqual(cursor.takeGaps(), []);
      assert.equal(cursor.alone, false);
    });

    it('but not over what goes to another subscription of our own', () => {
      const cursor = member(1, 2);
      cursor.cross(true);
      let n = 2;
      for (let i = 0; i < 30; i++) assert.equal(cursor.receive((n += 2), at(n)), 'leap');
      cursor.cross(false);
      for (let odd = 3; odd < n; odd += 2) cursor.receive(odd, at(odd));
      assert.equal(cursor.alone, true);
    });

    it('until it is sure that others have their share, and again when they have gone', () => {
      const cursor = member(1, 2);
      let n = 2;
      for (let i = 0; i < 15; i++) assert.equal(cursor.receive((n += 2), at(n)), 'leap');
      assert.equal(cursor.receive((n += 2), at(n)), 'deliver');
      assert.equal(cursor.receive((n += 2), at(n)), 'deliver');
      assert.equal(cursor.alone, false);
      for (let i = 0; i < 100; i++) cursor.receive(++n, at(n));
      assert.equal(cursor.alone, false, 'that was a burst');
      const later = (sequence: number): number => at(sequence) + 6000e6;
      cursor.receive(++n, later(n));
      assert.equal(cursor.alone, true);
      // This time it takes fewer.
      for (let i = 0; i < 30; i++) assert.equal(cursor.receive((n += 2), later(n)), 'leap', 'they may all be gone');
      cursor.goneBelow(n - 7);
      cursor.storedUpTo(n);
      assert.equal(cursor.shared, true);
    });

    it('but not while the channel throws away what it has not sent', () => {
      const cursor = member(...upTo(150));
      let n = 150;
      for (let i = 0; i < 30; i++) assert.equal(cursor.receive((n += 2), at(n)), 'leap');
      cursor.goneBelow(n - 4);
      cursor.storedUpTo(n);
      assert.equal(cursor.takeGaps().length, 28);
      assert.equal(cursor.shared, false);
    });

    it('which what it fetches itself does not speak against', () => {
      const cursor = member(...upTo(150));
      let n = 150;
      for (let i = 0; i < 3; i++) {
        assert.equal(cursor.receive((n += 2), at(n)), 'leap');
        assert.equal(cursor.retake(n - 1), true);
        cursor.finish(n - 1);
      }
      cursor.receive((n += 2), at(n));
      cursor.storedUpTo(n);
      assert.equal(cursor.shared, true);
    });

    it('and takes what is fetched, unless it has it or is done with it', () => {
      const cursor = member(1, 2);
      cursor.receive(3, at(3));
      assert.equal(cursor.retake(3), false);
      cursor.fail(3);
      assert.equal(cursor.retake(3), true);
      assert.equal(cursor.retake(3), false);
      assert.equal(cursor.retake(2), false);
    });

    it('nor where others have had their share', () => {
      const cursor = member(...upTo(150).map((n) => (n <= 100 ? n : 2 * n)));
      cursor.storedUpTo(300);
      cursor.begin();
      assert.equal(cursor.receive(320, at(320)), 'deliver');
    });

    it('nor of a new channel', () => {
      const cursor = member(...upTo(150));
      cursor.reset();
      cursor.begin();
      assert.equal(cursor.receive(160, at(160)), 'deliver');
    });
  });

  it('sees that the channel started over', () => {
    assert.equal(member(3, 10).receive(3, at(11)), 'reset');
    assert.equal(member(3, 10).receive(10, at(9)), 'reset');
    const cursor = member(3, 10);
    assert.equal(cursor.receive(5, at(11)), 'doubt', "perhaps another member's, by another clock");
    cursor.trust(at(11));
    assert.equal(cursor.receive(5, at(11)), 'deliver');
    cursor.reset();
    assert.equal(cursor.highest, undefined);
    assert.equal(cursor.receive(3, at(1)), 'deliver');
  });
});
