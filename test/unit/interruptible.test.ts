/** How a step of a migration stops waiting. Nothing here has a server that answers. */
import assert from 'node:assert/strict';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { makeClock } from '../../src/clock/clock.js';
import { AbortedError } from '../../src/index.js';
import { interruptible, interruptiblePause } from '../../src/migrate/interruptible.js';
import { copy, cut, durables, plan, planInPlace, verify, type MigrateOptions } from '../../src/migrate/index.js';
import { deferred, rejection, until } from '../support/clients.js';

const never = <T>(): Promise<T> => new Promise<T>(() => undefined);

describe('what is interruptible', () => {
  const reason = new Error('told to stop');

  it('comes to what the work comes to, while nobody aborts', async () => {
    const { signal } = new AbortController();
    assert.equal(await interruptible(signal, async () => 'done'), 'done');
    assert.equal(await interruptible(undefined, async () => 'done'), 'done');
    await assert.rejects(
      interruptible(signal, () => Promise.reject(new Error('failed'))),
      /failed/,
    );
  });

  it('rejects with the reason when the work does not end, or ends with an error of its own', async () => {
    const controller = new AbortController();
    const waiting = assert.rejects(interruptible(controller.signal, never, { grace: 5 }), reason);
    const failing = deferred();
    const failed = assert.rejects(
      interruptible(controller.signal, () => failing.promise),
      reason,
    );
    controller.abort(reason);
    failing.reject(new Error('the connection is closed'));
    await Promise.all([waiting, failed]);
  });

  it('lets an answer come that was on its way, also when the question is asked after the abort', async () => {
    const controller = new AbortController();
    const answer = deferred<string>();
    const asked = interruptible(controller.signal, () => answer.promise);
    controller.abort(reason);
    const later = interruptible(controller.signal, () => answer.promise);
    answer.resolve('here');
    assert.deepEqual(await Promise.all([asked, later]), ['here', 'here']);
  });

  it('gets rid of what comes when nobody waits any more, and of nothing else', async () => {
    const late = deferred<string>();
    const discarded: string[] = [];
    const discard = (result: string): void => void discarded.push(result);
    const controller = new AbortController();
    await interruptible(controller.signal, async () => 'in time', { discard });
    controller.abort(reason);
    await assert.rejects(
      interruptible(controller.signal, () => late.promise, { grace: 0, discard }),
      reason,
    );
    late.resolve('late');
    await until(() => discarded.length > 0, 'it is kept');
    assert.deepEqual(discarded, ['late']);
  });

  it('pauses until the abort, and not at all behind it', async () => {
    const controller = new AbortController();
    const clock = makeClock();
    await interruptiblePause(clock, 1, controller.signal);
    const long = assert.rejects(interruptiblePause(clock, 1e9, controller.signal), reason);
    controller.abort(reason);
    await long;
    await assert.rejects(interruptiblePause(clock, 1e9, controller.signal), reason);
  });

  describe('is every step, at servers that are silent:', () => {
    /** A server that takes every connection and says nothing. */
    let silent: Server;
    let place: string;
    const sockets = new Set<Socket>();
    const steps = { plan, planInPlace, copy, verify, durables, cut };

    before(async () => {
      silent = createServer((socket) => {
        sockets.add(socket);
        socket
          .resume()
          .on('error', () => undefined)
          .on('close', () => sockets.delete(socket));
      });
      await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
      place = `127.0.0.1:${(silent.address() as AddressInfo).port}`;
    });
    after(() => {
      for (const socket of sockets) socket.destroy();
      silent.close();
    });

    for (const [name, step] of Object.entries(steps)) {
      it(`${name}, while the monitoring is asked`, async () => {
        const controller = new AbortController();
        const options: MigrateOptions = { from: place, monitor: `http://${place}`, signal: controller.signal };
        const before = sockets.size;
        const running = rejection(step(options), AbortedError);
        await until(() => sockets.size > before, 'it does not connect');
        controller.abort(reason);
        assert.equal((await running).cause, reason);
        // Nothing is left that would keep a process.
        await until(() => sockets.size === before, 'it is still connected', 4000);
      });
    }
  });
});
