/** Subscriptions that try failed messages again, on a scripted session and in virtual time. */
import assert from 'node:assert/strict';
import { ReceivedMessage, type MessageHandler, type StanMessage } from '../../../src/subscribing/message.js';
import { RETRY, type ResolvedSubscribeOptions } from '../../../src/subscribing/subscribe-options.js';
import type { ResilientSubscription, HandlerFailure } from '../../../src/subscribing/subscription.js';
import { Subscriptions } from '../../../src/subscribing/subscriptions.js';
import type { Trouble } from '../../../src/subscribing/troubles.js';
import {
  ModelServer,
  modelTime,
  subscribeOptions,
  type ScriptedSession,
  TELLER,
} from '../../support/scripted-subscriptions.js';

const retry = { ...RETRY, retries: 3, minTimeout: 100, factor: 1, randomize: false };

const KINDS: [string, Partial<ResolvedSubscribeOptions>][] = [
  ['plain', {}],
  ['durable', { durableName: 'd' }],
  ['queue group', { queueGroup: 'q' }],
  ['durable queue group', { durableName: 'd', queueGroup: 'q' }],
];

class Client {
  readonly time = modelTime();
  readonly server = new ModelServer(this.time);
  readonly troubles: Trouble[] = [];
  readonly subscriptions = new Subscriptions({
    teller: TELLER,
    clock: this.time.clock,
    onError: (error) => assert.fail(error),
    onTrouble: (trouble) => this.troubles.push(trouble),
  });
  session!: ScriptedSession;
  /** What came to the handler: sequence and count of redeliveries, in its order. */
  readonly handed: string[] = [];
  readonly at: number[] = [];

  async connect(): Promise<void> {
    this.session = this.server.connect();
    this.subscriptions.attach(this.session).catch(() => undefined);
    await this.time.pass(20);
  }

  kill(): void {
    this.session.kill();
    this.subscriptions.detach();
  }

  /** @param fails how often the handler fails on a sequence */
  async subscribe(
    fails: Record<number, number>,
    options: Partial<ResolvedSubscribeOptions> = {},
    handle: MessageHandler = () => undefined,
  ): Promise<ResilientSubscription> {
    const failed = new Map<number, number>();
    const handler = (message: StanMessage): void | Promise<void> => {
      const { sequence, redeliveryCount, redelivered } = message;
      assert.equal(redelivered, redeliveryCount > 0);
      this.handed.push(redeliveryCount === 0 ? `${sequence}` : `${sequence}+${redeliveryCount}`);
      this.at.push(this.time.now());
      const count = (failed.get(sequence) ?? 0) + 1;
      failed.set(sequence, count);
      if (count <= (fails[sequence] ?? 0)) throw new Error('not this time');
      return handle(message);
    };
    const subscribing = this.subscriptions.subscribe(
      'foo',
      handler,
      subscribeOptions({ startAt: 'first', retry, ...options }),
    );
    await this.time.pass(20);
    return subscribing;
  }

  async publish(...values: string[]): Promise<void> {
    for (const value of values) this.server.publish(value);
    await this.time.pass(20);
  }
}

async function connected(): Promise<Client> {
  const client = new Client();
  await client.connect();
  return client;
}

