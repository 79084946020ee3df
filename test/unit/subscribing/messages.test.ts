/** A channel as an async iterator. */
import assert from 'node:assert/strict';
import { AbortedError, ClosedError } from '../../../src/errors.js';
import type { StanMessage } from '../../../src/subscribing/message.js';
import { messages, type MessagesIterator } from '../../../src/subscribing/messages.js';
import { Subscriptions } from '../../../src/subscribing/subscriptions.js';
import {
  ModelServer,
  modelTime,
  subscribeOptions,
  type ScriptedSession,
  TELLER,
} from '../../support/scripted-subscriptions.js';
import type { ResolvedSubscribeOptions } from '../../../src/subscribing/subscribe-options.js';

class Client {
  readonly time = modelTime();
  readonly server = new ModelServer(this.time);
  readonly subscriptions = new Subscriptions({ teller: TELLER, clock: this.time.clock, onError: assert.ifError });
  session!: ScriptedSession;

  async connect(): Promise<this> {
    this.session = this.server.connect();
    const attaching = this.subscriptions.attach(this.session);
    await this.time.pass(20);
    await attaching;
    return this;
  }

  async messages(options: Partial<ResolvedSubscribeOptions> = {}): Promise<MessagesIterator> {
    const iterator = messages((handler, begun) =>
      this.subscriptions.subscribe('foo', handler, subscribeOptions(options), begun),
    );
    await this.time.pass(20);
    return iterator;
  }

  /** The outcome of a promise, once time has passed. */
  async after<T>(promise: Promise<T>, ms = 20): Promise<T> {
    promise.catch(() => undefined);
    await this.time.pass(ms);
    return promise;
  }

  async publish(...values: string[]): Promise<void> {
    for (const value of values) this.server.publish(value);
    await this.time.pass(20);
  }
}

async function sequenceOf(next: Promise<IteratorResult<StanMessage>>): Promise<number | 'done'> {
  const { done, value } = (await next) as { done?: boolean; value?: StanMessage };
  return done === true ? 'done' : value!.sequence;
}

