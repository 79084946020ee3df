import assert from 'node:assert/strict';
import { Fatal, retry } from '../../../src/connection/retry.js';
import type { ResolvedRetryOptions } from '../../../src/options.js';
import { FakeTimers } from '../../support/fake-timers.js';

const OPTIONS: ResolvedRetryOptions = {
  retries: 3,
  factor: 2,
  minTimeout: 100,
  maxTimeout: 300,
  randomize: false,
  maxRetryTime: Infinity,
};

describe('retry', () => {
  let timers: FakeTimers;
  let waits: [attempt: number, delay: number, message: string][];
  let attempts: number;
  const never = new Promise<void>(() => {});

  const run = (
    attempt: (n: number) => Promise<string>,
    options: Partial<ResolvedRetryOptions> = {},
    signal = new AbortController().signal,
    wake = never,
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
        wake: () => wake,
      },
    ).then(
      (value) => (result.value = value),
      (error: Error) => (result.error = error),
    );
    return result;
  };
  const fails = (): Promise<string> => Promise.reject(new Error('no'));

  beforeEach(() => {
    timers = new FakeTimers();
    waits = [];
    attempts = 0;
  });
  afterEach(() => {
    assert.equal(timers.armed, 0, 'no timer is left behind');
    timers.restore();
  });

  it('tells the delay before it waits, grows it up to the cap, and gives up after the last retry without a wait', async () => {
    const result = run(fails);
    await timers.pass(1000);
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
    await timers.pass(500);
    assert.deepEqual([result.value, attempts], ['yes', 3]);
  });

  it('a fatal error ends it at once, and is the error itself', async () => {
    const fatal = new Error('wrong password');
    const result = run(() => Promise.reject(new Fatal(fatal)));
    await timers.pass(10);
    assert.equal(result.error, fatal);
    assert.equal(attempts, 1);
  });

  it('a TypeError is retried like any other: p-retry would take it for a bug and give up', async () => {
    const result = run((n) => (n === 1 ? Promise.reject(new TypeError('odd')) : Promise.resolve('yes')));
    await timers.pass(200);
    assert.equal(result.value, 'yes');
  });

  it('an abort ends the wait at once', async () => {
    const stop = new AbortController();
    const result = run(fails, { minTimeout: 10_000, maxTimeout: 10_000 }, stop.signal);
    await timers.pass(5);
    stop.abort(new Error('closed'));
    await timers.pass(5);
    assert.equal(result.error?.message, 'closed');
    assert.equal(attempts, 1);
  });

  it('what was waited for ends the wait early', async () => {
    let wake!: () => void;
    const woken = new Promise<void>((resolve) => (wake = resolve));
    run(fails, { minTimeout: 10_000, maxTimeout: 10_000, retries: 1 }, undefined, woken);
    await timers.pass(5);
    assert.equal(attempts, 1);
    wake();
    await timers.pass(5);
    assert.equal(attempts, 2);
  });
});
