/** The traces: what a listener is told, in which order, and that the operation does not notice. */
import assert from 'node:assert/strict';
import { AsyncLocalStorage } from 'node:async_hooks';
import { channel, tracingChannel } from 'node:diagnostics_channel';
import { Tracing } from '../../src/tracing.js';
import { hostileProxy, thrower, throwing, unhandled } from '../support/hostile.js';

interface Context {
  name: string;
  result?: unknown;
  error?: unknown;
  abandoned?: boolean;
}

const EVENTS = ['start', 'end', 'asyncStart', 'asyncEnd', 'error'] as const;
let channels = 0;

/** A tracing of its own, and all that a listener of it hears. */
function listened(events: readonly (typeof EVENTS)[number][] = EVENTS) {
  const name = `test-${channels++}`;
  const heard: string[] = [];
  const contexts = new Set<unknown>();
  // The listener comes first: a channel that is made by its name is the same.
  for (const event of events) {
    channel(`tracing:${name}:${event}`).subscribe((context) => {
      heard.push(event);
      contexts.add(context);
    });
  }
  return { name, heard, contexts, tracing: new Tracing<Context>(name) };
}

const ended = Symbol('ended');
const later = <T>(value: T): Promise<T> => new Promise((resolve) => setImmediate(resolve, value));
const failing = (error: unknown): Promise<never> => later(undefined).then(() => Promise.reject(error));
const boom = new Error('boom');

