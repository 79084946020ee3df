import assert from 'node:assert/strict';
import { HELD_PATIENCE, RetryBudget } from '../../../src/connection/retry-budget.js';
import type { ResolvedRetryOptions } from '../../../src/retry-options.js';

const OPTIONS: ResolvedRetryOptions = {
  retries: 3,
  factor: 2,
  minTimeout: 100,
  maxTimeout: 10_000,
  randomize: false,
  maxRetryTime: 5000,
};

describe('the retry budget', () => {
  it('is spent by attempts, and by time', () => {
    const budget = new RetryBudget(1000);
    for (let i = 0; i < 3; i++) budget.failed();
    assert.ok(!budget.isSpent(OPTIONS, 1000));
    assert.ok(!budget.isSpent(OPTIONS, 5999));
    assert.ok(budget.isSpent(OPTIONS, 6000));
    budget.failed();
    assert.ok(budget.isSpent(OPTIONS, 1000));
  });

  it('has no wait before the first attempt, and a longer one after each that failed, within what is left', () => {
    const budget = new RetryBudget(0);
    assert.equal(budget.firstDelay(OPTIONS), 0);
    assert.deepEqual(
      [1, 2, 3].map((attempt) => budget.delayAfter(attempt, OPTIONS, 0)),
      [100, 200, 400],
    );
    assert.equal(budget.delayAfter(3, OPTIONS, 4900), 100);
  });

  it('does not count time that was not ours', () => {
    const budget = new RetryBudget(0);
    budget.excuse(4000);
    assert.ok(!budget.isSpent(OPTIONS, 8999));
    assert.ok(budget.isSpent(OPTIONS, 9000));
  });

  it('starts over with a session that lasted, and with a single one that did not', () => {
    for (const end of ['lasted', 'young'] as const) {
      const budget = new RetryBudget(0);
      for (let i = 0; i < 4; i++) budget.failed();
      budget.ended(end, false, 10_000);
      assert.ok(!budget.isSpent(OPTIONS, 10_000));
      assert.equal(budget.failures, 0);
      assert.equal(budget.firstDelay(OPTIONS), 0);
    }
  });

  it('goes on through sessions in a row that did not last, and waits longer for each', () => {
    const budget = new RetryBudget(0);
    budget.ended('young', false, 0);
    for (const [failures, delay] of [
      [1, 100],
      [2, 200],
      [3, 400],
    ]) {
      budget.ended('young', false, 0);
      assert.equal(budget.failures, failures);
      assert.equal(budget.firstDelay(OPTIONS), delay);
    }
    budget.ended('lasted', false, 0);
    budget.ended('young', false, 0);
    assert.equal(budget.failures, 0);
  });

  it('counts one that was never up by its failed attempt only, and not what was settled', () => {
    const budget = new RetryBudget(0);
    budget.ended('never up', false, 0);
    assert.equal(budget.failures, 0);
    assert.equal(budget.firstDelay(OPTIONS), 100);
    budget.ended('never up', true, 0);
    assert.equal(budget.firstDelay(OPTIONS), 100);
  });

  describe('while another client holds the client ID', () => {
    const endless = { ...OPTIONS, maxRetryTime: Infinity };

    it('counts no retries, and waits for a time of its own', () => {
      const budget = new RetryBudget(0);
      for (let now = 0; now < HELD_PATIENCE; now += 1000) {
        budget.found(now, HELD_PATIENCE);
        assert.ok(!budget.isSpent(endless, now));
      }
      assert.equal(budget.failures, 0);
      assert.ok(budget.isSpent(endless, HELD_PATIENCE));
      assert.equal(budget.delayAfter(50, endless, HELD_PATIENCE - 300), 300);
    });

    it('waits until the time of the user is over, if there is one, and without limits for ever', () => {
      const budget = new RetryBudget(0);
      budget.found(0, HELD_PATIENCE);
      assert.ok(!budget.isSpent(OPTIONS, 4999));
      assert.ok(budget.isSpent(OPTIONS, 5000));
      assert.ok(!budget.isSpent({ ...OPTIONS, maxRetryTime: 2 * HELD_PATIENCE }, HELD_PATIENCE));
      assert.ok(!budget.isSpent({ ...endless, retries: Infinity }, 1000 * HELD_PATIENCE));
    });

    it('waits for as long as the last thing that was found is worth', () => {
      const budget = new RetryBudget(0);
      budget.found(0, 5000);
      budget.found(4000, 5000);
      assert.ok(budget.isSpent(endless, 5000));
      budget.found(5000, HELD_PATIENCE);
      assert.ok(!budget.isSpent(endless, HELD_PATIENCE));
      assert.ok(budget.isSpent(endless, HELD_PATIENCE + 5000));
    });

    it('is over at once for who wants a single attempt', () => {
      const budget = new RetryBudget(0);
      budget.found(0, HELD_PATIENCE);
      assert.ok(budget.isSpent({ ...endless, retries: 0 }, 0));
    });

    it('begins anew after anything else', () => {
      for (const other of ['failed', 'ended'] as const) {
        const budget = new RetryBudget(0);
        budget.found(0, HELD_PATIENCE);
        if (other === 'failed') budget.failed();
        else budget.ended('lasted', true, 10);
        budget.found(HELD_PATIENCE, HELD_PATIENCE);
        assert.ok(!budget.isSpent(endless, HELD_PATIENCE));
      }
    });
  });
});
