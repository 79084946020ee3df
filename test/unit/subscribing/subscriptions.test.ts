/** Subscriptions on a scripted session, in virtual time: what is asked of the server, acknowledged and told, and when. */
import assert from 'node:assert/strict';
import { SessionEnded } from '../../../src/connection/protocol.js';
import {
  AbortedError,
  CallbackError,
  ClosedError,
  PermissionError,
  ResilientStanError,
  SubscribeError,
} from '../../../src/errors.js';
import type { ResolvedSubscribeOptions } from '../../../src/subscribing/subscribe-options.js';
import type { MessageHandler, StanMessage } from '../../../src/subscribing/message.js';
import type { ResilientSubscription } from '../../../src/subscribing/subscription.js';
import { Subscriptions } from '../../../src/subscribing/subscriptions.js';
import {
  ModelServer,
  modelTime,
  subscribeOptions,
  type ScriptedSession,
  TELLER,
} from '../../support/scripted-subscriptions.js';

class Client {
  readonly time = modelTime();
  readonly server = new ModelServer(this.time);
  readonly errors: Error[] = [];
  readonly resubscribed: ResilientSubscription[] = [];
  readonly log: string[] = [];
  readonly subscriptions = new Subscriptions({
    teller: TELLER,
    clock: this.time.clock,
    onError: (error) => this.errors.push(error),
    onResubscribe: (subscription) => this.resubscribed.push(subscription),
    log: (message) => this.log.push(message),
  });
  session!: ScriptedSession;

  async connect(): Promise<void> {
    this.session = this.server.connect();
    const attaching = this.subscriptions.attach(this.session);
    attaching.catch(() => undefined);
    await this.time.pass(20);
    await attaching;
  }

  kill(): void {
    this.session.kill();
    this.subscriptions.detach();
  }

  async subscribe(
    handler: MessageHandler = () => undefined,
    options: Partial<ResolvedSubscribeOptions> = {},
  ): Promise<ResilientSubscription> {
    const subscribing = this.subscriptions.subscribe('foo', handler, subscribeOptions(options));
    subscribing.catch(() => undefined);
    await this.time.pass(20);
    return subscribing;
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

  /** Start positions asked for since. */
  get starts(): unknown[] {
    return this.server.requests.map(({ start }) => start);
  }
}

/** Handlers that end when told. */
class Gate {
  readonly waiting: { message: StanMessage; resolve: () => void; reject: (error: unknown) => void }[] = [];
  readonly handler = (message: StanMessage): Promise<void> =>
    new Promise((resolve, reject) => this.waiting.push({ message, resolve, reject }));

  get sequences(): number[] {
    return this.waiting.map(({ message }) => message.sequence);
  }

