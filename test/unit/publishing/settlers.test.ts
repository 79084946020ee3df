import assert from 'node:assert/strict';
import { ClosedError, InternalError } from '../../../src/errors.js';
import { type PublishListener, Settlers } from '../../../src/publishing/settlers.js';

describe('Settlers', () => {
  const listener = (name: string, told: string[], then?: () => void): PublishListener => ({
    stored: () => {
      told.push(`${name} stored`);
      then?.();
    },
    failed: (error) => {
      told.push(`${name} ${error.code}`);
      then?.();
    },
  });

  it('tells listeners later, each once and in their order', async () => {
    const settlers = new Settlers();
    const told: string[] = [];
    settlers.stored(listener('a', told), 'guid', 'c', 1);
    settlers.failed(listener('b', told), new ClosedError('over'));
    settlers.stored(listener('c', told), 'guid', 'c', 1);
    assert.deepEqual(told, []);
    await Promise.resolve();
    assert.deepEqual(told, ['a stored', 'b ERR_STAN_CLOSED', 'c stored']);
    await Promise.resolve();
    assert.equal(told.length, 3);
  });

  it('tells them while the timers of a test are fake, which replace queueMicrotask', async () => {
    const { queueMicrotask } = globalThis;
    globalThis.queueMicrotask = () => undefined;
    try {
      const told: string[] = [];
      new Settlers().stored(listener('a', told), 'guid', 'c', 1);
      await Promise.resolve();
      assert.deepEqual(told, ['a stored']);
    } finally {
      globalThis.queueMicrotask = queueMicrotask;
    }
  });

  it('tells what a listener causes in a later microtask', async () => {
    const settlers = new Settlers();
    const told: string[] = [];
    const again = (): void => settlers.stored(listener('again', told), 'guid', 'c', 1);
    settlers.stored(listener('a', told, again), 'guid', 'c', 1);
    settlers.stored(listener('b', told), 'guid', 'c', 1);
    await Promise.resolve();
    assert.deepEqual(told, ['a stored', 'b stored']);
    await Promise.resolve();
    assert.deepEqual(told, ['a stored', 'b stored', 'again stored']);
  });

  it('settles promises with what the cluster said, and with errors of this library', async () => {
    const settlers = new Settlers();
    const ack = new Promise((resolve) => settlers.stored(resolve, 'guid', 'c', 2));
    assert.deepEqual(await ack, { guid: 'guid', channel: 'c', attempts: 2 });
    const failed = new Promise((resolve) => settlers.failed(resolve, new RangeError('odd'), { delivery: 'not-sent' }));
    const error = await failed.then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    assert.ok(error instanceof InternalError);
    assert.equal(error.delivery, 'not-sent');
  });
});
