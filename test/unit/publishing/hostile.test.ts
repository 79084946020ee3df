/** Whatever is passed: the counters add up, flush() resolves, and each promise settles with an error of ours. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { AbortedError, InvalidArgumentError, ResilientStanError } from '../../../src/errors.js';
import { resolvePublishOptions } from '../../../src/publishing/publisher-options.js';
import type { Publisher, PubAck } from '../../../src/publishing/publisher.js';
import { checkChannel, checkPayload } from '../../../src/validation.js';
import {
  detached,
  hostileProxy,
  PolyfillSignal,
  revokedProxy,
  thrower,
  throwing,
  unhandled,
} from '../../support/hostile.js';
import { errorOf, ignore, reactions, setup } from './setup.js';

const shape = { aborted: false, addEventListener: () => undefined, removeEventListener: () => undefined };
const asSignal = (signal: object): AbortSignal => signal as AbortSignal;

/** As the client does it. */
function publish(publisher: Publisher, channel: unknown, data: unknown, options: unknown): Promise<PubAck> {
  try {
    checkChannel(channel);
    checkPayload(data);
    return publisher.publish(channel, data, resolvePublishOptions(options));
  } catch (error) {
    return Promise.reject(error);
  }
}

function addsUp(publisher: Publisher): void {
  const { published, acknowledged, rejected, pending, waiting } = publisher.stats;
  assert.equal(published, acknowledged + rejected + pending + waiting);
}

async function isOver(publisher: Publisher): Promise<void> {
  addsUp(publisher);
  const { pending, waiting, pendingBytes } = publisher.stats;
  assert.deepEqual({ pending, waiting, pendingBytes }, { pending: 0, waiting: 0, pendingBytes: 0 });
  let flushed = false;
  void publisher.flush().then(() => (flushed = true));
  await reactions();
  assert.ok(flushed, 'flush() does not end');
}