  next(): (typeof this.waiting)[number] {
    return this.waiting.shift()!;
  }
}

function events(subscription: ResilientSubscription): [string, unknown][] {
  const seen: [string, unknown][] = [];
  for (const name of ['ready', 'handler_error', 'gap', 'reset', 'dead_letter', 'closed'] as const) {
    subscription.on(name, (event: unknown) => seen.push([name, event]));
  }
  return seen;
}

const names = (seen: [string, unknown][]): string[] => seen.map(([name]) => name);

async function connected(): Promise<Client> {
  const client = new Client();
  await client.connect();
  return client;
}

describe('subscriptions', () => {
  describe('subscribe()', () => {
    it('resolves when the server has it, not before', async () => {
      const client = await connected();
      client.server.latency = 50;
      const made: ResilientSubscription[] = [];
      void client.subscriptions.subscribe('foo', () => undefined, subscribeOptions()).then((s) => made.push(s));
      await client.time.pass(99);
      assert.equal(made.length, 0);
      await client.time.pass(2);
      assert.equal(made[0]?.channel, 'foo');
      assert.equal(client.subscriptions.stats.subscriptions, 1);
    });

    it('waits for a session', async () => {
      const client = new Client();
      const subscribing = client.subscriptions.subscribe('foo', () => undefined, subscribeOptions());
      await client.time.pass(60_000);
      await client.connect();
      await subscribing;
      assert.deepEqual(client.starts, [{ at: 'new' }]);
    });

    it('goes on waiting when the session dies first', async () => {
      const client = await connected();
      client.session.mute = true;
      const subscribing = client.subscriptions.subscribe('foo', () => undefined, subscribeOptions());
      await client.time.pass(500);
      client.kill();
      await client.connect();
      await subscribing;
      assert.deepEqual(client.starts.slice(1), [{ ago: 500 }]);
    });

    it('lets whoever waits for it attach listeners before anything happens', async () => {
      const client = await connected();
      client.server.publish('x');
      const seen: string[] = [];
      void client.subscriptions
        .subscribe('foo', () => void seen.push('message'), subscribeOptions({ startAt: 'first' }))
        .then((subscription) => subscription.on('ready', () => seen.push('ready')));
      await client.time.pass(20);
      assert.deepEqual(seen, ['ready', 'message']);
    });

    it('rejects when the server refuses for good, and nothing else is told', async () => {
      const client = await connected();
      client.server.refuse = () => 'stan: invalid subject';
      await assert.rejects(client.subscribe(), (error: SubscribeError) => {
        assert.ok(error instanceof SubscribeError);
        assert.match(error.message, /'foo'.*stan: invalid subject/);
        return true;
      });
      assert.deepEqual(client.errors, []);
      assert.equal(client.subscriptions.stats.subscriptions, 0);
      assert.equal(client.server.requests.length, 1);
    });

    it('retries what may pass', async () => {
      const client = await connected();
      let refusals = 3;
      client.server.refuse = () => (refusals-- > 0 ? 'stan: channel is being deleted' : undefined);
      const subscribing = client.subscribe();
      await client.time.pass(1000);
      await subscribing;
      assert.equal(client.server.requests.length, 4);
    });

    it('ends a session that the server does not know', async () => {
      const client = await connected();
      client.server.refuse = () => 'stan: unknown clientID';
      const subscribing = client.subscribe();
      await client.time.pass(10);
      assert.equal(client.session.lossReason, 'replaced');
      client.server.refuse = () => undefined;
      client.subscriptions.detach();
      await client.connect();
      await subscribing;
    });

    it('refuses a durable that this client has already', async () => {
      const client = await connected();
      const first = await client.subscribe(undefined, { durableName: 'd' });
      await assert.rejects(client.subscribe(undefined, { durableName: 'd' }), /already subscribed.*'d'/);
      const closing = first.close();
      await client.time.pass(20);
      await closing;
      await client.subscribe(undefined, { durableName: 'd' });
    });

    it('explains a durable that somebody else has, after a few tries', async () => {
      const client = await connected();
      client.server.refuse = () => 'stan: duplicate durable registration';
      const subscribing = client.subscribe(undefined, { durableName: 'd' });
      subscribing.catch(() => undefined);
      await client.time.pass(3000);
      await assert.rejects(subscribing, /durable 'd'.*already in use.*another durableName/);
      assert.equal(client.server.requests.length, 5);
      assert.ok(client.session.alive);
    });

    it('rejects at its signal', async () => {
      const client = new Client();
      const aborted = AbortSignal.abort(new Error('enough'));
      await assert.rejects(client.subscribe(undefined, { signal: aborted }), AbortedError);
      const controller = new AbortController();
      const subscribing = client.subscriptions.subscribe(
        'foo',
        () => undefined,
        subscribeOptions({ signal: controller.signal }),
      );
      controller.abort(new Error('enough'));
      await assert.rejects(
        subscribing,
        (error: AbortedError) => error instanceof AbortedError && error.cause instanceof Error,
      );
      await client.connect();
      assert.equal(client.subscriptions.stats.subscriptions, 0);
      assert.equal(client.server.requests.length, 0);
    });

    it('rejects when the client is closed, before or after', async () => {
      const client = new Client();
      const subscribing = client.subscriptions.subscribe('foo', () => undefined, subscribeOptions());
      client.subscriptions.close();
      await assert.rejects(subscribing, ClosedError);
      await assert.rejects(client.subscribe(), ClosedError);
    });
  });

  describe('acknowledges', () => {
    it('when the handler is done, in order, one at a time', async () => {
      const client = await connected();
      const gate = new Gate();
      const subscription = await client.subscribe(gate.handler);
      await client.publish('a', 'b', 'c');
      assert.deepEqual(gate.sequences, [1]);
      assert.deepEqual(client.session.acks, []);
      gate.next().resolve();
      await client.time.pass(20);
      assert.deepEqual(client.session.acks, [1]);
      assert.deepEqual(gate.sequences, [2]);
      assert.equal(subscription.lastSequence, 1);
    });

    it('at once when the handler is synchronous', async () => {
      const client = await connected();
      const seen: number[] = [];
      await client.subscribe((message) => void seen.push(message.sequence));
      client.server.publish('a');
      client.server.publish('b');
      await client.time.pass(1);
      assert.deepEqual(seen, [1, 2]);
      assert.deepEqual(client.session.acks, [1, 2]);
    });

    it('with several handlers at a time as each is done', async () => {
      const client = await connected();
      const gate = new Gate();
      const subscription = await client.subscribe(gate.handler, { concurrency: 3 });
      await client.publish('a', 'b', 'c', 'd');
      assert.deepEqual(gate.sequences, [1, 2, 3]);
      gate.waiting.splice(1, 1)[0]!.resolve();
      await client.time.pass(20);
      assert.deepEqual(client.session.acks, [2]);
      assert.deepEqual(gate.sequences, [1, 3, 4]);
      assert.equal(subscription.lastSequence, 0);
    });

    it('early when told so, and once', async () => {
      const client = await connected();
      const gate = new Gate();
      await client.subscribe(gate.handler);
      await client.publish('a');
      const { message, resolve } = gate.next();
      message.ack();
      message.ack();
      resolve();
      await client.time.pass(20);
      assert.deepEqual(client.session.acks, [1]);
    });

    it('on the subscription of the day', async () => {
      const client = await connected();
      const gate = new Gate();
      await client.subscribe(gate.handler);
      await client.publish('a');
      const [old] = [client.session];
      client.kill();
      await client.connect();
      gate.next().resolve();
      await client.time.pass(20);
      assert.deepEqual(old.acks, []);
      assert.deepEqual(client.session.acks, [1]);
      assert.equal(gate.waiting.length, 0, 'handled once');
    });

    it('what was processed during an outage when it comes again', async () => {
      const client = await connected();
      const gate = new Gate();
      const subscription = await client.subscribe(gate.handler, { durableName: 'd' });
      await client.publish('a');
      client.kill();
      gate.next().resolve();
      await client.time.settle();
      assert.equal(subscription.lastSequence, 1);
      await client.connect();
      assert.deepEqual(client.session.acks, [1]);
      assert.equal(client.subscriptions.stats.duplicatesDropped, 1);
      assert.equal(client.subscriptions.stats.delivered, 1);
    });

    it('nothing of a channel that is gone', async () => {
      const client = await connected();
      const gate = new Gate();
      const subscription = await client.subscribe(gate.handler, { startAt: 'first' });
      const seen = events(subscription);
      await client.publish('old 1', 'old 2', 'old 3');
      client.kill();
      client.server.reset();
      client.server.publish('new 1');
      await client.connect();
      await client.time.pass(100);
      assert.deepEqual(seen.at(-2), ['reset', { expected: 4, got: 1 }]);
      const { message, resolve } = gate.next();
      assert.equal(message.string(), 'old 1');
      resolve();
      await client.time.pass(20);
      assert.deepEqual(client.session.acks, [], 'or message 1 of the new channel would be lost');
      for (let i = 0; i < 3; i++) {
        gate.next().resolve();
        await client.time.pass(20);
      }
      assert.deepEqual(client.session.acks, [1]);
      assert.equal(subscription.lastSequence, 1);
    });
  });

  describe('a channel that started over', () => {
    it('is not confused with a handler of the old one that fails', async () => {
      const client = await connected();
      const gate = new Gate();
      await client.subscribe(gate.handler, { startAt: 'first', concurrency: 2, ackWait: 1000 });
      await client.publish('old');
      client.kill();
      client.server.reset();
      client.server.publish('new');
      await client.connect();
      await client.time.pass(100);
      assert.deepEqual(
        gate.waiting.map(({ message }) => message.string()),
        ['old', 'new'],
      );
      gate.next().reject(new Error('too late'));
      await client.time.pass(3000);
      assert.equal(gate.waiting.length, 1, 'the new one runs: it is not handed over again');
    });

    it('is read whole although the session dies while a durable is dropped', async () => {
      const client = await connected();
      const seen: string[] = [];
      const subscription = await client.subscribe((message) => void seen.push(message.string()), {
        startAt: 'first',
        durableName: 'd',
      });
      await client.publish('a', 'b');
      client.kill();
      client.server.reset();
      for (const value of ['n1', 'n2', 'n3']) client.server.publish(value);
      subscription.once('reset', () => client.kill());
      client.session = client.server.connect();
      await assert
        .rejects(Promise.all([client.subscriptions.attach(client.session), client.time.pass(20)]), SessionEnded)
        .catch(() => undefined);
      await client.connect();
      await client.time.pass(5000);
      assert.deepEqual(seen, ['a', 'b', 'n1', 'n2', 'n3']);
    });
  });

  describe('with manualAck', () => {
    it('only at ack()', async () => {
      const client = await connected();
      const messages: StanMessage[] = [];
      const subscription = await client.subscribe((message) => void messages.push(message), { manualAck: true });
      await client.publish('a', 'b');
      assert.equal(messages.length, 2);
      assert.deepEqual(client.session.acks, []);
      messages[1]!.ack();
      assert.equal(subscription.lastSequence, 0);
      messages[0]!.ack();
      messages[0]!.ack();
      assert.deepEqual(client.session.acks, [2, 1]);
      assert.equal(subscription.lastSequence, 2);
    });

    it('hands over again after ackWait, but not because a session died', async () => {
      const client = await connected();
      const messages: StanMessage[] = [];
      await client.subscribe((message) => void messages.push(message), { manualAck: true, ackWait: 5000 });
      await client.publish('a');
      client.kill();
      await client.connect();
      assert.equal(messages.length, 1);
      await client.time.pass(5000);
      assert.equal(messages.length, 2);
      assert.equal(messages[1]!.redelivered, true);
      messages[0]!.ack();
      messages[1]!.ack();
      await client.time.pass(20_000);
      assert.equal(messages.length, 2);
    });

    it('makes a dead letter of what is never acknowledged', async () => {
      const client = await connected();
      let handed = 0;
      const letters: [number, string][] = [];
      const subscription = await client.subscribe(() => void handed++, {
        manualAck: true,
        ackWait: 1000,
        maxDeliveries: 3,
        deadLetter: async (message, error) => void letters.push([message.sequence, (error as Error).message]),
      });
      await client.publish('a');
      await client.time.pass(20_000);
      assert.equal(handed, 3);
      assert.equal(letters.length, 1);
      assert.match(letters[0]![1], /message 1 .* handed over 3 times and never acknowledged/);
      assert.equal(subscription.lastSequence, 1);
    });
  });

  describe('a handler that fails', () => {
    it('is told of, and gets it again after ackWait', async () => {
      const client = await connected();
      let attempts = 0;
      const subscription = await client.subscribe(
        async (message) => {
          if (message.sequence === 1 && ++attempts < 3) throw new Error('no');
        },
        { ackWait: 1000 },
      );
      const seen = events(subscription);
      await client.publish('a', 'b');
      assert.deepEqual(client.session.acks, [2]);
      assert.equal(subscription.lastSequence, 0);
      await client.time.pass(3000);
      assert.deepEqual(client.session.acks, [2, 1]);
      assert.equal(subscription.lastSequence, 2);
      assert.deepEqual(names(seen), ['handler_error', 'handler_error']);
      const { error, message } = seen[0]![1] as { error: Error; message: StanMessage };
      assert.equal(error.message, 'no');
      assert.equal(message.sequence, 1);
      assert.deepEqual(client.subscriptions.stats, {
        delivered: 4,
        duplicatesDropped: 0,
        redelivered: 2,
        fetched: 0,
        handlerErrors: 2,
        gaps: 0,
        resets: 0,
        deadLetters: 0,
        overdue: 0,
        subscriptions: 1,
      });
    });

    it('synchronously, or with a thenable that throws, is no different', async () => {
      const client = await connected();
      const handlers: MessageHandler[] = [
        () => {
          throw new Error('sync');
        },
        () =>
          ({ then: () => { throw new Error('then'); } }) as unknown as Promise<void>, // prettier-ignore
        () =>
          ({
            get then() {
              throw new Error('get');
            },
          }) as unknown as Promise<void>,
      ];
      const errors: string[] = [];
      const subscription = await client.subscribe((message) => handlers[message.sequence - 1]!(message));
      subscription.on('handler_error', ({ error }) => errors.push((error as Error).message));
      await client.publish('a', 'b', 'c');
      assert.deepEqual(
        errors,
        ['sync', 'then', 'get'].filter((e) => errors.includes(e)),
      );
      assert.equal(errors.length, 3);
      assert.deepEqual(client.session.acks, []);
    });

    it('too often makes a dead letter', async () => {
      const client = await connected();
      const letters: number[] = [];
      const subscription = await client.subscribe(() => Promise.reject(new Error('poison')), {
        ackWait: 1000,
        maxDeliveries: 2,
        deadLetter: async (message) => void letters.push(message.sequence),
      });
      const seen = events(subscription);
      await client.publish('a');
      assert.deepEqual(letters, []);
      await client.time.pass(1100);
      assert.deepEqual(letters, [1]);
      assert.deepEqual(client.session.acks, [1]);
      assert.deepEqual(names(seen), ['handler_error', 'handler_error', 'dead_letter']);
      assert.equal(subscription.lastSequence, 1);
      await client.time.pass(10_000);
      assert.deepEqual(letters, [1]);
    });

    it("counts the server's deliveries, too", async () => {
      const client = await connected();
      const gate = new Gate();
      const letters: number[] = [];
      await client.subscribe(gate.handler, {
        ackWait: 1000,
        maxDeliveries: 3,
        deadLetter: async (message) => void letters.push(message.sequence),
      });
      await client.publish('a');
      gate.next().reject(new Error('once'));
      await client.time.settle();
      client.server.subs[0]!.redeliveries.set(1, 5);
      await client.time.pass(1100);
      gate.next().reject(new Error('twice'));
      await client.time.settle();
      assert.deepEqual(letters, [1]);
    });

    it('keeps the message when the dead letter cannot be delivered', async () => {
      const client = await connected();
      let open = false;
      const subscription = await client.subscribe(() => Promise.reject(new Error('poison')), {
        ackWait: 1000,
        maxDeliveries: 1,
        deadLetter: () => (open ? Promise.resolve() : Promise.reject(new Error('box full'))),
      });
      const seen = events(subscription);
      await client.publish('a');
      assert.deepEqual(names(seen), ['handler_error', 'handler_error']);
      assert.deepEqual(client.session.acks, []);
      open = true;
      await client.time.pass(1100);
      assert.deepEqual(client.session.acks, [1]);
    });

    it('may have acknowledged before', async () => {
      const client = await connected();
      const subscription = await client.subscribe((message) => {
        message.ack();
        throw new Error('after');
      });
      const seen = events(subscription);
      await client.publish('a');
      assert.deepEqual(names(seen), ['handler_error']);
      assert.deepEqual(client.session.acks, [1]);
      assert.equal(subscription.lastSequence, 1);
    });
  });

  describe('on a new session', () => {
    it('asks for everything at once, at the cursors', async () => {
      const client = await connected();
      const names: string[] = [];
      for (let i = 0; i < 5; i++) {
        const subscribing = client.subscriptions.subscribe(`c${i}`, () => undefined, subscribeOptions());
        await client.time.pass(20);
        (await subscribing).on('ready', () => names.push(`c${i}`));
        client.server.publish('x', `c${i}`);
      }
      await client.time.pass(20);
      client.kill();
      client.server.requests.length = 0;
      client.session = client.server.connect();
      const attaching = client.subscriptions.attach(client.session);
      await client.time.pass(1);
      assert.deepEqual(client.starts, Array(5).fill({ sequence: 1 }));
      await client.time.pass(20);
      await attaching;
      assert.deepEqual(names, ['c0', 'c1', 'c2', 'c3', 'c4']);
      assert.equal(client.resubscribed.length, 5);
      assert.equal(client.subscriptions.stats.duplicatesDropped, 0, 'the message it resumes at is no duplicate');
    });

    it('asks for many in their order, a window at a time, and not for one that was closed meanwhile', async () => {
      const client = await connected();
      const made: ResilientSubscription[] = [];
      for (let i = 0; i < 100; i++) {
        const options = subscribeOptions({ durableName: 'd', startAt: 'first' });
        void client.subscriptions.subscribe(`c${i}`, () => undefined, options).then((one) => made.push(one));
      }
      await client.time.pass(200);
      client.kill();
      client.server.requests.length = 0;
      client.server.latency = 20;
      client.session = client.server.connect();
      const attaching = client.subscriptions.attach(client.session);
      await client.time.pass(1);
      const first = client.server.requests.map(({ channel }) => channel);
      assert.deepEqual(
        first,
        Array.from({ length: 32 }, (_, i) => `c${i}`),
      );
      await Promise.all([made[98]!.close(), client.time.pass(2000)]);
      await attaching;
      assert.deepEqual(
        client.server.requests.filter(({ durableName }) => durableName !== undefined).map(({ channel }) => channel),
        [...Array(100).keys()].filter((i) => i !== 98).map((i) => `c${i}`),
      );
      assert.equal(client.session.alive, true);
      assert.equal(client.subscriptions.stats.subscriptions, 99);
    });

    it('is up only when all are made', async () => {
      const client = await connected();
      await client.subscribe();
      // At a cursor, one request does; see below for what is asked for by age.
      await client.publish('x');
      client.kill();
      client.server.latency = 100;
      client.session = client.server.connect();
      let up = false;
      void client.subscriptions.attach(client.session).then(() => (up = true));
      await client.time.pass(199);
      assert.equal(up, false);
      await client.time.pass(2);
      assert.equal(up, true);
    });

    it('rejects when that one dies, too', async () => {
      const client = await connected();
      await client.subscribe();
      client.kill();
      client.session = client.server.connect();
      const attaching = client.subscriptions.attach(client.session);
      const rejected = assert.rejects(attaching, SessionEnded);
      await client.time.settle();
      client.kill();
      await rejected;
    });

    it('gives up the one that cannot be made, and tells; the others live', async () => {
      const client = await connected();
      const bad = await client.subscribe(undefined, { durableName: 'bad' });
      const good = await client.subscribe();
      const [badSeen, goodSeen] = [events(bad), events(good)];
      client.kill();
      client.server.refuse = ({ durableName }) => (durableName === undefined ? undefined : 'stan: invalid subject');
      await client.connect();
      assert.deepEqual(names(badSeen), ['closed']);
      assert.ok((badSeen[0]![1] as { error: Error }).error instanceof SubscribeError);
      assert.deepEqual(names(goodSeen), ['ready']);
      assert.equal(client.errors.length, 1);
      assert.equal(client.subscriptions.stats.subscriptions, 1);
    });

    it('takes its own durable for a ghost once, and ends the session for it', async () => {
      const client = await connected();
      await client.subscribe(undefined, { durableName: 'd' });
      client.kill();
      client.server.refuse = () => 'stan: duplicate durable registration';
      client.session = client.server.connect();
      const attaching = client.subscriptions.attach(client.session);
      attaching.catch(() => undefined);
      await client.time.pass(2000);
      await assert.rejects(attaching, SessionEnded);
      assert.equal(client.session.alive, false);
      client.server.refuse = () => undefined;
      client.subscriptions.detach();
      await client.connect();
      assert.deepEqual(client.errors, []);
    });

    it("continues a 'new' that had received nothing from when it began", async () => {
      const client = await connected();
      client.server.publish('before');
      await client.time.pass(100);
      const seen: string[] = [];
      await client.subscribe((message) => void seen.push(message.string()));
      client.kill();
      client.server.publish('during');
      await client.time.pass(5000);
      await client.connect();
      await client.publish('after');
      assert.deepEqual(seen, ['during', 'after']);
    });

    for (const queueGroup of [undefined, 'q']) {
      it(`continues a 'new' ${queueGroup ?? 'plain'} one over a way to the server that has become longer`, async () => {
        const client = await connected();
        client.server.publish('before');
        await client.time.pass(1000);
        const seen: string[] = [];
        const options = queueGroup === undefined ? {} : { queueGroup };
        await client.subscribe((message) => void seen.push(message.string()), options);
        client.session.loseMessages = 1;
        client.server.publish('during');
        client.kill();
        await client.time.pass(5000);
        // An age asked for is younger by this when it gets there: 'during' was stored sooner after the beginning.
        client.server.latency = 90;
        const connecting = client.connect();
        await client.time.pass(1000);
        await connecting;
        client.server.publish('after');
        await client.time.pass(1000);
        assert.deepEqual(seen, ['during', 'after']);
      });
    }

    it("continues a 'new' after a sleep in the middle of its request from when it began, and no earlier", async () => {
      const client = await connected();
      client.server.publish('before');
      await client.time.pass(1000);
      const seen: string[] = [];
      await client.subscribe((message) => void seen.push(message.string()));
      client.kill();
      client.server.publish('during');
      client.session = client.server.connect();
      const attaching = client.subscriptions.attach(client.session);
      await client.time.settle();
      // The host falls asleep with the request on its way. A fake, because no test can put its host to sleep.
      client.time.sleep(3_600_000);
      await client.time.pass(1000);
      await attaching;
      client.server.publish('after');
      await client.time.pass(1000);
      assert.deepEqual(seen, ['during', 'after']);
    });

    for (const startAt of ['last', { sequence: 100 }] as const) {
      it(`continues ${JSON.stringify(startAt)} in order, when a message comes before its beginning is known`, async () => {
        const client = await connected();
        const seen: string[] = [];
        await client.subscribe((message) => void seen.push(message.string()), { startAt });
        client.kill();
        client.server.publish('during');
        await client.time.pass(5000);
        client.session = client.server.connect();
        const attaching = client.subscriptions.attach(client.session);
        // The subscription is made, and the look is on its way.
        await client.time.pass(3);
        client.server.publish('meanwhile');
        await client.time.pass(1000);
        await attaching;
        client.server.publish('after');
        await client.time.pass(1000);
        assert.deepEqual(seen, ['during', 'meanwhile', 'after']);
      });
    }

    it('begins at a sequence that was there although nothing was published since', async () => {
      const client = await connected();
      for (const value of ['a', 'b', 'c']) client.server.publish(value);
      await client.time.pass(1000);
      client.session.loseMessages = 3;
      const seen: string[] = [];
      await client.subscribe((message) => void seen.push(message.string()), { startAt: { sequence: 2 } });
      client.kill();
      await client.connect();
      await client.time.pass(10_000);
      assert.deepEqual(seen, ['b', 'c']);
    });

    it("continues a 'last' that had received nothing with the last of then", async () => {
      const client = await connected();
      client.server.publish('older');
      client.server.publish('last');
      client.session.loseMessages = 1;
      const seen: string[] = [];
      await client.subscribe((message) => void seen.push(message.string()), { startAt: 'last' });
      client.kill();
      await client.time.pass(5000);
      await client.connect();
      await client.time.pass(10_000);
      assert.deepEqual(seen, ['last']);
    });

    it('and with the last of then, in order, when others came after it', async () => {
      const client = await connected();
      client.server.publish('last');
      await client.time.pass(10);
      client.session.mute = true;
      const seen: string[] = [];
      const subscribing = client.subscriptions.subscribe(
        'foo',
        (message) => void seen.push(message.string()),
        subscribeOptions({ startAt: 'last' }),
      );
      await client.time.pass(10);
      client.kill();
      client.server.publish('during');
      await client.connect();
      await subscribing;
      await client.time.pass(10_000);
      assert.deepEqual(seen, ['last', 'during']);
    });

    it('looks whether the channel is still the same when nothing comes', async () => {
      const client = await connected();
      const subscription = await client.subscribe(undefined, { startAt: 'first' });
      const seen = events(subscription);
      await client.publish('a', 'b', 'c');
      client.kill();
      client.server.reset();
      client.server.publish('new');
      await client.connect();
      assert.deepEqual(names(seen), ['ready']);
      await client.time.pass(10_000);
      assert.deepEqual(names(seen), ['ready', 'reset', 'ready']);
      assert.equal(subscription.lastSequence, 1);
    });

    it('does not hand a queue group its history again', async () => {
      const client = await connected();
      for (let i = 0; i < 50; i++) client.server.publish(`h${i}`);
      const handled: number[] = [];
      await client.subscribe((message) => void handled.push(message.sequence), { queueGroup: 'q', startAt: 'first' });
      assert.equal(handled.length, 50);
      await client.time.pass(60_000);
      await client.publish('x');
      client.kill();
      client.server.publish('y');
      await client.connect();
      assert.equal(handled.length, 52);
      assert.ok(client.subscriptions.stats.duplicatesDropped <= 1);
    });
  });

  describe('is made again', () => {
    it('plain: the new one first, then the old one is closed', async () => {
      const client = await connected();
      await client.subscribe(undefined, { startAt: 'first' });
      await client.publish('a');
      client.server.requests.length = 0;
      client.subscriptions.resume(true);
      await client.time.pass(1);
      assert.equal(client.server.subs.length, 2);
      await client.time.pass(20);
      assert.equal(client.server.subs.length, 1);
      assert.deepEqual(client.starts, [{ sequence: 1 }]);
    });

    it('durable: the old one is closed first', async () => {
      const client = await connected();
      await client.subscribe(undefined, { durableName: 'd' });
      client.subscriptions.resume(true);
      await client.time.pass(1);
      assert.equal(client.server.subs.length, 0);
      await client.time.pass(20);
      assert.equal(client.server.subs.length, 1);
      assert.deepEqual(client.errors, []);
    });

    it('plain: in place of the old one when there is no room for two', async () => {
      const client = await connected();
      const subscription = await client.subscribe();
      client.server.refuse = () => (client.server.subs.length > 0 ? 'too many subscriptions per channel' : undefined);
      client.subscriptions.resume(true);
      await client.time.pass(20);
      assert.equal(client.server.subs.length, 1);
      const gate: string[] = [];
      subscription.on('closed', () => gate.push('closed'));
      await client.publish('a');
      assert.deepEqual(gate, []);
      assert.equal(subscription.lastSequence, 1);
    });

    it('once for many wishes', async () => {
      const client = await connected();
      await client.subscribe();
      client.server.requests.length = 0;
      for (let i = 0; i < 10; i++) client.subscriptions.resume(true);
      await client.time.pass(50);
      assert.equal(client.server.requests.length, 2, 'the first one, and one for all that came meanwhile');
    });

    it('at once at a hole', async () => {
      const client = await connected();
      const seen: number[] = [];
      const subscription = await client.subscribe((message) => void seen.push(message.sequence), { startAt: 'first' });
      const told = events(subscription);
      await client.publish('a', 'b');
      client.session.loseMessages = 1;
      await client.publish('c', 'd', 'e');
      assert.deepEqual(seen, [1, 2, 3, 4, 5]);
      assert.deepEqual(names(told), ['ready']);
    });

    it('and again at a hole that retention made, before it tells of it', async () => {
      const client = await connected();
      const seen: number[] = [];
      const subscription = await client.subscribe((message) => void seen.push(message.sequence), { startAt: 'first' });
      const told = events(subscription);
      await client.publish('a', 'b');
      client.kill();
      for (let i = 0; i < 10; i++) client.server.publish('x');
      client.server.truncate(8);
      await client.connect();
      await client.time.pass(50);
      assert.deepEqual(seen, [1, 2, 8, 9, 10, 11, 12]);
      assert.deepEqual(told.find(([name]) => name === 'gap')?.[1], { from: 3, to: 7 });
      assert.equal(subscription.lastSequence, 12);
    });

    it('past a durable whose memory at the server has lost what it was to bring', async () => {
      const client = await connected();
      const seen: number[] = [];
      const subscription = await client.subscribe((message) => void seen.push(message.sequence), {
        startAt: 'first',
        durableName: 'd',
      });
      const told = events(subscription);
      await client.publish('a', 'b');
      client.kill();
      for (let i = 0; i < 5; i++) client.server.publish('x');
      // The new leader believes that it has sent these, and that they were acknowledged.
      const durable = client.server.durables.get('foo/d');
      assert.ok(durable);
      durable.progress.lastSent = 6;
      await client.connect();
      await client.time.pass(3000);
      await client.publish('y');
      await client.time.pass(3000);
      assert.deepEqual(seen, [1, 2, 3, 4, 5, 6, 7, 8]);
      assert.deepEqual(
        told.filter(([name]) => name === 'gap'),
        [],
      );
      assert.equal(subscription.lastSequence, 8);
    });

    it('does not miss what was gone before it was asked for the first', async () => {
      const client = await connected();
      for (let i = 0; i < 10; i++) client.server.publish('x');
      client.server.truncate(5);
      const seen: number[] = [];
      const subscription = await client.subscribe((message) => void seen.push(message.sequence), { startAt: 'first' });
      const told = events(subscription);
      await client.time.pass(50);
      assert.deepEqual(seen, [5, 6, 7, 8, 9, 10]);
      assert.ok(!names(told).includes('gap'));
    });

    it('slower and slower when it is of no use', async () => {
      const client = await connected();
      await client.subscribe(undefined, { startAt: 'first' });
      await client.publish('a', 'b');
      client.server.requests.length = 0;
      client.server.publish('lost');
      // The server insists on nonsense: message 3 never comes, and it is there.
      const original = client.session.toClient.bind(client.session);
      client.session.toClient = (sub, message) => {
        if (message.getSequence() !== 3) original(sub, message);
      };
      client.session.loseMessages = 1;
      for (let i = 0; i < 30; i++) {
        client.server.publish('x');
        await client.time.pass(10);
      }
      assert.ok(client.server.requests.length < 12, `${client.server.requests.length} requests in 300 ms`);
    });

    it('when the server does not read its acks', async () => {
      const client = await connected();
      client.server.deaf = true;
      const seen: number[] = [];
      await client.subscribe((message) => void seen.push(message.sequence), { maxInFlight: 3 });
      client.server.deaf = false;
      await client.publish('a', 'b', 'c', 'd', 'e');
      assert.deepEqual(seen, [1, 2, 3]);
      await client.time.pass(1100);
      assert.deepEqual(seen, [1, 2, 3, 4, 5]);
    });

    it('but once only when the channel just happens to end with the window', async () => {
      const client = await connected();
      await client.subscribe(undefined, { maxInFlight: 1 });
      await client.publish('a');
      client.server.requests.length = 0;
      await client.time.pass(60_000);
      assert.ok(client.server.requests.length <= 2, `${client.server.requests.length}`);
    });
  });

  describe('ends', () => {
    it('with close(): what runs is acknowledged first, what is queued is not handled, a durable stays', async () => {
      const client = await connected();
      const gate = new Gate();
      const subscription = await client.subscribe(gate.handler, { durableName: 'd' });
      const seen = events(subscription);
      await client.publish('a', 'b');
      let closed = false;
      void subscription.close().then(() => (closed = true));
      await client.publish('c');
      assert.equal(closed, false);
      assert.equal(client.server.subs.length, 1);
      gate.next().resolve();
      await client.time.pass(20);
      assert.equal(closed, true);
      assert.deepEqual(client.session.acks, [1]);
      assert.equal(gate.waiting.length, 0);
      assert.deepEqual(
        [...client.server.durables.values()].map(({ online }) => online),
        [false],
      );
      assert.deepEqual(seen, [['closed', {}]]);
      assert.equal(client.subscriptions.stats.subscriptions, 0);
      await subscription.close();
      await subscription[Symbol.asyncDispose]();
      client.kill();
      await client.connect();
      assert.equal(client.server.subs.length, 0);
    });

    it('with unsubscribe(): the durable is dropped', async () => {
      const client = await connected();
      const subscription = await client.subscribe(undefined, { durableName: 'd' });
      const done = subscription.unsubscribe();
      await client.time.pass(20);
      await done;
      assert.equal(client.server.durables.size, 0);
    });

    it('with unsubscribe() in an outage: here at once, at the server on the next session', async () => {
      const client = await connected();
      const subscription = await client.subscribe(undefined, { durableName: 'd' });
      const seen = events(subscription);
      client.kill();
      let done = false;
      void subscription.unsubscribe().then(() => (done = true));
      await client.time.settle();
      assert.deepEqual(names(seen), ['closed']);
      assert.equal(client.server.durables.size, 1);
      assert.equal(done, false);
      await client.connect();
      assert.equal(done, true);
      assert.equal(client.server.durables.size, 0);
      assert.equal(client.server.subs.length, 0);
    });

    it('and a new durable of that name starts afresh', async () => {
      const client = await connected();
      const old = await client.subscribe(undefined, { durableName: 'd', startAt: 'first' });
      await client.publish('a', 'b');
      client.kill();
      void old.unsubscribe();
      const seen: number[] = [];
      const subscribing = client.subscriptions.subscribe(
        'foo',
        (message) => void seen.push(message.sequence),
        subscribeOptions({ durableName: 'd', startAt: 'first' }),
      );
      await client.connect();
      await subscribing;
      await client.time.pass(20);
      assert.deepEqual(seen, [1, 2]);
    });

    it('in an outage that goes on after the next session', async () => {
      const client = await connected();
      await client.subscribe(undefined, { durableName: 'kept' });
      const dropped = await client.subscribe(undefined, { durableName: 'd' });
      client.kill();
      void dropped.unsubscribe();
      client.session = client.server.connect();
      const attaching = client.subscriptions.attach(client.session);
      const rejected = assert.rejects(attaching, SessionEnded);
      await client.time.settle();
      client.kill();
      await rejected;
      assert.deepEqual(
        client.server.requests.slice(2).map(({ durableName }) => durableName),
        ['d'],
        'the others wait for it, and then there is nobody to ask',
      );
      await client.connect();
      assert.deepEqual([...client.server.durables.keys()], ['foo/kept']);
    });

    it('with unsubscribe() after close(): the durable is dropped', async () => {
      const client = await connected();
      const subscription = await client.subscribe(undefined, { durableName: 'd' });
      await client.after(subscription.close());
      assert.equal(client.server.durables.size, 1);
      await client.after(Promise.all([subscription.unsubscribe(), subscription.unsubscribe(), subscription.close()]));
      assert.equal(client.server.durables.size, 0);
      assert.equal(client.server.subs.length, 0);
      await client.after(subscription.unsubscribe());
      await subscription.close();
    });

    for (const others of [0, 1]) {
      it(`with unsubscribe() while close() still waits, ${others} handlers running`, async () => {
        const client = await connected();
        const gate = new Gate();
        const subscription = await client.subscribe(gate.handler, { durableName: 'd' });
        if (others > 0) await client.publish('a');
        const closing = subscription.close();
        const dropping = subscription.unsubscribe();
        await client.time.pass(20);
        for (const { resolve } of gate.waiting) resolve();
        await client.after(Promise.all([closing, dropping]));
        assert.equal(client.server.durables.size, 0);
      });
    }

    it('with close() after unsubscribe(): it waits for nothing, and does not reject', async () => {
      const client = await connected();
      const subscription = await client.subscribe(undefined, { durableName: 'd' });
      client.kill();
      const dropping = subscription.unsubscribe();
      await subscription.close();
      client.subscriptions.close();
      await assert.rejects(dropping, ClosedError);
      await subscription.close();
    });

    it('with unsubscribe() after the client: rejects for a durable, for there is nobody to drop it', async () => {
      const client = await connected();
      const durable = await client.subscribe(undefined, { durableName: 'd' });
      const group = await client.subscribe(undefined, { durableName: 'd', queueGroup: 'q' });
      const plain = await client.subscribe();
      await client.subscriptions.drain();
      client.subscriptions.close();
      for (const lasting of [durable, group]) {
        for (let i = 0; i < 2; i++) {
          await assert.rejects(lasting.unsubscribe(), (error: Error) => {
            assert.ok(error instanceof ClosedError);
            assert.match(error.message, /the durable 'd' on channel 'foo' was not dropped.*still keeps it/);
            return true;
          });
        }
      }
      await plain.unsubscribe();
      await durable.close();
    });

    it('with unsubscribe() of one that is subscribed to again: rejects, and the new one lives', async () => {
      const client = await connected();
      const old = await client.subscribe(undefined, { durableName: 'd' });
      await client.after(old.close());
      await client.subscribe(undefined, { durableName: 'd' });
      for (const session of ['living', 'gone']) {
        await assert.rejects(old.unsubscribe(), /subscribed to it again/, session);
        client.kill();
      }
      await client.connect();
      assert.equal(client.server.subs.length, 1);
    });

    it('with unsubscribe() whose session ends while a handler runs: before a new durable of that name', async () => {
      const client = await connected();
      const gate = new Gate();
      const old = await client.subscribe(gate.handler, { durableName: 'd', startAt: 'first' });
      await client.publish('a', 'b');
      const dropping = old.unsubscribe();
      const seen: number[] = [];
      const handler = (message: StanMessage): void => void seen.push(message.sequence);
      const subscribing = client.subscriptions.subscribe(
        'foo',
        handler,
        subscribeOptions({ durableName: 'd', startAt: 'first' }),
      );
      await client.time.pass(20);
      client.kill();
      await client.time.settle();
      await client.connect();
      await client.after(Promise.all([dropping, subscribing]));
      assert.deepEqual(seen, [1, 2]);
    });

    it('and lets a durable be subscribed to again at once, as soon as its handler is through', async () => {
      const client = await connected();
      const gate = new Gate();
      const old = await client.subscribe(gate.handler, { durableName: 'd' });
      await client.publish('a', 'b');
      void old.close();
      const seen: number[] = [];
      const handler = (message: StanMessage): void => void seen.push(message.sequence);
      const subscribing = client.subscriptions.subscribe('foo', handler, subscribeOptions({ durableName: 'd' }));
      // Longer than a durable that is in use would be tried for.
      await client.time.pass(10_000);
      assert.equal(client.server.requests.length, 1);
      gate.next().resolve();
      await client.after(subscribing);
      await client.time.pass(20);
      assert.deepEqual(seen, [2]);
      assert.equal(client.session.alive, true);
    });

    describe('at a server that refuses', () => {
      it('with close(): resolves; the session ends when the durable is wanted again', async () => {
        const client = await connected();
        client.server.refuseEnd = () => 'leadership lost while committing log';
        const old = await client.subscribe(undefined, { durableName: 'd' });
        await client.after(old.close());
        assert.equal(client.session.alive, true);
        const subscribing = client.subscriptions.subscribe(
          'foo',
          () => undefined,
          subscribeOptions({ durableName: 'd' }),
        );
        await client.time.settle();
        assert.equal(client.session.lossReason, 'request_timeout');
        client.kill();
        await client.connect();
        await subscribing;
        assert.equal(client.server.subs.length, 1);
      });

      it('with close(), a member of a group: the session ends, or it would keep messages from the others', async () => {
        const client = await connected();
        client.server.refuseEnd = () => 'leadership lost while committing log';
        const member = await client.subscribe(undefined, { queueGroup: 'q' });
        await client.after(member.close());
        assert.equal(client.session.lossReason, 'request_timeout');
      });

      for (const [text, ends] of [
        ['leadership lost while committing log', 'request_timeout'],
        // Another client has had the ID: the durable may still be there.
        ['stan: invalid subscription', undefined],
      ] as const) {
        for (const queueGroup of [undefined, 'q']) {
          it(`with unsubscribe(): '${text}' is no drop (${queueGroup ?? 'durable'})`, async () => {
            const client = await connected();
            const options = { durableName: 'd', ...(queueGroup !== undefined && { queueGroup }) };
            const subscription = await client.subscribe(undefined, options);
            let times = 1;
            client.server.refuseEnd = (_request, drop) => {
              if (!drop || times-- === 0) return undefined;
              // The server knows the subscription no more, and keeps the durable.
              if (ends === undefined) client.server.end(client.server.subs[0]!, false);
              return text;
            };
            let dropped = false;
            void subscription.unsubscribe().then(() => (dropped = true));
            await client.time.pass(20);
            assert.equal(client.session.lossReason, ends);
            if (ends !== undefined) {
              assert.equal(dropped, false);
              client.kill();
              await client.connect();
            }
            assert.equal(dropped, true);
            assert.equal(client.server.durables.size + client.server.groups.size, 0);
            assert.equal(client.server.subs.length, 0);
          });
        }
      }

      it('with unsubscribe(), for a reason that nobody knows: tells, and may be called again', async () => {
        const client = await connected();
        client.server.refuseEnd = () => 'no space left on device';
        const subscription = await client.subscribe(undefined, { durableName: 'd' });
        await assert.rejects(client.after(subscription.unsubscribe()), (error: Error) => {
          assert.ok(error instanceof SubscribeError);
          assert.match(error.message, /still keeps it \(no space left on device\).*Call unsubscribe\(\) again/);
          return true;
        });
        client.server.refuseEnd = () => undefined;
        const again = subscription.unsubscribe();
        await client.time.settle();
        assert.equal(client.session.alive, false, 'only on another session can it be asked for again');
        client.kill();
        await client.connect();
        await again;
        assert.equal(client.server.durables.size, 0);
      });

      it('a durable to be dropped that is not online: asked for again, and others need not wait for it', async () => {
        const client = await connected();
        const other = await client.subscribe();
        const subscription = await client.subscribe(undefined, { durableName: 'd' });
        client.kill();
        const dropping = subscription.unsubscribe();
        let times = 3;
        client.server.refuse = ({ durableName }) =>
          durableName === 'd' && times-- > 0 ? 'leadership lost while committing log' : undefined;
        const seen = events(other);
        await client.connect();
        assert.deepEqual(names(seen), ['ready']);
        await client.after(dropping, 1000);
        assert.equal(client.server.durables.size, 0);
      });

      it('and goes on refusing: is told in the end', async () => {
        const client = await connected();
        const subscription = await client.subscribe(undefined, { durableName: 'd' });
        client.kill();
        const dropping = subscription.unsubscribe();
        dropping.catch(() => undefined);
        client.server.refuse = () => 'node is not the leader';
        let sessions = 0;
        while (client.subscriptions.stats.subscriptions === 0 && sessions < 20) {
          await client.connect();
          sessions++;
          await client.time.pass(5000);
          if (client.session.alive) break;
          client.kill();
        }
        assert.equal(sessions, 9);
        await assert.rejects(dropping, /could not be dropped.*still keeps it \(node is not the leader\)/);
      });
    });

    it('says so when the client closes before the durable could be dropped', async () => {
      const client = await connected();
      const subscription = await client.subscribe(undefined, { durableName: 'd' });
      client.kill();
      const unsubscribing = subscription.unsubscribe();
      await client.time.settle();
      client.subscriptions.close();
      await assert.rejects(unsubscribing, /before the durable could be dropped/);
    });

    it('while it is being made', async () => {
      const client = await connected();
      const subscription = await client.subscribe(undefined, { durableName: 'd' });
      client.subscriptions.resume(true);
      await client.time.pass(3);
      const closing = subscription.close();
      await client.time.pass(20);
      await closing;
      assert.equal(client.server.subs.length, 0);
      assert.equal(client.server.durables.size, 1);
    });

    it('does not wait for ever for a handler that waits for it', async () => {
      const client = await connected();
      let ended = false;
      const subscription: ResilientSubscription = await client.subscribe(
        async () => {
          await Promise.resolve();
          await subscription.close();
          ended = true;
        },
        { ackWait: 2000 },
      );
      await client.publish('a');
      assert.equal(ended, false);
      await client.time.pass(2100);
      assert.equal(ended, true);
    });

    it('at once for a handler that waits for it from its beginning on, whose message is acknowledged all the same', async () => {
      const client = await connected();
      const other = new Gate();
      const log: string[] = [];
      const subscription: ResilientSubscription = await client.subscribe(
        async (message) => {
          if (message.sequence === 1) return other.handler(message);
          const closed = subscription.close();
          void closed.then(() => log.push('closed'));
          await closed;
        },
        { durableName: 'd', concurrency: 2 },
      );
      void subscription.once('closed', () => log.push('over'));
      await client.publish('a', 'b');
      assert.deepEqual(log, [], 'it waits for the other one');
      other.next().resolve();
      await client.time.settle();
      assert.deepEqual(log, ['closed']);
      await client.time.pass(20);
      assert.deepEqual(log, ['closed', 'over']);
      assert.deepEqual(client.session.acks, [1, 2]);
      assert.equal(client.server.durables.get('foo/d')!.progress.pending.size, 0);
    });

    it('and with unsubscribe(), after a grace', async () => {
      const client = await connected();
      let ended = false;
      const subscription: ResilientSubscription = await client.subscribe(
        async () => {
          await subscription.unsubscribe();
          ended = true;
        },
        { durableName: 'd' },
      );
      await client.publish('a');
      await client.time.pass(600);
      assert.equal(ended, true);
      assert.equal(client.server.durables.size, 0);
    });

    it('at its signal', async () => {
      const client = await connected();
      const controller = new AbortController();
      const subscription = await client.subscribe(undefined, { durableName: 'd', signal: controller.signal });
      const seen = events(subscription);
      controller.abort();
      await client.time.pass(20);
      assert.deepEqual(names(seen), ['closed']);
      assert.ok((seen[0]![1] as { error: Error }).error instanceof AbortedError);
      assert.equal(client.server.durables.size, 1);
      assert.equal(client.server.subs.length, 0);
    });

    it('with the client: drained, then closed here', async () => {
      const client = await connected();
      const gate = new Gate();
      const subscription = await client.subscribe(gate.handler);
      const seen = events(subscription);
      await client.publish('a', 'b');
      let drained = false;
      void client.subscriptions.drain().then(() => (drained = true));
      await client.publish('c');
      assert.equal(drained, false);
      gate.next().resolve();
      await client.time.settle();
      assert.equal(drained, true);
      assert.deepEqual(client.session.acks, [1]);
      assert.deepEqual(gate.sequences, []);
      const requests = client.server.requests.length;
      client.subscriptions.close();
      assert.deepEqual(seen, [['closed', {}]]);
      await client.time.pass(10_000);
      assert.equal(client.server.requests.length, requests, 'nothing is asked any more');
    });

    it('with the reason of the client', async () => {
      const client = await connected();
      const subscription = await client.subscribe();
      const seen = events(subscription);
      const reason = new Error('why');
      client.subscriptions.close(reason);
      assert.deepEqual(seen, [['closed', { error: reason }]]);
    });
  });

  describe('the members of a group', () => {
    it('give back what they had queued when they leave', async () => {
      const client = await connected();
      const gate = new Gate();
      const first = await client.subscribe(gate.handler, { queueGroup: 'q' });
      await client.publish('a', 'b', 'c');
      const seen: number[] = [];
      await client.subscribe((message) => void seen.push(message.sequence), { queueGroup: 'q' });
      const closing = first.close();
      gate.next().resolve();
      await client.time.pass(500);
      await closing;
      assert.deepEqual(seen, [2, 3]);
    });

    describe('that has no others', () => {
      /** All of what there is came to us; then the session dies, and the next leader leaps over what it had sent. */
      async function forgetful(durableName?: string): Promise<{ client: Client; seen: number[] }> {
        const client = await connected();
        const seen: number[] = [];
        await client.subscribe((message) => void seen.push(message.sequence), {
          queueGroup: 'q',
          startAt: 'first',
          ...(durableName !== undefined && { durableName }),
        });
        for (let i = 0; i < 150; i++) client.server.publish('x');
        await client.time.pass(100);
        assert.equal(seen.length, 150);
        return { client, seen };
      }
      /** Three more are sent, and lost on their way; and the next leader does not know of them. */
      async function forget(client: Client): Promise<void> {
        client.session.loseMessages = 3;
        await client.publish('a', 'b', 'c');
        for (const { progress } of client.server.subs) progress.pending.clear();
      }

      async function everythingComes(client: Client, seen: readonly number[]): Promise<void> {
        await client.publish('y');
        await client.time.pass(3000);
        assert.deepEqual(
          seen.slice(150).sort((a, b) => a - b),
          [151, 152, 153, 154],
        );
      }

      it('get what a leader has forgotten that the one before had sent, past the group', async () => {
        const { client, seen } = await forgetful('d');
        await forget(client);
        client.kill();
        await client.connect();
        await everythingComes(client, seen);
      });

      it('without a loss as well', async () => {
        const { client, seen } = await forgetful();
        await forget(client);
        client.subscriptions.resume(true);
        await client.time.pass(100);
        await everythingComes(client, seen);
      });

      it('but leave alone what somebody else had while we were away', async () => {
        const { client, seen } = await forgetful('d');
        client.kill();
        await client.time.pass(10_000);
        for (let i = 0; i < 50; i++) client.server.publish("another's");
        for (const group of client.server.groups.values()) group.lastSent = 200;
        await client.time.pass(60_000);
        await client.connect();
        await client.publish('y');
        await client.time.pass(3000);
        assert.deepEqual(seen.slice(150), [201]);
      });
    });

    it('leave together when the channel started over', async () => {
      const client = await connected();
      for (let i = 0; i < 100; i++) client.server.publish('before');
      const seen: string[] = [];
      const subscriptions = [];
      for (let i = 0; i < 3; i++) {
        subscriptions.push(await client.subscribe((message) => void seen.push(message.string()), { queueGroup: 'q' }));
      }
      const told = subscriptions.map(events);
      await client.publish('a', 'b', 'c');
      await client.time.pass(120_000);
      client.kill();
      client.server.reset();
      // More than what the group can look back to by time.
      client.server.publish('n1');
      client.server.publish('n2');
      await client.time.pass(120_000);
      await client.connect();
      // As long as one of them is there, so is the group, and where it was.
      client.server.closeDelays.push(0, 50);
      await client.publish('n3');
      await client.time.pass(10_000);
      for (const value of ['n1', 'n2', 'n3']) assert.ok(seen.includes(value), value);
      for (const member of told) assert.equal(names(member).filter((name) => name === 'reset').length, 1);
    });
  });

  it('survives listeners that throw', async () => {
    const client = await connected();
    const subscription = await client.subscribe(() => Promise.reject(new Error('no')));
    subscription.on('handler_error', () => {
      throw new Error('listener');
    });
    await client.publish('a', 'b');
    assert.equal(client.errors.length, 2);
    assert.ok(client.errors[0] instanceof CallbackError);
    assert.match(client.errors[0].message, /handler_error.*listener/);
  });

  it('survives ten thousand synchronous messages behind a slow one', async () => {
    const client = await connected();
    let release!: () => void;
    const slow = new Promise<void>((resolve) => (release = resolve));
    let handled = 0;
    const subscription = await client.subscribe(
      (message) => {
        handled++;
        return message.sequence === 1 ? slow : undefined;
      },
      { maxInFlight: 20_000 },
    );
    for (let i = 0; i < 10_000; i++) client.server.publish('x');
    await client.time.pass(5);
    assert.equal(handled, 1);
    release();
    await client.time.pass(5);
    assert.equal(handled, 10_000);
    assert.equal(subscription.lastSequence, 10_000);
  });

  it('ends with an error that the server permits nothing', async () => {
    const client = await connected();
    const denied = new PermissionError('_STAN.sub.x', 'not allowed');
    client.session.subscribe = () => Promise.reject(denied);
    await assert.rejects(client.subscribe(), denied);
  });

  describe('a message', () => {
    it('has what the server says of it', async () => {
      const client = await connected();
      const messages: StanMessage[] = [];
      await client.subscribe((message) => void messages.push(message));
      await client.publish('{"a":1}', 'nonsense', '');
      const [json, text, empty] = messages as [StanMessage, StanMessage, StanMessage];
      assert.deepEqual(json.json(), { a: 1 });
      assert.equal(json.data, json.data);
      assert.equal(json.channel, 'foo');
      assert.equal(json.redelivered, false);
      assert.equal(json.redeliveryCount, 0);
      assert.equal(json.timestamp.getTime(), Math.floor(client.server.channel().messages[0]!.time / 1e6));
      assert.throws(
        () => text.json(),
        (error: ResilientStanError) => {
          assert.ok(error instanceof ResilientStanError);
          assert.match(error.message, /message 2 of channel 'foo' \(8 bytes\) is not JSON/);
          return true;
        },
      );
      assert.equal(empty.data.length, 0);
      assert.equal(empty.string(), '');
      assert.match(JSON.stringify(json), /"sequence":1/);
    });
  });
});
