import assert from 'node:assert/strict';
import { makeClock } from '../../../src/clock/clock.js';
import { EPOCH, VirtualTime } from '../../support/virtual-time.js';

/** What the three times of a clock gain meanwhile. */
function gained({ clock }: VirtualTime, act: () => void): { now: number; elapsed: number; wall: number } {
  const before = { now: clock.now(), elapsed: clock.elapsed(), wall: clock.wall() };
  act();
  return {
    now: clock.now() - before.now,
    elapsed: clock.elapsed() - before.elapsed,
    wall: clock.wall() - before.wall,
  };
}

describe('the clock of a client', () => {
  it('has three times that go on together while the process is awake', () => {
    const time = new VirtualTime();
    assert.deepEqual(
      gained(time, () => time.advance(100)),
      { now: 100, elapsed: 100, wall: 100 },
    );
    assert.equal(time.clock.wall(), EPOCH + 1100);
  });

  it('goes on while the host sleeps, but for the waking time', () => {
    const time = new VirtualTime();
    assert.deepEqual(
      gained(time, () => {
        time.advance(1);
        time.sleep(3_600_000);
        time.advance(1);
      }),
      { now: 2, elapsed: 3_600_002, wall: 3_600_002 },
    );
  });

  it('counts a standstill of the event loop as an age, and for no deadline', () => {
    const time = new VirtualTime();
    time.clock.after(100, () => {});
    assert.deepEqual(
      gained(time, () => {
        time.stall(5000);
        time.advance(0);
      }),
      { now: 0, elapsed: 5000, wall: 5000 },
    );
  });

  it('keeps the process alive by a deadline, unless it is told not to', () => {
    const kept: boolean[] = [];
    const { sources } = new VirtualTime();
    const clock = makeClock({
      ...sources,
      setTimeout: (callback, delay, keepAlive) => {
        kept.push(keepAlive);
        return sources.setTimeout(callback, delay, keepAlive);
      },
    });
    clock.after(20, () => {}, { unref: true });
    clock.after(10, () => {});
    assert.deepEqual(kept, [false, true]);
  });

  it('calls back soon, and not at once', async () => {
    const time = new VirtualTime();
    const calls: string[] = [];
    time.clock.soon(() => calls.push('soon'));
    void Promise.resolve().then(() => calls.push('promise'));
    calls.push('now');
    await time.settle();
    assert.deepEqual(calls, ['now', 'promise', 'soon']);
    assert.equal(time.armed, 0);
  });
});
