/** How many requests of the subscriptions wait for their answer at a time. */
import assert from 'node:assert/strict';
import { Window } from '../../../src/subscribing/request-window.js';
import { modelTime } from '../../support/scripted-subscriptions.js';

/** A server that works through requests one by one, at the end of a way. */
class Server {
  readonly time = modelTime();
  readonly window = new Window(this.time.clock);
  readonly order: number[] = [];
  asked = 0;
  mostAsked = 0;
  #freeAt = 0;

  constructor(
    readonly way: number,
    readonly work: number,
  ) {}

  request(n: number): Promise<number | undefined> {
    return this.window.pass(() => {
      this.order.push(n);
      this.mostAsked = Math.max(this.mostAsked, ++this.asked);
      const now = this.time.now();
      this.#freeAt = Math.max(now + this.way, this.#freeAt) + this.work;
      return new Promise<number>((resolve) => {
        this.time.clock.after(this.#freeAt + this.way - now, () => {
          this.asked--;
          resolve(n);
        });
      });
    });
  }

  /** @returns how long it took until all were answered, ms */
  async all(count: number): Promise<number> {
    const startedAt = this.time.now();
    let left = count;
    for (let n = 0; n < count; n++) void this.request(n).then(() => left--);
    while (left > 0) await this.time.pass(1);
    return this.time.now() - startedAt;
  }
}

describe('the window of the subscriptions', () => {
  it('sends what has room at once, and in order', async () => {
    const server = new Server(0, 1);
    const answers = Array.from({ length: 40 }, (_, n) => server.request(n));
    assert.deepEqual(server.order, [...Array(32).keys()]);
    await server.time.pass(100);
    assert.deepEqual(await Promise.all(answers), [...Array(40).keys()]);
    assert.deepEqual(server.order, [...Array(40).keys()]);
  });

  it('keeps few before a server that is busy with them, and the server busy', async () => {
    const server = new Server(0.5, 2);
    assert.ok((await server.all(500)) <= 1003);
    assert.ok(server.mostAsked <= 48, `${server.mostAsked} at a time`);
  });

  it('becomes wide on a long way', async () => {
    const server = new Server(100, 0.1);
    const took = await server.all(1000);
    // 32 at a time would take 32 round trips.
    assert.ok(took <= 7 * 200 + 200, `${took} ms`);
    assert.ok(server.mostAsked > 200);
  });

  it('begins anew with a session', async () => {
    const server = new Server(100, 0);
    await server.all(1000);
    server.window.renew();
    server.mostAsked = 0;
    const all = server.all(100);
    assert.equal(server.mostAsked, 32);
    await all;
  });

  it('lets the next through when one fails, also before it is sent', async () => {
    const time = modelTime();
    const window = new Window(time.clock);
    let sent = 0;
    const dead = Array.from({ length: 100 }, (_, n) =>
      window.pass(() => {
        sent++;
        if (n % 2 === 0) throw new Error('dead');
        return Promise.reject(new Error('dies'));
      }),
    );
    for (const failed of await Promise.allSettled(dead)) assert.equal(failed.status, 'rejected');
    assert.equal(sent, 100);
    assert.equal(await window.pass(() => Promise.resolve('alive')), 'alive');
  });

  it('is not narrowed by one that need not be asked any more', async () => {
    const server = new Server(100, 0.1);
    assert.equal(await server.window.pass(() => undefined), undefined);
    const long = await server.all(1000);
    assert.ok(long < 2000, `${long} ms`);
  });
});
