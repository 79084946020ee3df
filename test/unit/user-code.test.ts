import assert from 'node:assert/strict';
import { CallbackError, ClosedError, describe as say, InternalError, toError, toOurs } from '../../src/errors.js';
import { askUser, callUser, whenSettled } from '../../src/user-code.js';
import { hostileProxy, revokedProxy, thrower, throwing, unhandled } from '../support/hostile.js';

/** A promise that rejects, and whose own methods do not let anybody know. */
function deafPromise(): Promise<never> {
  const promise = Promise.reject(new Error('deaf'));
  return Object.assign(promise, {
    catch: () => promise,
    then(_: unknown, failed: (error: Error) => void) {
      // As a subclass would that counts its handlers.
      return Promise.prototype.then.call(promise, undefined, failed);
    },
  });
}

const FAILURES: [string, () => unknown, string | RegExp][] = [
  ['throws', thrower('boom'), 'boom'],
  ['throws a string', () => Promise.reject('boom'), 'boom'],
  [
    'throws nothing at all',
    () => {
      throw undefined;
    },
    'undefined',
  ],
  ['throws what cannot be shown', () => Promise.reject(Object.create(null)), 'cannot be shown'],
  ['throws a proxy', () => Promise.reject(revokedProxy({})), 'cannot be shown'],
  ['rejects', async () => Promise.reject(new Error('boom')), 'boom'],
  ['rejects later', () => new Promise((_, reject) => setImmediate(() => reject(new Error('boom')))), 'boom'],
  [
    'returns a thenable that rejects',
    () => ({ then: (_: unknown, no: (e: Error) => void) => no(new Error('boom')) }),
    'boom',
  ],
  ['returns a thenable that throws', () => ({ then: thrower('boom') }), 'boom'],
  ['returns something whose then cannot be read', () => throwing('then'), 'thrown by the caller'],
  ['returns a proxy', () => hostileProxy(), 'thrown by the caller'],
  ['returns a function that is a thenable', () => Object.assign(() => 1, { then: thrower('boom') }), 'boom'],
  ['returns a promise with methods of its own', deafPromise, 'deaf'],
];

const GOOD: [string, () => unknown][] = [
  ['returns nothing', () => undefined],
  ['returns null', () => null],
  ['returns a number', () => 5],
  ['returns an object', () => ({ then: 'not a function' })],
  ['resolves', async () => 5],
  ['returns a thenable', () => ({ then: (yes: () => void) => yes() })],
  [
    'calls back twice',
    () => ({
      then(yes: () => void, no: (e: Error) => void) {
        yes();
        no(new Error('too late'));
        throw new Error('too late');
      },
    }),
  ],
];

describe('callUser', () => {
  for (const [what, call, word] of FAILURES) {
    it(`tells of code that ${what}, once`, async () => {
      const told: CallbackError[] = [];
      const reasons = await unhandled(() => callUser('the logger', call, (error) => told.push(error)));
      assert.deepEqual(reasons, []);
      assert.equal(told.length, 1);
      assert.ok(told[0] instanceof CallbackError);
      assert.equal(told[0].code, 'ERR_STAN_CALLBACK');
      assert.match(told[0].message, /^the logger threw: /);
      assert.match(told[0].message, new RegExp(word));
    });
  }

  for (const [what, call] of GOOD) {
    it(`tells nothing of code that ${what}`, async () => {
      const reasons = await unhandled(() => callUser('x', call, (error) => assert.fail(error.message)));
      assert.deepEqual(reasons, []);
    });
  }
});

describe('askUser', () => {
  for (const [what, call] of FAILURES) {
    it(`rejects with an Error when it ${what}`, async () => {
      const reasons = await unhandled(() => assert.rejects(askUser(call), Error));
      assert.deepEqual(reasons, []);
    });
  }

  it('passes on what the code threw, and what it answered', async () => {
    const error = new Error('own');
    await assert.rejects(
      askUser(() => Promise.reject(error)),
      (thrown) => thrown === error,
    );
    assert.equal(await askUser(() => Promise.resolve(5)), 5);
    assert.equal(await askUser(() => 5), 5);
  });
});

describe('whenSettled', () => {
  it('calls one of the two, once and never at once', async () => {
    for (const [, call] of [...GOOD, ...FAILURES]) {
      let result: unknown;
      try {
        result = call();
      } catch {
        continue;
      }
      if (typeof result !== 'object' || result === null) continue;
      let calls = 0;
      const count = (): void => void calls++;
      whenSettled(result, count, count);
      assert.equal(calls, 0);
      // One of them rejects at the next turn.
      for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
      assert.equal(calls, 1);
    }
  });
});

describe('errors of what was thrown', () => {
  const nasty = [
    Object.create(null) as object,
    revokedProxy<object>({}),
    hostileProxy<object>(),
    throwing<Error>('message'),
    Object.defineProperty(new Error(), 'message', { get: thrower() }),
    Symbol('x'),
    undefined,
  ];

  it('describe, toError and toOurs never throw', () => {
    for (const thrown of nasty) {
      assert.equal(typeof say(thrown), 'string');
      assert.ok(toError(thrown) instanceof Error);
      assert.ok(toOurs(thrown, 'publish()') instanceof InternalError);
    }
  });

  it('toOurs leaves our own errors alone, and says of others what failed', () => {
    const own = new ClosedError();
    assert.equal(toOurs(own, 'flush()'), own);
    const other = new RangeError('no room');
    const error = toOurs(other, 'publish()', { delivery: 'not-sent' });
    assert.deepEqual([error.code, error.delivery, error.cause], ['ERR_STAN_INTERNAL', 'not-sent', other]);
    assert.match(error.message, /^publish\(\) failed .*: no room$/);
  });
});