describe('a trace', () => {
  it('tells an operation that returns at once, and returns what it returns', () => {
    const { tracing, heard, contexts } = listened();
    const context: Context = { name: 'one' };
    const answer = { a: 1 };
    const got = tracing.run(context, () => {
      heard.push('operation');
      return answer;
    });
    assert.equal(got, answer);
    assert.deepEqual(heard, ['start', 'operation', 'end', 'asyncStart', 'asyncEnd']);
    assert.deepEqual(context, { name: 'one', result: answer });
    assert.deepEqual([...contexts], [context]);
    assert.ok(contexts.has(context));
  });

  it('tells an operation that throws at once, and throws the same', () => {
    const { tracing, heard } = listened();
    const context: Context = { name: 'one' };
    assert.throws(
      () =>
        tracing.run(context, () => {
          throw boom;
        }),
      (thrown) => thrown === boom,
    );
    assert.deepEqual(heard, ['start', 'error', 'end', 'asyncStart', 'asyncEnd']);
    assert.equal(context.error, boom);
    assert.ok(!('result' in context));
  });

  it('tells a promise that resolves, before whoever waits for it hears of it', async () => {
    const { tracing, heard } = listened();
    const context: Context = { name: 'one' };
    const promise = tracing.run(context, () => later('done'));
    assert.deepEqual(heard, ['start', 'end']);
    assert.equal(await promise.then((value) => (heard.push('waiting'), value)), 'done');
    assert.deepEqual(heard, ['start', 'end', 'asyncStart', 'asyncEnd', 'waiting']);
    assert.equal(context.result, 'done');
  });

  it('tells a promise that rejects, with whatever', async () => {
    for (const reason of [boom, 'boom', undefined, ended]) {
      const { tracing, heard } = listened();
      const context: Context = { name: 'one' };
      const promise = tracing.run(context, () => failing(reason));
      await assert.rejects(promise, (error) => error === reason);
      assert.deepEqual(heard, ['start', 'end', 'error', 'asyncStart', 'asyncEnd']);
      assert.equal(context.error, reason);
      assert.ok('error' in context && !('result' in context));
    }
  });

  it('leaves a rejection that nobody handles an unhandled one', async () => {
    const { tracing } = listened();
    const reasons = await unhandled(() => void tracing.run({ name: 'one' }, () => Promise.reject(boom)));
    // Mocha emits each once more.
    assert.deepEqual([...new Set(reasons)], [boom]);
  });

  it('tells no error of what was given up without having failed', async () => {
    const { tracing, heard } = listened();
    const context: Context = { name: 'one' };
    await assert.rejects(
      tracing.run(context, () => failing(ended), ended),
      (error) => error === ended,
    );
    assert.deepEqual(heard, ['start', 'end', 'asyncStart', 'asyncEnd']);
    assert.deepEqual(context, { name: 'one', abandoned: true });
  });

  it('calls the then of a thenable once, and not before it is returned', async () => {
    const { tracing, heard } = listened();
    let calls = 0;
    const lazy = {
      then(resolve: (value: string) => void): void {
        calls++;
        resolve('done');
      },
    };
    const promise = tracing.run({ name: 'one' }, () => lazy) as unknown as Promise<string>;
    assert.equal(calls, 0);
    assert.equal(await promise, 'done');
    assert.equal(calls, 1);
    assert.equal(heard.at(-1), 'asyncEnd');
  });

  it('takes what cannot be asked for its then as a failure, as a caller would', async () => {
    for (const hostile of [throwing<object>('then'), hostileProxy<object>()]) {
      const { tracing, heard } = listened();
      assert.throws(() => tracing.run({ name: 'one' }, () => hostile), /thrown by the caller/);
      assert.deepEqual(heard, ['start', 'error', 'end', 'asyncStart', 'asyncEnd']);
    }
    const { tracing, heard } = listened();
    await assert.rejects(tracing.run({ name: 'one' }, () => ({ then: thrower('boom') })) as unknown as Promise<void>);
    assert.deepEqual(heard, ['start', 'end', 'error', 'asyncStart', 'asyncEnd']);
  });

  it('runs the operation in the stores that are bound to its start, and what follows in it, too', async () => {
    const { tracing, name, heard } = listened();
    const store = new AsyncLocalStorage<string>();
    const trace = tracingChannel<string, Context>(name);
    trace.start.bindStore(store, (context) => `in ${context.name}`);
    trace.asyncEnd.subscribe(() => heard.push(`asyncEnd ${store.getStore()}`));
    await store.run('outside', async () => {
      await tracing.run({ name: 'one' }, async () => {
        heard.push(store.getStore()!);
        await later(undefined);
        heard.push(`later ${store.getStore()}`);
      });
      assert.equal(store.getStore(), 'outside');
    });
    assert.ok(heard.includes('in one') && heard.includes('later in one') && heard.includes('asyncEnd in one'));
    trace.start.unbindStore(store);
  });

  it('is not disturbed by a listener that throws: Node makes an uncaught exception of it, as on all its channels', async () => {
    const { tracing, name, heard } = listened();
    channel(`tracing:${name}:start`).subscribe(thrower('a listener'));
    const others = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    const uncaught: string[] = [];
    process.on('uncaughtException', ({ message }) => uncaught.push(message));
    try {
      assert.equal(await tracing.run({ name: 'one' }, () => later('done')), 'done');
    } finally {
      process.removeAllListeners('uncaughtException');
      for (const other of others) process.on('uncaughtException', other);
    }
    assert.deepEqual(uncaught, ['a listener']);
    assert.deepEqual(heard, ['start', 'end', 'asyncStart', 'asyncEnd']);
  });

  it('is wanted exactly while somebody listens to one of its five channels, or has bound a store', () => {
    for (const event of EVENTS) {
      const name = `test-${channels++}`;
      const tracing = new Tracing<Context>(name);
      const listener = (): void => undefined;
      assert.equal(tracing.wanted, false);
      tracingChannel(name)[event].subscribe(listener);
      assert.equal(tracing.wanted, true, event);
      tracingChannel(name)[event].unsubscribe(listener);
      assert.equal(tracing.wanted, false, event);
    }
    const name = `test-${channels++}`;
    const tracing = new Tracing<Context>(name);
    const store = new AsyncLocalStorage<unknown>();
    tracingChannel<unknown, Context>(name).start.bindStore(store);
    assert.equal(tracing.wanted, true);
    tracingChannel<unknown, Context>(name).start.unbindStore(store);
    assert.equal(tracing.wanted, false);
  });
});
