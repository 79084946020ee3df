import assert from 'node:assert/strict';
import { once } from 'node:events';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { EventEmitter } from 'eventemitter3';
import fc from 'fast-check';
import { SafeEmitter } from '../../src/emitter.js';
import type { CallbackError } from '../../src/errors.js';
import { hostileProxy, throwing, unhandled } from '../support/hostile.js';

interface Events {
  a: (event: { n: number }) => void;
  b: (event: { n: number }) => void;
}

class Emitter extends SafeEmitter<Events> {
  readonly told: [string, CallbackError][] = [];
  constructor() {
    super();
    SafeEmitter.reportTo(this, (error, event) => this.told.push([String(event), error]));
  }
}

const careless = (promise: () => unknown) => promise;

describe('SafeEmitter', () => {
  it('is an EventEmitter', () => assert.ok(new Emitter() instanceof EventEmitter));

  it('calls the other listeners although one throws, and reports it', () => {
    const emitter = new Emitter();
    const calls: string[] = [];
    const cause = new Error('boom');
    emitter.on('a', () => calls.push('first'));
    emitter.on('a', () => {
      throw cause;
    });
    emitter.once('a', () => calls.push('last'));
    assert.equal(emitter.emit('a', { n: 1 }), true);
    assert.deepEqual(calls, ['first', 'last']);
    const [event, error] = emitter.told[0]!;
    assert.deepEqual([event, error.code, error.message], ['a', 'ERR_STAN_CALLBACK', "a listener of 'a' threw: boom"]);
    assert.equal(error.cause, cause);
  });

  it('reports one whose promise rejects, or whose answer cannot be read, and nothing is left unhandled', async () => {
    const emitter = new Emitter();
    emitter.on(
      'a',
      careless(() => Promise.reject(new Error('boom'))),
    );
    emitter.once(
      'a',
      careless(() => throwing('then')),
    );
    emitter.addListener(
      'a',
      careless(() => hostileProxy()),
    );
    assert.deepEqual(await unhandled(() => emitter.emit('a', { n: 1 })), []);
    assert.equal(emitter.told.length, 3);
  });

  it('hands over the arguments and the context', () => {
    const emitter = new Emitter();
    const context = { name: 'mine' };
    const seen: unknown[] = [];
    function listener(this: unknown, event: { n: number }): void {
      seen.push(this, event);
    }
    emitter.on('a', listener, context);
    emitter.on('b', listener);
    emitter.emit('a', { n: 1 });
    emitter.emit('b', { n: 2 });
    assert.deepEqual(seen, [context, { n: 1 }, emitter, { n: 2 }]);
    emitter.off('a', listener, {});
    assert.equal(emitter.listenerCount('a'), 1, 'another context');
    emitter.off('a', listener, context);
    assert.equal(emitter.listenerCount('a'), 0);
  });

  it("works with Node's own helpers", async () => {
    const emitter = new Emitter();
    setImmediate(() => emitter.emit('a', { n: 5 }));
    assert.deepEqual(await once(emitter as never, 'a'), [{ n: 5 }]);
    assert.equal(emitter.listenerCount('a'), 0);
  });

  it('refuses what is no function, as eventemitter3 does', () => {
    assert.throws(() => new Emitter().on('a', {} as never), TypeError);
  });

  it('lets go of functions that are not used any more', async () => {
    setFlagsFromString('--expose-gc');
    const gc = runInNewContext('gc') as () => void;
    const emitter = new Emitter();
    const refs: WeakRef<() => void>[] = [];
    for (let n = 0; n < 100; n++) {
      const listener = (): void => void n;
      emitter.on('a', listener);
      emitter.off('a', listener);
      emitter.once('b', listener);
      refs.push(new WeakRef(listener));
    }
    emitter.emit('b', { n: 1 });
    await new Promise((resolve) => setImmediate(resolve));
    gc();
    assert.ok(refs.filter((ref) => ref.deref() !== undefined).length <= 1);
  });

  it('cannot be told from an EventEmitter by what is registered and called', () => {
    const calls: number[] = [];
    const listeners = Array.from({ length: 4 }, (_, n) => (): void => void calls.push(n));
    const event = fc.constantFrom('a' as const, 'b' as const);
    const step = fc.record({
      how: fc.constantFrom('on', 'once', 'addListener', 'off', 'removeListener', 'offOnce', 'clear', 'emit'),
      event,
      n: fc.nat(3),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const run = (emitter: EventEmitter<Events>): unknown[] => {
          const seen: unknown[] = [];
          calls.length = 0;
          for (const { how, event, n } of steps) {
            const listener = listeners[n]!;
            if (how === 'emit') seen.push(emitter.emit(event, { n }));
            else if (how === 'clear') emitter.removeAllListeners(event);
            else if (how === 'offOnce') emitter.off(event, listener, undefined, true);
            else emitter[how as 'on'](event, listener);
            seen.push(emitter.listeners(event).map((l) => (listeners as unknown[]).indexOf(l)));
            seen.push(emitter.listenerCount(event), emitter.eventNames());
          }
          return [...seen, ...calls];
        };
        assert.deepEqual(run(new Emitter()), run(new EventEmitter<Events>()));
      }),
      { numRuns: 300 },
    );
  });
});
