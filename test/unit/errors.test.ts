/** How errors are shown: in JSON, and where Node prints one that nobody has caught. */
import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import * as library from '../../src/index.js';
import {
  AuthorizationError,
  ClosedError,
  ConnectError,
  ConnectionLostError,
  InvalidArgumentError,
  PublishTimeoutError,
  ResilientStanError,
} from '../../src/index.js';
import { DatedError } from '../../src/error-json.js';
import { hostileProxy } from '../support/hostile.js';

const json = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

/** As the search for the leader makes them: each with an error of the operating system behind it. */
function connectError(servers: number): ConnectError {
  const failures = Array.from({ length: servers }, (_, i) => {
    const cause = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED', port: 4222 + i });
    const error = new Error('connection refused: nobody listens there', { cause });
    return { server: `nats://node-${i}:4222`, reason: error.message, error, reached: false };
  });
  const list = failures.map(({ server, reason }) => `${server} (${reason})`).join('; ');
  return new ConnectError(`no server could be reached: ${list}`, failures);
}

describe('an error in JSON', () => {
  it('has its name, message, code and the fields of its class, and no stack', () => {
    assert.deepEqual(json(new PublishTimeoutError('orders', 100, 'unknown')), {
      name: 'PublishTimeoutError',
      message: new PublishTimeoutError('orders', 100, 'unknown').message,
      code: 'ERR_STAN_PUBLISH_TIMEOUT',
      delivery: 'unknown',
      channel: 'orders',
    });
    assert.deepEqual(json(new InvalidArgumentError('pings.interval', 'no')), {
      name: 'InvalidArgumentError',
      message: 'no',
      code: 'ERR_STAN_INVALID_ARGUMENT',
      argument: 'pings.interval',
    });
    assert.deepEqual(json(connectError(1)), {
      name: 'ConnectError',
      message: 'no server could be reached: nats://node-0:4222 (connection refused: nobody listens there)',
      code: 'ERR_STAN_CONNECT',
      failures: [{ server: 'nats://node-0:4222', reason: 'connection refused: nobody listens there', reached: false }],
    });
  });

  it('is there for every class', () => {
    const classes = Object.values(library).filter(
      (value) => typeof value === 'function' && value.prototype instanceof ResilientStanError,
    );
    assert.ok(classes.length > 15);
    for (const one of classes)
      assert.equal(typeof (one as { prototype: ResilientStanError }).prototype.toJSON, 'function');
  });

  it('has its causes, those of others by their name, message and code alone', () => {
    const foreign = Object.assign(new TypeError('Invalid URL', { cause: 'a text' }), {
      code: 'ERR_INVALID_URL',
      input: 'nats://me:s3cr3t@here',
    });
    const lost = new ConnectionLostError('disconnect', 'nats://a:1', 'gone', { cause: foreign });
    assert.deepEqual(json(new ClosedError('over', { cause: lost })), {
      name: 'ClosedError',
      message: 'over',
      code: 'ERR_STAN_CLOSED',
      cause: {
        name: 'ConnectionLostError',
        message: 'gone',
        code: 'ERR_STAN_CONNECTION_LOST',
        reason: 'disconnect',
        server: 'nats://a:1',
        cause: { name: 'TypeError', message: 'Invalid URL', code: 'ERR_INVALID_URL', cause: 'a text' },
      },
    });
  });

  it('has no cause where there is none, so that Node prints none', () => {
    const over = new ClosedError('over', { cause: undefined });
    assert.ok(!Object.hasOwn(over, 'cause'));
    assert.doesNotMatch(inspect(over), /cause/);
  });

  it('ends, and never throws, whatever its cause is', () => {
    const circle = new ClosedError('round');
    Object.assign(circle, { cause: new Error('and', { cause: circle }) });
    assert.deepEqual(json(circle), {
      name: 'ClosedError',
      message: 'round',
      code: 'ERR_STAN_CLOSED',
      cause: { name: 'Error', message: 'and' },
    });
    let long = new Error('the first');
    for (let i = 0; i < 10_000; i++) long = new Error(`number ${i}`, { cause: long });
    assert.ok(JSON.stringify(new ClosedError('x', { cause: long })).length < 1000);
    const other: unknown = runInNewContext(`new Error('of another realm')`);
    assert.match(JSON.stringify(new ClosedError('x', { cause: other })), /of another realm/);
    assert.doesNotThrow(() => JSON.stringify(new ClosedError('x', { cause: hostileProxy() })));
    fc.assert(
      fc.property(fc.anything({ withBigInt: true, withSparseArray: true, withNullPrototype: true }), (cause) => {
        const shown = JSON.stringify(new ClosedError('x', { cause }));
        assert.ok(shown.includes('ERR_STAN_CLOSED'));
      }),
    );
  });

  it('is there for any error that health() has', () => {
    const at = new Date(0);
    const foreign = new DatedError(Object.assign(new Error('of a handler'), { secret: 'x' }), at);
    assert.deepEqual(json(foreign), { error: { name: 'Error', message: 'of a handler' }, at: at.toJSON() });
  });
});

describe('an error that nobody has caught', () => {
  /** As Node prints it then. */
  const printed = (error: Error): string => inspect(error, { customInspect: false, depth: 5 });

  it('has each server on one line, and fits on a screen', () => {
    const text = printed(connectError(3));
    const lines = text.split('\n');
    assert.ok(lines.length < 24, text);
    assert.equal(lines[0], 'ConnectError: no server could be reached:');
    for (let i = 0; i < 3; i++) {
      assert.equal(lines[1 + i], `  nats://node-${i}:4222 (connection refused: nobody listens there)`);
    }
    assert.match(lines[4]!, /^ {4}at /);
    assert.equal(text.match(/nobody listens/g)?.length, 3, text);
    assert.match(text, /code: 'ERR_STAN_CONNECT'/);
    assert.ok(!text.includes('undefined'), text);
  });

  it('has a message of one line, for logs, and failures to look at', () => {
    const error = connectError(3);
    assert.ok(!error.message.includes('\n'));
    assert.equal(error.failures.length, 3);
    assert.ok(error.failures[0]!.error instanceof Error);
  });

  it('is left alone where there is nothing to list', () => {
    assert.match(printed(connectError(1)), /^ConnectError: no server could be reached: nats:\/\/node-0:4222 \(/);
    assert.match(printed(new ConnectError('nobody', [])), /^ConnectError: nobody\n/);
    const { stackTraceLimit } = Error;
    try {
      Error.stackTraceLimit = 0;
      assert.match(printed(connectError(2)), /ConnectError: no server could be reached:\n {2}nats:/);
    } finally {
      Error.stackTraceLimit = stackTraceLimit;
    }
    assert.match(printed(new AuthorizationError('nats://a:1', 'no')), /server: 'nats:\/\/a:1'/);
  });
});
