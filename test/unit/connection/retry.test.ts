import assert from 'node:assert/strict';
import { ClientIdConflictError } from '../../../src/errors.js';
import { Fatal, retry } from '../../../src/connection/retry.js';
import { HELD_PATIENCE, RetryBudget } from '../../../src/connection/retry-budget.js';
import type { ResolvedRetryOptions } from '../../../src/retry-options.js';
import { VirtualTime } from '../../support/virtual-time.js';

const OPTIONS: ResolvedRetryOptions = {
  retries: 3,
  factor: 2,
  minTimeout: 100,
  maxTimeout: 300,
  randomize: false,
  maxRetryTime: Infinity,
};

describe('retry', () => {
  let time: VirtualTime;
  let waits: [attempt: number, delay: number, message: string][];
  let attempts: number;
  let budget: RetryBudget;
  let firstDelay: number;
  /** Ends a wait early. */
  let wake: (() => void) | undefined;

  const run = (
    attempt: (n: number) => Promise<string>,
    options: Partial<ResolvedRetryOptions> = {},
    signal = new AbortController().signal,
  ): { value?: string; error?: Error } => {
    const result: { value?: string; error?: Error } = {};
    retry(
      (n) => {
        attempts += 1;
        return attempt(n);
      },
      {
        options: { ...OPTIONS, ...options },
        signal,
        onWait: (n, delay, error) => waits.push([n, delay, error.message]),
        budget,
        firstDelay,
        clock: time.clock,
        patience: (error) => (error instanceof ClientIdConflictError ? HELD_PATIENCE : undefined),
        onWake: (callback) => {
          wake = callback;
          return () => (wake = undefined);
        },
      },
    ).then(
      (value) => (result.value = value),
      (error: Error) => (result.error = error),
    );
    return result;
  };
  const fails = (): Promise<string> => Promise.reject(new Error('no'));

  beforeEach(() => {
    time = new VirtualTime();
    waits = [];
    attempts = 0;
    budget = new RetryBudget(time.now());
    firstDelay = 0;
  });
  afterEach(() => {
    assert.equal(time.armed, 0, 'no timer is left behind');
  });

  it('tells the delay before it waits, grows it up to the cap, and gives up after the last retry without a wait', async () => {
    const result = run(fails);
    await time.pass(1000);
    assert.deepEqual(waits, [
      [1, 100, 'no'],
      [2, 200, 'no'],
      [3, 300, 'no'],
    ]);
    assert.equal(attempts, 4);
    assert.equal(result.error?.message, 'no');
  });

  it('resolves with the first success', async () => {
    const result = run((n) => (n < 3 ? fails() : Promise.resolve('yes')));
    await time.pass(500);
    assert.deepEqual([result.value, attempts], ['yes', 3]);
  });

  it('a fatal error ends it at once, and is the error itself', async () => {
    const fatal = new Error('wrong password');
    const result = run(() => Promise.reject(new Fatal(fatal)));
    await time.pass(10);
    assert.equal(result.error, fatal);
    assert.equal(attempts, 1);
  });

  it('a TypeError is retried like any other: p-retry would take it for a bug and give up', async () => {
    const result = run((n) => (n === 1 ? Promise.reject(new TypeError('odd')) : Promise.resolve('yes')));
    await time.pass(200);
    assert.equal(result.value, 'yes');
  });

  it('an abort ends the wait at once', async () => {
    const stop = new AbortController();
    const result = run(fails, { minTimeout: 10_000, maxTimeout: 10_000 }, stop.signal);
    await time.pass(5);
    stop.abort(new Error('closed'));
    await time.pass(5);
    assert.equal(result.error?.message, 'closed');
    assert.equal(attempts, 1);
  });

  it('what was waited for ends the wait early', async () => {
    run(fails, { minTimeout: 10_000, maxTimeout: 10_000, retries: 1 });
    await time.pass(5);
    assert.equal(attempts, 1);
    wake!();
    await time.pass(5);
    assert.equal(attempts, 2);
    assert.equal(wake, undefined, 'nobody is kept waiting for it');
  });

  it('waits in waking time, in which the standstill of a process does not count', async () => {
    run(fails, { minTimeout: 1000, maxTimeout: 1000 });
    await time.pass(100);
    time.stall(5000);
    await time.pass(800);
    assert.equal(attempts, 1);
    await time.pass(200);
    assert.equal(attempts, 2);
    await time.pass(2000);
  });

  it('counts what was spent before against the limits, and lets it lengthen the waits', async () => {
    budget.failed();
    budget.failed();
    budget.ended('never up', false, time.now());
    firstDelay = 100;
    const result = run(fails);
    await time.pass(99);
    assert.equal(attempts, 0, 'sessions in a row that did not last are followed by a wait');
    await time.pass(2);
    assert.equal(attempts, 1);
    await time.pass(1000);
    assert.deepEqual(waits, [[1, 200, 'no']]);
    assert.equal(attempts, 2);
    assert.equal(result.error?.message, 'no');
    assert.equal(budget.failures, 4);
  });

  it('makes no further attempt once its time is over, also when it began before', async () => {
    budget = new RetryBudget(time.now() - 900);
    const result = run(fails, { retries: Infinity, maxRetryTime: 1000 });
    await time.pass(500);
    assert.equal(attempts, 1);
    assert.equal(result.error?.message, 'no');
  });

  it('a client ID that another client holds is waited for, and counts as no retry', async () => {
    const held = (): Promise<string> => Promise.reject(new ClientIdConflictError('mine'));
    const result = run((n) => (n <= 10 ? held() : Promise.resolve('yes')));
    await time.pass(3000);
    assert.equal(result.value, 'yes');
    assert.equal(attempts, 11);
  });

  it('tells of no further attempt when it was called off meanwhile', async () => {
    const stop = new AbortController();
    const result = run(
      () => {
        stop.abort(new Error('closed'));
        return fails();
      },
      {},
      stop.signal,
    );
    await time.pass(10);
    assert.deepEqual(waits, []);
    assert.equal(result.error?.message, 'closed');
  });
});