describe('a subscription with retry', () => {
  for (const [kind, options] of KINDS) {
    it(`hands a failed message to its handler again, and what is behind it waits: ${kind}`, async () => {
      const client = await connected();
      const subscription = await client.subscribe({ 2: 2 }, options);
      await client.publish('a', 'b', 'c');
      assert.deepEqual(client.handed, ['1', '2']);
      assert.deepEqual(client.session.acks, [1]);
      await client.time.pass(500);
      assert.deepEqual(client.handed, ['1', '2', '2+1', '2+2', '3']);
      assert.deepEqual(client.session.acks, [1, 2, 3]);
      assert.equal(subscription.lastSequence, 3);
      assert.deepEqual([client.at[2]! - client.at[1]!, client.at[3]! - client.at[2]!], [100, 100]);
      const { delivered, handlerErrors, redelivered } = client.subscriptions.stats;
      assert.deepEqual({ delivered, handlerErrors, redelivered }, { delivered: 5, handlerErrors: 2, redelivered: 0 });
    });

    it(`leaves it to the server after the last try, and the tries begin anew: ${kind}`, async () => {
      const client = await connected();
      await client.subscribe({ 1: 5 }, { ...options, ackWait: 5000 });
      await client.publish('a', 'b');
      await client.time.pass(4000);
      assert.deepEqual(client.handed, ['1', '1+1', '1+2', '1+3', '2']);
      await client.time.pass(4000);
      assert.deepEqual(client.handed.slice(5), ['1+4', '1+5']);
      assert.deepEqual(client.session.acks, [2, 1]);
    });

    it(`gives it to deadLetter after the last try, and acknowledges it: ${kind}`, async () => {
      const client = await connected();
      const letters: number[] = [];
      const subscription = await client.subscribe(
        { 1: Infinity },
        { ...options, deadLetter: ({ sequence }) => void letters.push(sequence) },
      );
      const told: unknown[] = [];
      subscription.on('dead_letter', ({ message }) => told.push(message.sequence));
      await client.publish('a', 'b');
      await client.time.pass(1000);
      assert.deepEqual(client.handed, ['1', '1+1', '1+2', '1+3', '2']);
      assert.deepEqual([letters, told], [[1], [1]]);
      assert.deepEqual(client.session.acks, [1, 2]);
    });

    it(`does not run a handler twice at a time when the server sends the message again meanwhile: ${kind}`, async () => {
      const client = await connected();
      const slow = { ...retry, retries: 20, minTimeout: 700, maxTimeout: 700 };
      // A group that is not known to be alone leaves it to the server, so it must be.
      if (options.queueGroup !== undefined) for (let i = 0; i < 100; i++) client.server.publish('before');
      const one = options.queueGroup === undefined ? 1 : 101;
      await client.subscribe({ [one]: 8 }, { ...options, retry: slow, ackWait: 1000 });
      const before = client.handed.length;
      await client.publish('a', 'b');
      await client.time.pass(20_000);
      const count = client.subscriptions.stats.redelivered;
      assert.ok(count >= 5, `${count} came again`);
      const tries = Array.from({ length: 8 }, (_, i) => `${one}+${i + 1}`);
      assert.deepEqual(client.handed.slice(before), [`${one}`, ...tries, `${one + 1}`]);
      assert.deepEqual(client.session.acks.slice(before), [one, one + 1]);
    });

    it(`goes on through a loss during the delay: ${kind}`, async () => {
      const client = await connected();
      const patient = { ...retry, minTimeout: 1000 };
      await client.subscribe({ 2: 2 }, { ...options, retry: patient });
      await client.publish('a', 'b', 'c');
      client.kill();
      await client.time.pass(500);
      await client.connect();
      assert.deepEqual(client.handed, ['1', '2']);
      await client.time.pass(5000);
      assert.deepEqual(client.handed, ['1', '2', '2+1', '2+2', '3']);
      // A durable does not have the first one again.
      assert.deepEqual(
        client.session.acks.filter((sequence) => sequence > 1),
        [2, 3],
      );
    });

    it(`and when it is through during the outage, it is acknowledged on the next session: ${kind}`, async () => {
      const client = await connected();
      const subscription = await client.subscribe({ 1: 1 }, options);
      await client.publish('a');
      client.kill();
      await client.time.pass(500);
      assert.deepEqual(client.handed, ['1', '1+1']);
      await client.connect();
      await client.time.pass(40_000);
      assert.deepEqual(client.handed, ['1', '1+1']);
      assert.equal(subscription.lastSequence, 1);
      for (const { memory } of client.server.subs) assert.equal(memory.progress.pending.size, 0);
    });
  }

  it('ends at close(), and waits for no delay', async () => {
    const client = await connected();
    const subscription = await client.subscribe({ 1: 1 }, { retry: { ...retry, minTimeout: 60_000 } });
    await client.publish('a', 'b');
    let closed = false;
    void subscription.close().then(() => (closed = true));
    await client.time.pass(10);
    assert.equal(closed, true);
    await client.time.pass(200_000);
    assert.deepEqual(client.handed, ['1']);
    assert.deepEqual(client.session.acks, []);
    assert.equal(client.time.armed, 0);
  });

  it('ends at unsubscribe(), at the end of the client, and when its handler fails after that', async () => {
    for (const end of ['unsubscribe', 'drain', 'close'] as const) {
      const client = await connected();
      let fail!: (error: Error) => void;
      const running = new Promise<void>((_, reject) => (fail = reject));
      const subscription = await client.subscribe({ 1: 1 }, { concurrency: 2 }, () => running);
      await client.publish('a', 'b');
      assert.deepEqual(client.handed, ['1', '2']);
      if (end === 'unsubscribe') void subscription.unsubscribe();
      else void client.subscriptions[end]();
      fail(new Error('too late'));
      await client.time.pass(10_000);
      assert.deepEqual(client.handed, ['1', '2'], end);
      assert.deepEqual(client.session.acks, []);
      const last = client.troubles.at(-1);
      assert.ok(last?.event === 'handler_error' && last.payload.message.sequence === 2);
      assert.ok(!('delay' in last.payload), 'nobody gets it again');
      assert.equal(client.subscriptions.stats.handlerErrors, 2);
    }
  });

  it('ends when the handler itself closes the subscription and fails', async () => {
    const client = await connected();
    const subscription: ResilientSubscription = await client.subscribe({}, {}, async () => {
      void subscription.close();
      throw new Error('that was it');
    });
    await client.publish('a', 'b');
    await client.time.pass(10_000);
    assert.deepEqual(client.handed, ['1']);
  });

  it('keeps a place of its concurrency, and the other ones go on', async () => {
    const client = await connected();
    await client.subscribe({ 1: 1, 2: 1 }, { concurrency: 3 });
    await client.publish('a', 'b', 'c', 'd');
    assert.deepEqual(client.handed, ['1', '2', '3', '4']);
    await client.time.pass(200);
    assert.deepEqual(client.handed, ['1', '2', '3', '4', '1+1', '2+1']);
  });

  it('says in handler_error how soon the message comes again', async () => {
    const client = await connected();
    const subscription = await client.subscribe({ 1: Infinity }, { retry: { ...retry, retries: 1 } });
    const failures: HandlerFailure[] = [];
    const counts: number[] = [];
    subscription.on('handler_error', (event) => {
      failures.push(event);
      counts.push(event.message.redeliveryCount);
    });
    await client.publish('a');
    await client.time.pass(1000);
    assert.deepEqual(
      failures.map(({ source, delay }) => [source, delay]),
      [
        ['handler', 100],
        ['handler', undefined],
      ],
    );
    assert.ok(!('delay' in failures[1]!));
    assert.deepEqual(counts, [0, 1]);
  });

  it('does not try again what was acknowledged by ack(), before the failure, in a listener, or later', async () => {
    for (const when of ['before', 'in a listener', 'later'] as const) {
      const client = await connected();
      let kept!: StanMessage;
      const subscription = await client.subscribe({}, {}, (message) => {
        kept = message;
        if (message.sequence > 1) return;
        if (when === 'before') message.ack();
        throw new Error('given up');
      });
      subscription.on('handler_error', ({ message }) => when === 'in a listener' && message.ack());
      await client.publish('a');
      if (when === 'later') kept.ack();
      await client.publish('b');
      // What waited behind it did not wait for its delay.
      assert.deepEqual(client.handed, ['1', '2'], when);
      await client.time.pass(1000);
      assert.deepEqual(client.handed, ['1', '2']);
      assert.deepEqual(client.session.acks, [1, 2]);
    }
  });

  it('with manualAck: what throws is tried again, what is left unacknowledged comes after ackWait', async () => {
    const client = await connected();
    await client.subscribe({ 1: 1 }, { manualAck: true, ackWait: 2000 }, (message) => {
      if (message.sequence === 1 || message.redelivered) message.ack();
    });
    await client.publish('a', 'b');
    await client.time.pass(1000);
    assert.deepEqual(client.handed, ['1', '1+1', '2']);
    await client.time.pass(2000);
    assert.deepEqual(client.handed, ['1', '1+1', '2', '2+1']);
    assert.deepEqual(client.session.acks, [1, 2]);
  });

  it('with manualAck: an ack() of the delivery before ends the tries of this one', async () => {
    const client = await connected();
    const kept: StanMessage[] = [];
    await client.subscribe({}, { manualAck: true, ackWait: 2000, retry: { ...retry, minTimeout: 500 } }, (message) => {
      if (kept.push(message) === 2) throw new Error('not this time');
    });
    await client.publish('a');
    await client.time.pass(2100);
    assert.deepEqual(client.handed, ['1', '1+1']);
    kept[0]!.ack();
    await client.time.pass(5000);
    assert.deepEqual(client.handed, ['1', '1+1']);
    assert.equal(client.subscriptions.stats.delivered, 2);
    assert.deepEqual(client.session.acks, [1]);
  });

  it('counts its tries for maxDeliveries', async () => {
    const client = await connected();
    const letters: number[] = [];
    await client.subscribe(
      { 1: Infinity },
      { maxDeliveries: 6, ackWait: 2000, deadLetter: ({ sequence }) => void letters.push(sequence) },
    );
    await client.publish('a');
    await client.time.pass(1000);
    assert.deepEqual(client.handed, ['1', '1+1', '1+2', '1+3']);
    await client.time.pass(2000);
    assert.deepEqual(client.handed.slice(4), ['1+4', '1+5']);
    assert.deepEqual(letters, [1]);
  });

  it('leaves a message of a shared group to the server when another member may get it', async () => {
    const client = await connected();
    await client.subscribe(
      { 1: 3 },
      { queueGroup: 'q', ackWait: 1000, retry: { ...retry, retries: 9, minTimeout: 400 } },
    );
    await client.publish('a');
    await client.time.pass(900);
    assert.deepEqual(client.handed, ['1', '1+1', '1+2']);
    await client.time.pass(3000);
    assert.equal(client.handed.length, 4);
    // From the server, and not after the delay.
    assert.ok(client.at[3]! - client.at[0]! < 1100, `after ${client.at[3]! - client.at[0]!} ms`);
    assert.deepEqual(client.session.acks, [1]);
  });

  it('goes on when the channel has begun again, because nobody else has the message', async () => {
    const client = await connected();
    await client.subscribe({ 2: 2 }, { retry: { ...retry, minTimeout: 1000 } });
    await client.publish('a', 'b');
    client.kill();
    client.server.reset();
    await client.time.pass(10);
    client.server.publish('new');
    await client.connect();
    await client.time.pass(1500);
    assert.deepEqual(client.handed, ['1', '2', '2+1']);
    client.server.publish('another message 2');
    await client.time.pass(5000);
    assert.deepEqual(client.handed, ['1', '2', '2+1', '2+2', '1', '2']);
    assert.deepEqual(client.session.acks, [1, 2]);
  });

  it('has the message still when the server has dropped it', async () => {
    const client = await connected();
    const subscription = await client.subscribe({ 1: 2 }, { retry: { ...retry, minTimeout: 1000 } });
    const gaps: unknown[] = [];
    subscription.on('gap', (gap) => gaps.push(gap));
    await client.publish('a', 'b');
    client.server.truncate(3);
    client.kill();
    await client.connect();
    await client.publish('c');
    await client.time.pass(10_000);
    assert.deepEqual(client.handed, ['1', '1+1', '1+2', '2', '3']);
    assert.deepEqual(gaps, []);
  });
});