describe('publish() of what cannot be used', () => {
  for (const [what, data] of [
    ['a detached buffer', () => detached(8)],
    ['a large detached buffer', () => detached(100_000)],
    ['a view that its buffer has shrunk below', shrunk],
  ] as const) {
    it(`refuses ${what}, and nothing else happens`, async () => {
      const { publisher, attach } = setup();
      const session = attach();
      const error = await errorOf(publisher.publish('a', data()));
      assert.ok(error instanceof InvalidArgumentError);
      assert.equal(error.argument, 'data');
      assert.equal(error.delivery, 'not-sent');
      assert.match(error.message, /transferred/);
      assert.equal(session.sendings.length, 0);
      assert.equal(publisher.stats.published, 0);
      await isOver(publisher);
    });
  }

  it('takes bytes that are empty, and arrays whose own properties lie', async () => {
    const { publisher, attach } = setup();
    const session = attach();
    const liar = new Uint8Array([1, 2, 3]);
    Object.defineProperty(liar, 'byteLength', { get: thrower() });
    Object.defineProperty(liar, 'length', { value: 1e9 });
    ignore(publisher.publish('a', new Uint8Array(0)), publisher.publish('a', liar));
    assert.deepEqual(
      session.sendings.map(({ data }) => [...data]),
      [[], [1, 2, 3]],
    );
    session.answerAll();
    await isOver(publisher);
  });

  it('refuses a signal that does not let us listen', async () => {
    const { publisher } = setup();
    const signal = asSignal({ ...shape, addEventListener: thrower() });
    const error = await errorOf(publisher.publish('a', 'x', { signal, timeout: 5 }));
    assert.ok(error instanceof InvalidArgumentError);
    assert.deepEqual([error.argument, error.delivery], ['signal', 'not-sent']);
    assert.equal(publisher.stats.published, 0);
    await isOver(publisher);
  });

  it("obeys a polyfill's signal, and lets go of it", async () => {
    const { publisher } = setup();
    const polyfill = new PolyfillSignal();
    const signal = polyfill.asSignal;
    const all = ['1', '2', '3'].map((text) => publisher.publish('a', text, { signal }));
    ignore(...all);
    assert.equal(polyfill.listeners, 1);
    polyfill.abort('enough');
    for (const promise of all) {
      const error = await errorOf(promise);
      assert.ok(error instanceof AbortedError);
      assert.equal(error.cause, 'enough');
    }
    assert.equal(polyfill.listeners, 0);
    const late = await errorOf(publisher.publish('a', '4', { signal }));
    assert.ok(late instanceof AbortedError);
    assert.equal(polyfill.listeners, 0);
    await isOver(publisher);
  });

  it('gives up what is published with a signal that aborts while we begin to listen', async () => {
    const { publisher } = setup();
    const eager = asSignal({ ...shape, addEventListener: (_: string, listener: () => void) => listener() });
    const error = await errorOf(publisher.publish('a', 'x', { signal: eager }));
    assert.ok(error instanceof AbortedError);
    await isOver(publisher);
  });

  it('is not confused by a signal that publishes, or closes, while we begin to listen', async () => {
    const { publisher } = setup();
    let inner: Promise<PubAck> | undefined;
    let called = false;
    const calling = asSignal({
      ...shape,
      addEventListener: () => {
        if (called) return;
        called = true;
        inner = publisher.publish('a', 'inner', { signal: calling });
      },
    });
    const closing = asSignal({ ...shape, addEventListener: () => publisher.stopIntake() });
    const first = publisher.publish('a', 'outer', { signal: calling });
    const second = publisher.publish('a', 'closed', { signal: closing });
    ignore(first, second, inner!);
    assert.equal((await errorOf(second)).code, 'ERR_STAN_CLOSED');
    addsUp(publisher);
    assert.equal(publisher.stats.pending, 2);
    publisher.rejectAll(new Error('the end'));
    await isOver(publisher);
  });

  it('in any mix leaves the counters adding up, and flush() ends', async () => {
    let made: PolyfillSignal[] = [];
    const polyfill = (): PolyfillSignal => {
      made.push(new PolyfillSignal());
      return made.at(-1)!;
    };
    const signals = fc.constantFrom<() => unknown>(
      () => new AbortController().signal,
      () => AbortSignal.abort('before'),
      () => polyfill(),
      () => Object.assign(polyfill(), { addEventListener: thrower() }),
      () => Object.assign(polyfill(), { removeEventListener: thrower() }),
      () => Object.defineProperty(polyfill(), 'reason', { get: thrower(), set: () => undefined }),
      () => throwing('aborted', shape),
      () => ({ ...shape, addEventListener: (_: string, listener: () => void) => listener() }),
      () => hostileProxy(),
      () => undefined,
    );
    const options = fc
      .record({ signal: signals, timeout: fc.constantFrom(undefined, 1, Infinity, -1, 'x'), how: fc.nat(4) })
      .map(({ signal, timeout, how }) => (): unknown => {
        if (how === 0) return undefined;
        if (how === 1) return throwing('timeout', { signal: signal() });
        if (how === 2) return Object.create({ timeout, signal: signal() });
        return how === 3 ? revokedProxy() : { timeout, signal: signal() };
      });
    const data = fc.constantFrom<() => unknown>(
      () => 'text',
      () => '',
      () => Buffer.from('bytes'),
      () => new Uint8Array(3000),
      () => detached(),
      () => detached(5000),
      shrunk,
      () => hostileProxy(new Uint8Array(2)),
      () => revokedProxy(),
      () => throwing('byteLength'),
      () => 'x'.repeat(600),
    );
    const channels = fc.constantFrom<() => unknown>(
      () => 'a',
      () => 'b',
      () => 'a b',
      () => hostileProxy(),
      () => throwing('toString'),
    );
    const call = fc.record({ channel: channels, data, options });
    const step = fc.oneof(
      { weight: 5, arbitrary: call },
      { weight: 1, arbitrary: fc.constantFrom('attach', 'answer', 'lose', 'time', 'abort') },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 40 }),
        fc.constantFrom('wait', 'reject'),
        async (steps, whenFull) => {
          const { publisher, time, attach, bugs } = setup({
            maxPending: 5,
            maxPendingBytes: 4000,
            whenFull: whenFull as 'wait',
          });
          let session = attach();
          const promises: Promise<PubAck>[] = [];
          made = [];
          for (const one of steps) {
            if (one === 'attach') session = attach();
            else if (one === 'answer') session.answerAll();
            else if (one === 'lose') session.lose('disconnect', 'lost');
            else if (one === 'time') time.advance(2);
            else if (one === 'abort') for (const signal of made) signal.abort();
            if (typeof one === 'string') continue;
            promises.push(publish(publisher, one.channel(), one.data(), one.options()));
            ignore(...promises);
            addsUp(publisher);
          }
          publisher.rejectAll(new Error('the end'));
          for (const result of await Promise.allSettled(promises)) {
            if (result.status === 'fulfilled') continue;
            assert.ok(result.reason instanceof ResilientStanError, String(result.reason));
          }
          assert.deepEqual(bugs, []);
          await isOver(publisher);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('leaves no rejection behind', async () => {
    const reasons = await unhandled(async () => {
      const { publisher } = setup();
      await errorOf(publisher.publish('a', detached()));
    });
    assert.deepEqual(reasons, []);
  });
});

/** A view of fixed length, whose resizable buffer was made smaller than that. */
function shrunk(): Uint8Array {
  const Resizable = ArrayBuffer as unknown as new (
    size: number,
    options: { maxByteLength: number },
  ) => ArrayBuffer & { resize(size: number): void };
  const buffer = new Resizable(16, { maxByteLength: 32 });
  const view = new Uint8Array(buffer, 8, 8);
  buffer.resize(4);
  return view;
}
