import assert from 'node:assert/strict';
import { within } from '../../src/within.js';

describe('within', () => {
  const never = new Promise<never>(() => undefined);
  /** A wait that ends when the test says. */
  function waiting(): { end: () => void; cancelled: boolean; wait: (delay: number, end: () => void) => () => void } {
    const all = {
      end: (): void => undefined,
      cancelled: false,
      wait: (_delay: number, end: () => void): (() => void) => {
        all.end = end;
        return () => (all.cancelled = true);
      },
    };
    return all;
  }

  it('is what the promise comes to, and leaves no timer', async () => {
    const time = waiting();
    assert.equal(await within(Promise.resolve('yes'), 10, () => 'late', time.wait), 'yes');
    assert.ok(time.cancelled);
    await assert.rejects(
      within(Promise.reject(new Error('no')), 10, () => 'late', time.wait),
      /^Error: no$/,
    );
  });

  it('is what `late` returns or throws when the time is over', async () => {
    for (const late of [() => 'late', () => assert.fail('late')]) {
      const time = waiting();
      const outcome = within(never, 10, late, time.wait);
      time.end();
      assert.match(await outcome.catch((error: Error) => error.message), /^late$/);
    }
  });

  it('has no limit with Infinity, and sets no timer for it', async () => {
    const wait = (): never => assert.fail('a timer');
    assert.equal(await within(Promise.resolve('yes'), Infinity, () => 'late', wait), 'yes');
  });
});
