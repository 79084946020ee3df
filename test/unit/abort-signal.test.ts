import assert from 'node:assert/strict';
import { AbortWatch, signalFault } from '../../src/abort-signal.js';
import { InvalidArgumentError } from '../../src/errors.js';
import { hostileProxy, PolyfillSignal, revokedProxy, thrower, throwing } from '../support/hostile.js';

const shape = { aborted: false, addEventListener: () => undefined, removeEventListener: () => undefined };

describe('signalFault', () => {
  it('takes what has the shape of a signal', () => {
    for (const signal of [new AbortController().signal, AbortSignal.abort(), new PolyfillSignal(), shape]) {
      assert.equal(signalFault(signal), undefined);
    }
  });

  for (const [what, value, word] of [
    ['the controller', new AbortController(), 'controller.signal'],
    ['nothing', null, 'null'],
    ['a string', 'x', "'x'"],
    ['an object', {}, 'an object'],
    ['one whose state cannot be read', throwing('aborted', shape), 'thrown by the caller'],
    ['one whose methods cannot be read', throwing('addEventListener', shape), 'thrown by the caller'],
    ['a proxy that throws', hostileProxy(), 'thrown by the caller'],
    ['a revoked proxy', revokedProxy(), 'revoked'],
  ] as const) {
    it(`refuses ${what}`, () => assert.match(signalFault(value) ?? '', new RegExp(word)));
  }
});

describe('AbortWatch', () => {
  it("hears of the abort of Node's signal, and of a polyfill's, once", () => {
    const controller = new AbortController();
    const polyfill = new PolyfillSignal();
    for (const [signal, abort] of [
      [controller.signal, () => controller.abort('why')],
      [polyfill.asSignal, () => polyfill.abort('why')],
    ] as const) {
      const watch = new AbortWatch(signal);
      let heard = 0;
      watch.onAbort = () => heard++;
      assert.equal(watch.aborted, false);
      abort();
      polyfill.emitter.emit('abort');
      assert.equal(heard, 1);
      assert.equal(watch.aborted, true);
      assert.equal(watch.reason, 'why');
    }
    assert.equal(polyfill.listeners, 0, 'it is not listened to any more');
  });

  it('hears nothing after stop(), also of a signal that does not forget us', () => {
    const forgetful = new PolyfillSignal();
    forgetful.removeEventListener = thrower();
    const watch = new AbortWatch(forgetful.asSignal);
    watch.onAbort = () => assert.fail('heard');
    watch.stop();
    forgetful.abort();
    assert.equal(watch.aborted, true);
  });

  it('sees that the signal is aborted already', () => {
    const watch = new AbortWatch(AbortSignal.abort('before'));
    assert.equal(watch.aborted, true);
    assert.equal(watch.reason, 'before');
  });

  it('is told by a signal that calls while we begin to listen', () => {
    const eager = { ...shape, addEventListener: (_: string, listener: () => void) => listener() };
    assert.equal(new AbortWatch(eager as unknown as AbortSignal).aborted, true);
  });

  it('makes an InvalidArgumentError of a signal that does not let us listen', () => {
    const signal = { ...shape, addEventListener: thrower() } as unknown as AbortSignal;
    assert.throws(
      () => new AbortWatch(signal, { delivery: 'not-sent' }),
      (error: InvalidArgumentError) => {
        assert.ok(error instanceof InvalidArgumentError);
        assert.equal(error.argument, 'signal');
        assert.equal(error.delivery, 'not-sent');
        assert.match(error.message, /thrown by the caller/);
        return true;
      },
    );
  });

  it('lives with getters that throw later', () => {
    let calm = true;
    const signal = {
      ...shape,
      get aborted() {
        if (!calm) throw new Error('not calm');
        return false;
      },
      get reason() {
        throw new Error('never calm');
      },
    } as unknown as AbortSignal;
    const watch = new AbortWatch(signal);
    calm = false;
    assert.equal(watch.aborted, false);
    assert.equal(watch.reason, undefined);
  });
});
