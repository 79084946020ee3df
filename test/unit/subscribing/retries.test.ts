/** What becomes of a message whose handler failed: the decision, and the wait for the next try. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { ReceivedMessage } from '../../../src/subscribing/message.js';
import { afterFailure, Retries, type Failure } from '../../../src/subscribing/retries.js';
import { RETRY } from '../../../src/subscribing/subscribe-options.js';
import { VirtualTime } from '../../support/virtual-time.js';

const FIRST: Failure = { failures: 1, deliveries: 1, tries: 1, elapsed: 0, reserved: Infinity };
const retry = { ...RETRY, retries: 3, minTimeout: 100, maxTimeout: 300, randomize: false };
const deadLetter = (): void => undefined;

describe('what becomes of a message whose handler failed', () => {
  it('without options: the server sends it again', () => {
    assert.deepEqual(afterFailure(FIRST, {}), { next: 'left' });
    assert.deepEqual(afterFailure({ ...FIRST, failures: 99, deliveries: 99 }, {}), { next: 'left' });
  });

  it('with retry: it comes again after growing delays, and is left after the last try', () => {
    const series = [1, 2, 3, 4].map((tries) => afterFailure({ ...FIRST, tries, failures: tries }, { retry }));
    assert.deepEqual(series, [
      { next: 'again', delay: 100 },
      { next: 'again', delay: 200 },
      { next: 'again', delay: 300 },
      { next: 'left' },
    ]);
  });

  it('when it comes again after its tries, they begin anew, however often it has failed', () => {
    assert.deepEqual(afterFailure({ ...FIRST, failures: 5 }, { retry }), { next: 'again', delay: 100 });
  });

  it('with deadLetter beside retry: it is a dead letter after the last try, also when the tries were broken off', () => {
    assert.equal(afterFailure({ ...FIRST, tries: 3, failures: 3 }, { retry, deadLetter }).next, 'again');
    assert.equal(afterFailure({ ...FIRST, tries: 4, failures: 4 }, { retry, deadLetter }).next, 'dead');
    assert.equal(afterFailure({ ...FIRST, tries: 1, failures: 4 }, { retry, deadLetter }).next, 'dead');
    // How often the server has sent it says nothing of handlers that failed.
    assert.equal(afterFailure({ ...FIRST, deliveries: 50 }, { retry, deadLetter }).next, 'again');
  });

  it('maxDeliveries counts each try, and decides alone', () => {
    const options = { retry, deadLetter, maxDeliveries: 6 };
    assert.equal(afterFailure({ ...FIRST, tries: 4, failures: 4 }, options).next, 'left');
    assert.equal(afterFailure({ ...FIRST, tries: 1, failures: 5 }, options).next, 'again');
    assert.equal(afterFailure({ ...FIRST, tries: 2, failures: 6 }, options).next, 'dead');
    assert.equal(afterFailure({ ...FIRST, deliveries: 6 }, options).next, 'dead');
    assert.equal(afterFailure({ ...FIRST, tries: 2, failures: 2 }, { retry, maxDeliveries: 2 }).next, 'dead');
  });

  it('no try begins after maxRetryTime', () => {
    const brief = { ...retry, maxRetryTime: 250 };
    assert.equal(afterFailure({ ...FIRST, elapsed: 150 }, { retry: brief }).next, 'again');
    assert.equal(afterFailure({ ...FIRST, elapsed: 151 }, { retry: brief }).next, 'left');
    assert.equal(afterFailure({ ...FIRST, elapsed: 151 }, { retry: brief, deadLetter }).next, 'dead');
  });

  it('no try begins when another process may have the message', () => {
    assert.equal(afterFailure({ ...FIRST, reserved: 101 }, { retry }).next, 'again');
    assert.equal(afterFailure({ ...FIRST, reserved: 100 }, { retry }).next, 'left');
    assert.equal(afterFailure({ ...FIRST, reserved: 100 }, { retry, deadLetter }).next, 'left');
  });

  it('is, for any options, as many tries as asked for, within the time (property)', () => {
    const options = fc.record({
      retries: fc.integer({ min: 0, max: 20 }),
      factor: fc.double({ min: 1, max: 3, noNaN: true }),
      minTimeout: fc.integer({ min: 1, max: 1000 }),
      maxTimeout: fc.integer({ min: 1000, max: 10_000 }),
      randomize: fc.boolean(),
      maxRetryTime: fc.oneof(fc.constant(Infinity), fc.integer({ min: 1, max: 60_000 })),
    });
    fc.assert(
      fc.property(options, fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (options, drawn) => {
        let elapsed = 0;
        for (let tries = 1; ; tries++) {
          const outcome = afterFailure({ ...FIRST, tries, failures: tries, elapsed }, { retry: options }, () => drawn);
          assert.ok(tries <= options.retries + 1);
          if (outcome.next !== 'again') {
            assert.equal(outcome.next, 'left');
            assert.ok(tries === options.retries + 1 || options.maxRetryTime < Infinity);
            return;
          }
          assert.ok(outcome.delay <= options.maxTimeout);
          elapsed += outcome.delay;
          assert.ok(elapsed <= options.maxRetryTime);
        }
      }),
    );
  });
});

describe('the wait for the next try', () => {
  const message = (sequence: number): ReceivedMessage => ({ sequence }) as ReceivedMessage;

  it('lasts as long as the delay', async () => {
    const time = new VirtualTime({ exact: true });
    const retries = new Retries(time.clock);
    let over = false;
    void retries.wait(message(1), 100).then(() => (over = true));
    await time.pass(99);
    assert.equal(over, false);
    await time.pass(2);
    assert.equal(over, true);
    assert.equal(time.armed, 0);
  });

  it('ends when its message is settled, and no other does', async () => {
    const time = new VirtualTime({ exact: true });
    const retries = new Retries(time.clock);
    const ended: number[] = [];
    const [first, second] = [message(1), message(2)];
    for (const each of [first, second]) void retries.wait(each, 100).then(() => ended.push(each.sequence));
    retries.end(first);
    await time.settle();
    assert.deepEqual(ended, [1]);
    await time.pass(100);
    assert.deepEqual(ended, [1, 2]);
  });

  it('ends with the subscription, and none begins after that', async () => {
    const time = new VirtualTime({ exact: true });
    const retries = new Retries(time.clock);
    const wait = retries.wait(message(1), 1e6);
    retries.stop();
    await wait;
    await retries.wait(message(2), 1e6);
    assert.equal(retries.stopped, true);
    assert.equal(time.armed, 0);
  });
});