describe('redelivered and redeliveryCount', () => {
  for (const [kind, options] of KINDS) {
    it(`count what this client has handed over, although a new leader does not: ${kind}`, async () => {
      const client = await connected();
      const subscribing = client.subscriptions.subscribe(
        'foo',
        (message) => {
          client.handed.push(`${message.sequence}+${message.redeliveryCount} ${message.redelivered}`);
          // The API of node-nats-streaming has the words of the server.
          assert.deepEqual(ReceivedMessage.sentBefore(message), { redelivered: false, redeliveryCount: 0 });
          if (client.handed.length < 4) throw new Error('not this time');
        },
        subscribeOptions({ startAt: 'first', ...options }),
      );
      await client.time.pass(20);
      await subscribing;
      await client.publish('a');
      for (let i = 0; i < 3; i++) {
        // Nobody has told the followers of the delivery, so the new leader sends the message as a new one.
        client.server.failover();
        await client.time.pass(20);
      }
      assert.deepEqual(client.handed, ['1+0 false', '1+1 true', '1+2 true', '1+3 true']);
      assert.equal(client.subscriptions.stats.redelivered, 0, 'what had the flag of the server');
    });
  }
});

describe('what goes wrong with messages', () => {
  it('is told to the client with the subscription, and counted', async () => {
    const client = await connected();
    const subscription = await client.subscribe(
      { 1: Infinity },
      { retry: { ...retry, retries: 0 }, ackWait: 1000, deadLetter: () => Promise.reject(new Error('no room')) },
    );
    await client.publish('a');
    const [first, second] = client.troubles;
    assert.equal(first?.event, 'handler_error');
    assert.equal(first.payload.subscription, subscription);
    assert.equal(first.payload.source, 'handler');
    assert.ok(second?.event === 'handler_error');
    assert.equal(second.payload.source, 'deadLetter');
    assert.equal((second.payload.error as Error).message, 'no room');
    assert.equal(client.subscriptions.stats.handlerErrors, 2);
  });

  it('is told after the end of the subscription as well', async () => {
    const client = await connected();
    let fail!: (error: Error) => void;
    const subscription = await client.subscribe(
      {},
      { ackWait: 1000 },
      () => new Promise((_, reject) => (fail = reject)),
    );
    await client.publish('a');
    void subscription.close();
    await client.time.pass(10_000);
    fail(new Error('late'));
    await client.time.settle();
    assert.deepEqual(
      client.troubles.map(({ event }) => event),
      ['overdue', 'handler_error'],
    );
  });

  it('has gap, reset and dead_letter', async () => {
    const client = await connected();
    await client.subscribe({ 1: Infinity }, { retry: { ...retry, retries: 0 }, maxDeliveries: 1 });
    await client.publish('a');
    client.kill();
    client.server.publish('b');
    client.server.publish('c');
    client.server.truncate(3);
    await client.connect();
    await client.time.pass(5000);
    client.kill();
    client.server.reset();
    await client.time.pass(10);
    client.server.publish('new');
    await client.connect();
    await client.time.pass(5000);
    const { deadLetters, gaps, resets, overdue } = client.subscriptions.stats;
    assert.deepEqual({ deadLetters, gaps, resets, overdue }, { deadLetters: 2, gaps: 1, resets: 1, overdue: 0 });
    const gap = client.troubles.find(({ event }) => event === 'gap')!;
    assert.ok(gap.event === 'gap');
    assert.deepEqual([gap.payload.from, gap.payload.to], [2, 2]);
  });

  it('has a handler that runs for longer than ackWait, once for each of its calls', async () => {
    const client = await connected();
    await client.subscribe({}, { ackWait: 1000, concurrency: 2 }, ({ sequence }) => {
      if (sequence <= 2) return new Promise(() => undefined);
    });
    await client.publish('a', 'b', 'c');
    await client.time.pass(20_000);
    assert.deepEqual(
      client.troubles.map((each) => each.event === 'overdue' && [each.payload.message.sequence, each.payload.ackWait]),
      [
        [1, 1000],
        [2, 1000],
      ],
    );
    assert.equal(client.subscriptions.stats.overdue, 2);
  });

  it('has no handler that goes on after it has acknowledged its message, which does not come again', async () => {
    const client = await connected();
    await client.subscribe({}, { ackWait: 1000 }, (message) => {
      message.ack();
      return new Promise(() => undefined);
    });
    await client.publish('a');
    await client.time.pass(20_000);
    assert.deepEqual(client.troubles, []);
    assert.equal(client.subscriptions.stats.overdue, 0);
  });

  it('has no handler that goes on after the end of the client, and nothing looks for it', async () => {
    const client = await connected();
    const forEver = (): Promise<void> => new Promise(() => undefined);
    const ended = await client.subscribe({}, { ackWait: 1000 }, forEver);
    await client.publish('a');
    void ended.close();
    await client.subscribe({}, { ackWait: 60_000 }, forEver);
    // The first one is over before it is overdue.
    await client.time.pass(1010);
    client.subscriptions.close();
    client.session.kill();
    assert.equal(client.time.armed, 0, 'a timer is left');
    await client.time.pass(120_000);
    assert.deepEqual(client.troubles, []);
  });
});