describe('messages()', () => {
  it('acknowledges each when the next one is asked for', async () => {
    const client = await new Client().connect();
    const iterator = await client.messages();
    await client.publish('a', 'b');
    assert.equal(await sequenceOf(iterator.next()), 1);
    await client.time.pass(20);
    assert.deepEqual(client.session.acks, []);
    assert.equal(await sequenceOf(client.after(iterator.next())), 2);
    assert.deepEqual(client.session.acks, [1]);
    const third = iterator.next();
    await client.time.pass(20);
    assert.deepEqual(client.session.acks, [1, 2]);
    await client.publish('c');
    assert.equal(await sequenceOf(third), 3);
  });

  it('takes no more than maxInFlight', async () => {
    const client = await new Client().connect();
    await client.messages({ maxInFlight: 3 });
    await client.publish('a', 'b', 'c', 'd', 'e');
    assert.equal(client.server.subs[0]!.progress.lastSent, 3);
  });

  it('closes at the end of the loop, and leaves the last message unacknowledged', async () => {
    const client = await new Client().connect();
    client.server.publish('a');
    client.server.publish('b');
    client.server.publish('c');
    const seen: number[] = [];
    const iterator = await client.messages({ durableName: 'd', startAt: 'first' });
    const loop = (async () => {
      for await (const message of iterator) {
        seen.push(message.sequence);
        if (message.sequence === 2) break;
      }
    })();
    await client.after(loop, 50);
    assert.deepEqual(seen, [1, 2]);
    assert.deepEqual(client.session.acks, [1]);
    assert.equal(client.server.subs.length, 0);
    assert.equal(client.server.durables.size, 1);
    assert.equal(await sequenceOf(iterator.next()), 'done');
    const again = await client.messages({ durableName: 'd' });
    assert.equal(await sequenceOf(again.next()), 2);
  });

  it('answers several who ask in their order', async () => {
    const client = await new Client().connect();
    const iterator = await client.messages();
    const asked = [iterator.next(), iterator.next(), iterator.next()];
    await client.publish('a', 'b', 'c');
    assert.deepEqual(await Promise.all(asked.map(sequenceOf)), [1, 2, 3]);
    assert.deepEqual(client.session.acks, [1, 2]);
  });

  it('outlives a session, and hands nothing out twice', async () => {
    const client = await new Client().connect();
    const iterator = await client.messages();
    await client.publish('a', 'b');
    assert.equal(await sequenceOf(iterator.next()), 1);
    client.session.kill();
    client.subscriptions.detach();
    await client.connect();
    assert.equal(await sequenceOf(client.after(iterator.next())), 2);
    assert.deepEqual(client.session.acks, [1]);
  });

  it('rejects the first who asks when it cannot subscribe, and is then done', async () => {
    const client = await new Client().connect();
    client.server.refuse = () => 'stan: invalid subject';
    const iterator = await client.messages();
    await assert.rejects(iterator.next(), /invalid subject/);
    assert.equal(await sequenceOf(iterator.next()), 'done');
    const thrown = messages(() => {
      throw new Error('bad option');
    });
    await assert.rejects(thrown.next(), /bad option/);
  });

  it('is done when the client closes, what is not asked for unacknowledged', async () => {
    const client = await new Client().connect();
    const iterator = await client.messages();
    await client.publish('a', 'b');
    assert.equal(await sequenceOf(iterator.next()), 1);
    const draining = client.subscriptions.drain();
    const next = iterator.next();
    await client.after(draining);
    client.subscriptions.close();
    assert.equal(await sequenceOf(next), 'done');
    assert.deepEqual(client.session.acks, [1]);
  });

  it('keeps nobody waiting who asks for nothing', async () => {
    const client = await new Client().connect();
    await client.messages();
    await client.publish('a');
    await client.after(client.subscriptions.drain());
    assert.deepEqual(client.session.acks, []);
  });

  it('tells why it is over', async () => {
    const client = await new Client().connect();
    const iterator = await client.messages();
    const next = iterator.next();
    client.subscriptions.close(new Error('the reason'));
    await assert.rejects(next, /the reason/);
    assert.equal(await sequenceOf(iterator.next()), 'done');
  });

  describe('whose subscription is not made yet', () => {
    it('is done when its client closes in order, as if it were made', async () => {
      const client = new Client();
      const iterator = await client.messages();
      const asked = [iterator.next(), iterator.next()];
      await client.subscriptions.drain();
      client.subscriptions.close();
      assert.deepEqual(await Promise.all(asked.map(sequenceOf)), ['done', 'done']);
      assert.equal(await sequenceOf(iterator.next()), 'done');
    });

    it('tells once for what reason its client closed', async () => {
      const client = new Client();
      const iterator = await client.messages();
      const asked = [iterator.next(), iterator.next()];
      for (const next of asked) next.catch(() => undefined);
      client.subscriptions.close(new Error('the reason'));
      await assert.rejects(asked[0]!, /the reason/);
      assert.equal(await sequenceOf(asked[1]!), 'done');
    });

    it('and tells its signal at once, though the server says nothing', async () => {
      const client = await new Client().connect();
      client.session.mute = true;
      const controller = new AbortController();
      const iterator = await client.messages({ signal: controller.signal });
      const next = iterator.next();
      controller.abort();
      await assert.rejects(next, AbortedError);
      assert.equal(await sequenceOf(iterator.next()), 'done');
    });

    for (const [what, connect] of [
      ['without a session', false],
      ['with a request under way to a dead cluster', true],
    ] as const) {
      it(`is left at once ${what}`, async () => {
        const client = new Client();
        if (connect) {
          await client.connect();
          client.session.mute = true;
        }
        const iterator = await client.messages();
        const asked = iterator.next();
        assert.equal(await sequenceOf(iterator.return!()), 'done');
        assert.equal(await sequenceOf(asked), 'done');
      });
    }
  });

  it('gives its subscription, made when that resolves', async () => {
    const client = await new Client().connect();
    const iterator = await client.messages({ durableName: 'd' });
    const subscription = await iterator.subscription;
    const seen: string[] = [];
    subscription.on('closed', () => seen.push('closed'));
    await client.publish('a');
    assert.equal(await sequenceOf(iterator.next()), 1);
    const dropped = subscription.unsubscribe();
    assert.equal(await sequenceOf(iterator.next()), 'done');
    await client.after(dropped);
    assert.equal(client.server.durables.size, 0);
    assert.deepEqual(seen, ['closed']);
  });

  it('rejects for who asks for a subscription that is never made', async () => {
    const client = new Client();
    const iterator = await client.messages();
    await iterator.return?.();
    await assert.rejects(client.after(iterator.subscription), ClosedError);
  });

  it('is left at once though the server does not answer', async () => {
    const client = await new Client().connect();
    const iterator = await client.messages({ durableName: 'd' });
    await client.publish('a');
    assert.equal(await sequenceOf(iterator.next()), 1);
    client.session.mute = true;
    assert.equal(await sequenceOf(iterator.return!()), 'done');
  });

  it('may be asked for the next while its client closes, which acknowledges', async () => {
    const client = await new Client().connect();
    const iterator = await client.messages();
    await client.publish('a', 'b');
    assert.equal(await sequenceOf(iterator.next()), 1);
    assert.equal(client.subscriptions.busy, true);
    await client.subscriptions.drain();
    assert.equal(client.subscriptions.busy, true, 'its loop body is not waited for by that');
    const idle = client.subscriptions.idle();
    assert.equal(await sequenceOf(iterator.next()), 'done');
    await idle;
    assert.equal(client.subscriptions.busy, false);
    assert.deepEqual(client.session.acks, [1]);
  });
});
