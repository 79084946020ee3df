/** Subscriptions at a real server: where each kind starts and resumes, what an acknowledgement is, how each one ends. */
import assert from 'node:assert/strict';
import {
  AbortedError,
  ClosedError,
  ResilientStanError,
  SubscribeError,
  type ConnectOptions,
  type ResilientStan,
  type StanMessage,
  type StartAt,
  type SubscribeOptions,
} from '../../src/index.js';
import { StanCluster, type StanNode, type SubscriptionMonitor } from '../../src/testing/index.js';
import { Clients, deferred, isSettled, Recorder, rejection, uniqueName, until } from '../support/clients.js';
import { cutOff, letBack, restore } from '../support/one-server.js';

describe('subscribing', function () {
  this.timeout(30_000);
  const clients = new Clients();
  let cluster: StanCluster;
  let server: StanNode;
  /** Past the proxy: it goes on while the others are cut off. */
  let publisher: ResilientStan;
  let channel: string;

  before(async () => {
    cluster = await StanCluster.start({
      mode: 'single',
      proxied: true,
      // The rest of the file asks a server that forgets nothing.
      config: { streaming: { store_limits: { max_channels: 0, channels: { 'few.>': { max_msgs: 5, max_subs: 2 } } } } },
    });
    server = cluster.nodes[0]!;
  });
  after(() => cluster.stop());
  beforeEach(async () => {
    channel = uniqueName('subscribing');
    publisher = await clients.connect(`127.0.0.1:${server.ports.client}`);
  });
  afterEach(() => restore(server, clients));

  const connect = (options: ConnectOptions = {}): Promise<ResilientStan> =>
    clients.connect(cluster.urls, { clientId: uniqueName('me'), ...options });
  /** Publishes 'from', …, 'to' in order. */
  const publish = async (from: number, to = from, name = channel): Promise<void> => {
    for (let i = from; i <= to; i++) await publisher.publish(name, String(i));
  };
  const cut = (stan: ResilientStan): Promise<Recorder> => cutOff(server, stan);
  const mend = (recorder: Recorder): Promise<void> => letBack(server, recorder);
  const subscriptions = async (name = channel): Promise<SubscriptionMonitor[]> =>
    (await server.monitor.channelz(name))?.subscriptions ?? [];

  /** Subscribes and keeps what it is handed. */
  async function collect(
    stan: ResilientStan,
    options: SubscribeOptions = {},
  ): Promise<{ got: number[]; subscription: Awaited<ReturnType<ResilientStan['subscribe']>>; log: string[] }> {
    const got: number[] = [];
    const log: string[] = [];
    const subscription = await stan.subscribe(channel, (message) => void got.push(message.sequence), options);
    subscription.on('ready', () => log.push('ready'));
    subscription.on('gap', ({ from, to }) => log.push(`gap ${from}..${to}`));
    subscription.on('reset', ({ expected, got: came }) => log.push(`reset ${expected} ${came}`));
    subscription.on('closed', ({ error }) => log.push(`closed${error ? ` ${error.name}` : ''}`));
    return { got, subscription, log };
  }
  /** Exactly these came, and nothing else follows: a message published last shows it. */
  async function exactly(got: number[], expected: number[]): Promise<void> {
    const last = expected.at(-1);
    await until(
      () => got.includes(last!) || got.length > expected.length,
      () => `got ${got.join()}`,
    );
    assert.deepEqual(got, expected);
  }
  const sequenceOf = async (next: Promise<IteratorResult<StanMessage, unknown>>): Promise<number | undefined> => {
    const { done, value } = await next;
    return done === true ? undefined : value.sequence;
  };
  const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);

  describe('startAt', () => {
    for (const [what, startAt, expected] of [
      ['new', 'new', [6]],
      ['nothing, which is new', undefined, [6]],
      ['last', 'last', [5, 6]],
      ['first', 'first', [1, 2, 3, 4, 5, 6]],
      ['a sequence', { sequence: 4 }, [4, 5, 6]],
      ['a sequence above the last', { sequence: 100 }, [6]],
      ['an age that takes in all', { ago: 60_000 }, [1, 2, 3, 4, 5, 6]],
      ['an age of nothing', { ago: 0 }, [6]],
      ['a time long gone', { time: new Date(0) }, [1, 2, 3, 4, 5, 6]],
    ] as [string, StartAt | undefined, number[]][]) {
      it(what, async () => {
        await publish(1, 5);
        const { got } = await collect(await connect(), startAt === undefined ? {} : { startAt });
        await publish(6);
        await exactly(got, expected);
      });
    }

    it('a time between two messages', async () => {
      await publish(1, 2);
      // Not in the same millisecond.
      const stored = Date.now();
      await until(() => Date.now() > stored, 'time stands still');
      const time = new Date();
      await publish(3);
      const { got } = await collect(await connect(), { startAt: { time } });
      await exactly(got, [3]);
    });
  });

  describe('after a loss', () => {
    for (const [startAt, before] of [
      ['new', []],
      ['last', [3]],
      ['first', [1, 2, 3]],
      [{ sequence: 2 }, [2, 3]],
    ] as [StartAt, number[]][]) {
      it(`goes on at the cursor, started at ${JSON.stringify(startAt)}`, async () => {
        await publish(1, 3);
        const stan = await connect();
        const { got, subscription, log } = await collect(stan, { startAt });
        if (before.length > 0)
          await until(
            () => got.length === before.length,
            () => got.join(),
          );
        const recorder = await cut(stan);
        await publish(4, 6);
        await mend(recorder);
        await publish(7);
        await exactly(got, [...before, 4, 5, 6, 7]);
        assert.equal(subscription.lastSequence, 7);
        assert.deepEqual(log, ['ready', 'ready']);
        assert.equal(recorder.count('resubscribe'), 1);
        assert.equal(recorder.of('resubscribe')[0]!.subscription, subscription);
      });
    }

    for (const startAt of ['new', 'last'] as const) {
      it(`${startAt}, of an empty channel: gets what is published during and after the outage`, async () => {
        const stan = await connect();
        const { got } = await collect(stan, { startAt });
        const recorder = await cut(stan);
        await publish(1, 3);
        await mend(recorder);
        await publish(4);
        await exactly(got, [1, 2, 3, 4]);
      });

      it(`${startAt}, through several outages in a row with nothing received`, async () => {
        await publish(1, 2);
        const stan = await connect();
        const { got } = await collect(stan, { startAt });
        if (startAt === 'last')
          await until(
            () => got.length === 1,
            () => got.join(),
          );
        for (let i = 0; i < 3; i++) await mend(await cut(stan));
        const recorder = await cut(stan);
        await publish(3, 4);
        await mend(recorder);
        await publish(5);
        await exactly(got, startAt === 'last' ? [2, 3, 4, 5] : [3, 4, 5]);
      });
    }

    for (const queueGroup of [undefined, 'q']) {
      it(`new${queueGroup ? ', in a queue group' : ''}: what was lost right after the beginning, over a way that has become longer`, async () => {
        const stan = await connect();
        const { got } = await collect(stan, { startAt: 'new', ...(queueGroup && { queueGroup }) });
        const recorder = new Recorder(stan);
        const stall = server.proxy.add({ type: 'stall' });
        await publish(1);
        server.proxy.resetConnections();
        stall.remove();
        // An age that is asked for is younger by this when it arrives than the message is.
        server.proxy.add({ type: 'latency', latency: 150, stream: 'upstream' });
        await recorder.until('reconnect');
        await publish(2);
        await exactly(got, [1, 2]);
      });
    }

    it('a durable goes on where the server has it', async () => {
      await publish(1, 3);
      const stan = await connect();
      const { got } = await collect(stan, { startAt: 'first', durableName: 'd' });
      await until(
        () => got.length === 3,
        () => got.join(),
      );
      const recorder = await cut(stan);
      await publish(4, 5);
      await mend(recorder);
      await publish(6);
      await exactly(got, range(1, 6));
    });

    it("a queue group that starts at 'first' is not handed its history again", async () => {
      await publish(1, 200);
      const stan = await connect();
      const { got } = await collect(stan, { startAt: 'first', queueGroup: 'q', ackWait: 1000 });
      await until(
        () => got.length === 200,
        () => `${got.length}`,
      );
      // What was received within ackWait may come again; all this is older.
      await new Promise((resolve) => setTimeout(resolve, 1100));
      const recorder = await cut(stan);
      await publish(201, 205);
      await mend(recorder);
      await publish(206);
      await until(
        () => got.includes(206),
        () => got.slice(200).join(),
      );
      assert.deepEqual([...new Set(got)], range(1, 206));
      assert.ok(got.length < 210, `${got.length - 206} of 200 were handed over again`);
    });

    it('two members of one queue group lose nothing between them', async () => {
      const [one, two] = [await connect(), await connect()];
      const [a, b] = [await collect(one, { queueGroup: 'q' }), await collect(two, { queueGroup: 'q' })];
      await publish(1, 20);
      const recorders = await Promise.all([cut(one), new Recorder(two).until('connection_lost')]);
      await publish(21, 40);
      await mend(recorders[0]);
      await publish(41, 60);
      await until(
        () => new Set([...a.got, ...b.got]).size === 60,
        () => `${a.got.join()} ${b.got.join()}`,
      );
      assert.ok(a.got.length > 0 && b.got.length > 0);
    });

    it('many come back over a thin way, although all together take longer than connectTimeout', async () => {
      const stan = await connect({ connectTimeout: 1000 });
      const got: number[] = [];
      const many = Array.from({ length: 50 }, (_, i) => stan.subscribe(`${channel}.${i}`, () => void got.push(i)));
      await Promise.all(many);
      // 2 kB a second: each answer takes 50 ms.
      server.proxy.add({ type: 'bandwidth', rate: 2, stream: 'downstream' });
      const recorder = new Recorder(stan);
      server.proxy.resetConnections();
      const startedAt = performance.now();
      await recorder.until('reconnect');
      assert.ok(performance.now() - startedAt > 1500, 'it was not slow at all');
      server.proxy.clear();
      await Promise.all(many.map((_, i) => publish(1, 1, `${channel}.${i}`)));
      await until(
        () => got.length === 50,
        () => `${got.length} of 50`,
      );
      assert.equal(recorder.count('connection_lost'), 1);
    });

    it('what a handler was working on is acknowledged, and handed to none a second time', async () => {
      // Without pings, what comes is what the server sends again.
      const stan = await connect({ pings: { interval: 600_000 } });
      const started: number[] = [];
      const go = deferred();
      const subscription = await stan.subscribe(
        channel,
        async (message) => {
          started.push(message.sequence);
          if (message.sequence === 2) await go.promise;
        },
        { durableName: 'd', concurrency: 2, ackWait: 1000 },
      );
      await publish(1, 4);
      await until(
        () => started.length === 4,
        () => started.join(),
      );
      const recorder = await cut(stan);
      await mend(recorder);
      await publish(5);
      await until(
        () => started.includes(5),
        () => started.join(),
      );
      const { downstream } = server.proxy.stats;
      await until(() => server.proxy.stats.downstream > downstream + 50, 'the server did not send it again');
      assert.deepEqual(started, [1, 2, 3, 4, 5]);
      assert.equal(subscription.lastSequence, 1);
      go.resolve();
      await until(
        () => subscription.lastSequence === 5,
        () => String(subscription.lastSequence),
      );
      await until(async () => (await subscriptions())[0]?.pending_count === 0, 'something is not acknowledged');
    });
  });

  it('a request that is never answered ends the session, and the next one makes the subscription', async () => {
    const stan = await connect({ connectTimeout: 300, pings: { interval: 600_000 } });
    const recorder = new Recorder(stan);
    // The answers are lost, the connection is not.
    const hole = server.proxy.add({ type: 'stall', stream: 'downstream' });
    const subscribed = collect(stan, { startAt: 'first' });
    await recorder.until('connection_lost');
    hole.remove();
    const { got } = await subscribed;
    await publish(1);
    await exactly(got, [1]);
    const { reason, error } = recorder.of('connection_lost')[0]!;
    assert.equal(reason, 'request_timeout');
    assert.match(error.message, new RegExp(`no answer to the subscribe request for '${channel}' within \\d+ ms`));
  });

  describe('during an outage', () => {
    it('subscribe() waits for the next session', async () => {
      const stan = await connect();
      await publish(1, 2);
      const recorder = await cut(stan);
      const waiting = collect(stan, { startAt: 'first' });
      assert.equal(await isSettled(waiting), false);
      await mend(recorder);
      const { got } = await waiting;
      await exactly(got, [1, 2]);
    });

    it("subscribe() from 'new' gets what is published from the moment the server has it", async () => {
      const stan = await connect();
      const recorder = await cut(stan);
      const waiting = collect(stan);
      await publish(1);
      await mend(recorder);
      const { got } = await waiting;
      await publish(2);
      await exactly(got, [2]);
    });

    it('subscribe() can be given up by its signal', async () => {
      const stan = await connect();
      const recorder = await cut(stan);
      const abort = new AbortController();
      const waiting = stan.subscribe(channel, () => {}, { signal: abort.signal });
      abort.abort(new Error('enough'));
      assert.equal(((await rejection(waiting, AbortedError)).cause as Error).message, 'enough');
      await mend(recorder);
      assert.deepEqual(await subscriptions(), []);
      assert.equal(stan.stats().subscriptions, 0);
    });

    it('unsubscribe() drops the durable on the next session, and resolves then', async () => {
      const stan = await connect();
      const { got, subscription } = await collect(stan, { durableName: 'd', startAt: 'first' });
      await publish(1, 2);
      await until(
        () => got.length === 2,
        () => got.join(),
      );
      const recorder = await cut(stan);
      const dropped = subscription.unsubscribe();
      assert.equal(await isSettled(dropped), false);
      await mend(recorder);
      await dropped;
      assert.deepEqual(await subscriptions(), []);
      // Under the same name it starts over.
      const again = await collect(stan, { durableName: 'd', startAt: 'first' });
      await exactly(again.got, [1, 2]);
    });

    it('unsubscribe() rejects if the client is closed before', async () => {
      const stan = await connect();
      const { subscription } = await collect(stan, { durableName: 'd' });
      await cut(stan);
      const dropped = rejection(subscription.unsubscribe(), ClosedError, 'the server still keeps it');
      await stan.close({ timeout: 10 });
      await dropped;
    });

    it('close() is over at once, and keeps the durable', async () => {
      const stan = await connect();
      const { subscription, got } = await collect(stan, { durableName: 'd', startAt: 'first' });
      await publish(1, 2);
      await until(
        () => got.length === 2,
        () => got.join(),
      );
      const recorder = await cut(stan);
      await subscription.close();
      await publish(3);
      await mend(recorder);
      const again = await collect(stan, { durableName: 'd' });
      await until(
        () => again.got.includes(3),
        () => again.got.join(),
      );
      assert.deepEqual(
        [...again.got].filter((sequence) => sequence === 3),
        [3],
      );
    });
  });

  describe('the end of a subscription', () => {
    it('close() keeps a durable, unsubscribe() drops it', async () => {
      const stan = await connect();
      const first = await collect(stan, { durableName: 'd', startAt: 'first' });
      await publish(1, 2);
      await until(
        () => first.got.length === 2,
        () => first.got.join(),
      );
      await first.subscription.close();
      assert.deepEqual(first.log, ['ready', 'closed']);
      assert.equal(stan.stats().subscriptions, 0);
      assert.equal((await subscriptions())[0]?.is_offline, true);
      await publish(3);
      const second = await collect(stan, { durableName: 'd', startAt: 'first' });
      await exactly(second.got, [3]);
      await second.subscription.unsubscribe();
      assert.deepEqual(await subscriptions(), []);
      const third = await collect(stan, { durableName: 'd', startAt: 'first' });
      await exactly(third.got, [1, 2, 3]);
    });

    it('is idempotent, and delivers nothing more', async () => {
      const stan = await connect();
      const { got, subscription } = await collect(stan);
      await publish(1);
      await until(
        () => got.length === 1,
        () => got.join(),
      );
      await Promise.all([subscription.close(), subscription.close(), subscription.unsubscribe()]);
      await publish(2);
      await subscription[Symbol.asyncDispose]();
      assert.deepEqual(got, [1]);
      assert.deepEqual(await subscriptions(), []);
    });

    it('a signal closes it', async () => {
      const stan = await connect();
      const abort = new AbortController();
      const { subscription, log } = await collect(stan, { signal: abort.signal });
      abort.abort();
      await until(
        () => log.includes('closed AbortedError'),
        () => log.join(),
      );
      assert.deepEqual(await subscriptions(), []);
      await subscription.close();
      await rejection(
        stan.subscribe(channel, () => {}, { signal: abort.signal }),
        AbortedError,
      );
    });

    it('waits for the running handler, and acknowledges it', async () => {
      const stan = await connect();
      const go = deferred();
      const started: number[] = [];
      const subscription = await stan.subscribe(
        channel,
        async (message) => {
          started.push(message.sequence);
          await go.promise;
        },
        { durableName: 'd' },
      );
      await publish(1, 3);
      await until(() => started.length === 1, 'not started');
      const closing = subscription.close();
      assert.equal(await isSettled(closing), false);
      go.resolve();
      await closing;
      const { got } = await collect(stan, { durableName: 'd' });
      await exactly(got, [2, 3]);
    });

    it('within its own handler does not wait for itself for ever', async () => {
      const stan = await connect();
      let closed = false;
      const subscription = await stan.subscribe(
        channel,
        async () => {
          await subscription.close();
          closed = true;
        },
        { ackWait: 1000 },
      );
      await publish(1);
      await until(() => closed, 'it waits still');
    });
  });

  describe('a durable that is in use', () => {
    it('by this client: is refused, and the others live', async () => {
      const stan = await connect();
      const first = await collect(stan, { durableName: 'd' });
      const error = await rejection(collect(stan, { durableName: 'd' }), SubscribeError, channel, "durable 'd'");
      assert.equal(error.code, 'ERR_STAN_SUBSCRIBE');
      assert.equal(error.channel, channel);
      await publish(1);
      await exactly(first.got, [1]);
      // Another name, and another channel, are other durables.
      await collect(stan, { durableName: 'e' });
      const elsewhere = await stan.subscribe(uniqueName('else'), () => {}, { durableName: 'd' });
      await elsewhere.close();
      // And when it is free it may be had again.
      await first.subscription.close();
      const again = await collect(stan, { durableName: 'd' });
      await publish(2);
      await exactly(again.got, [2]);
    });

    it('and what else the server refuses for good, with its reason', async () => {
      channel = `few.${uniqueName('subs')}`;
      const stan = await connect();
      const recorder = new Recorder(stan);
      const [one] = [await collect(stan), await collect(stan)];
      const error = await rejection(collect(stan), SubscribeError, channel, 'too many subscriptions');
      assert.equal(error.channel, channel);
      assert.equal(error.serverText, 'too many subscriptions per channel');
      await publish(1);
      await exactly(one.got, [1]);
      assert.equal(stan.stats().subscriptions, 2);
      assert.equal(recorder.count('connection_lost'), 0);
      assert.equal(recorder.count('error'), 0, 'who called subscribe() was told');
    });

    it('two at once, one wins', async () => {
      const stan = await connect();
      const both = await Promise.allSettled([collect(stan, { durableName: 'd' }), collect(stan, { durableName: 'd' })]);
      assert.deepEqual(both.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
      assert.equal(stan.stats().subscriptions, 1);
      assert.equal(stan.stats().losses, 0);
    });
  });

  describe('acknowledgement', () => {
    it('follows the promise of the handler', async () => {
      const stan = await connect();
      const go = deferred();
      await stan.subscribe(channel, () => go.promise, { durableName: 'd' });
      await publish(1);
      await until(async () => (await subscriptions())[0]?.pending_count === 1, 'not delivered');
      go.resolve();
      await until(async () => (await subscriptions())[0]?.pending_count === 0, 'not acknowledged');
    });

    it('a handler that throws or rejects gets the message again after ackWait', async () => {
      const stan = await connect();
      const seen: string[] = [];
      const errors: unknown[] = [];
      const subscription = await stan.subscribe(
        channel,
        (message) => {
          seen.push(`${message.sequence}${message.redelivered ? 'r' : ''}`);
          if (message.redelivered) return;
          if (message.sequence === 1) throw new Error('threw');
          if (message.sequence === 2) return Promise.reject('a string');
          return undefined;
        },
        { ackWait: 1000 },
      );
      subscription.on('handler_error', ({ error, message }) => errors.push([error, message.sequence]));
      await publish(1, 3);
      await until(
        () => seen.length === 5,
        () => seen.join(),
      );
      assert.deepEqual([...seen].sort(), ['1', '1r', '2', '2r', '3']);
      assert.equal((errors[0] as [Error])[0].message, 'threw');
      assert.deepEqual(errors[1], ['a string', 2]);
      assert.equal(errors.length, 2);
      assert.equal(subscription.lastSequence, 3);
      assert.equal(stan.stats().losses, 0);
    });

    it('manualAck: what is not acknowledged is handed over again', async () => {
      const stan = await connect();
      const seen: string[] = [];
      await stan.subscribe(
        channel,
        (message) => {
          seen.push(`${message.sequence}${message.redelivered ? 'r' : ''}`);
          if (message.sequence !== 2 || message.redelivered) message.ack();
        },
        { manualAck: true, ackWait: 1000, durableName: 'd' },
      );
      await publish(1, 3);
      await until(
        () => seen.length === 4,
        () => seen.join(),
      );
      assert.deepEqual(seen, ['1', '2', '3', '2r']);
      await until(async () => (await subscriptions())[0]?.pending_count === 0, 'something is not acknowledged');
    });

    it('manualAck: ack() after the handler has returned, and after a loss', async () => {
      const stan = await connect();
      const kept: StanMessage[] = [];
      const subscription = await stan.subscribe(channel, (message) => void kept.push(message), {
        manualAck: true,
        ackWait: 5000,
        durableName: 'd',
      });
      await publish(1, 2);
      await until(
        () => kept.length === 2,
        () => String(kept.length),
      );
      assert.equal(subscription.lastSequence, 0);
      kept[0]!.ack();
      assert.equal(subscription.lastSequence, 1);
      const recorder = await cut(stan);
      kept[1]!.ack();
      kept[1]!.ack();
      await mend(recorder);
      // The durable's pending message comes again, and is acknowledged without the handler.
      await until(async () => (await subscriptions())[0]?.pending_count === 0, 'it is not acknowledged');
      assert.equal(kept.length, 2);
      assert.equal(subscription.lastSequence, 2);
    });

    it('concurrency: so many handlers at a time, and no more', async () => {
      const stan = await connect();
      let running = 0;
      let most = 0;
      const gates = new Map<number, ReturnType<typeof deferred<void>>>();
      const subscription = await stan.subscribe(
        channel,
        async (message) => {
          most = Math.max(most, ++running);
          const gate = deferred();
          gates.set(message.sequence, gate);
          await gate.promise;
          running--;
        },
        { concurrency: 3 },
      );
      await publish(1, 5);
      await until(
        () => gates.size === 3,
        () => String(gates.size),
      );
      gates.get(2)!.resolve();
      await until(
        () => gates.size === 4,
        () => String(gates.size),
      );
      assert.equal(subscription.lastSequence, 0, '1 is not done');
      gates.get(1)!.resolve();
      await until(
        () => subscription.lastSequence === 2,
        () => String(subscription.lastSequence),
      );
      await until(
        () => gates.size === 5,
        () => String(gates.size),
      );
      for (const gate of gates.values()) gate.resolve();
      await until(
        () => subscription.lastSequence === 5,
        () => String(subscription.lastSequence),
      );
      assert.equal(most, 3);
    });

    it('in order, one at a time, whatever the handlers take', async () => {
      const stan = await connect();
      const order: string[] = [];
      await stan.subscribe(channel, async (message) => {
        order.push(`>${message.sequence}`);
        await new Promise((resolve) => setTimeout(resolve, message.sequence === 1 ? 20 : 0));
        order.push(`<${message.sequence}`);
      });
      await publish(1, 4);
      await until(
        () => order.length === 8,
        () => order.join(),
      );
      assert.deepEqual(order, ['>1', '<1', '>2', '<2', '>3', '<3', '>4', '<4']);
    });

    it('maxInFlight: the server sends no more than that ahead', async () => {
      const stan = await connect();
      const go = deferred();
      await stan.subscribe(channel, () => go.promise, { maxInFlight: 2, durableName: 'd' });
      await publish(1, 5);
      await until(async () => (await subscriptions())[0]?.is_stalled === true, 'it is not stalled');
      assert.equal((await subscriptions())[0]!.pending_count, 2);
      go.resolve();
      await until(
        () => stan.stats().delivered === 5,
        () => String(stan.stats().delivered),
      );
    });
  });

  describe('dead letters', () => {
    it('after maxDeliveries in vain: handed to deadLetter, acknowledged, told', async () => {
      const stan = await connect();
      const seen: number[] = [];
      const dead: [number, unknown][] = [];
      const told: number[] = [];
      const subscription = await stan.subscribe(
        channel,
        (message) => {
          seen.push(message.sequence);
          if (message.sequence === 1) throw new Error(`poison ${seen.length}`);
        },
        {
          ackWait: 1000,
          maxDeliveries: 2,
          durableName: 'd',
          deadLetter: async (message, error) => {
            dead.push([message.sequence, error]);
            await stan.publish(`${channel}.dead`, message.data);
          },
        },
      );
      subscription.on('dead_letter', ({ message, error }) => {
        told.push(message.sequence);
        assert.equal(error, dead[0]![1]);
      });
      await publish(1, 2);
      await until(
        () => told.length === 1,
        () => seen.join(),
      );
      assert.deepEqual(
        dead.map(([sequence]) => sequence),
        [1],
      );
      assert.match((dead[0]![1] as Error).message, /poison/);
      assert.equal(seen.filter((sequence) => sequence === 1).length, 2);
      await until(async () => (await subscriptions())[0]?.pending_count === 0, 'it is not acknowledged');
      assert.equal(subscription.lastSequence, 2);
    });

    it('a deadLetter that fails keeps the message', async () => {
      const stan = await connect();
      let buried = 0;
      const subscription = await stan.subscribe(
        channel,
        () => {
          throw new Error('poison');
        },
        {
          ackWait: 1000,
          maxDeliveries: 1,
          deadLetter: () => {
            if (++buried === 1) throw new Error('no room in the graveyard');
          },
        },
      );
      const errors: string[] = [];
      subscription.on('handler_error', ({ error }) => errors.push((error as Error).message));
      await publish(1);
      await until(
        () => buried === 2,
        () => String(buried),
      );
      assert.deepEqual(errors, ['poison', 'no room in the graveyard', 'poison']);
      await until(() => subscription.lastSequence === 1, 'it is not given up');
    });
  });

  describe('messages()', () => {
    it('is acknowledged when the next one is asked for; leaving the loop keeps the durable', async () => {
      const stan = await connect();
      await publish(1, 5);
      const got: number[] = [];
      for await (const message of stan.messages(channel, { startAt: 'first', durableName: 'd', ackWait: 1000 })) {
        got.push(message.sequence);
        if (got.length === 3) break;
      }
      assert.deepEqual(got, [1, 2, 3]);
      assert.equal(stan.stats().subscriptions, 0);
      const rest: number[] = [];
      for await (const message of stan.messages(channel, { durableName: 'd' })) {
        rest.push(message.sequence);
        if (message.sequence === 5) break;
      }
      // The last one of the first loop was not acknowledged.
      assert.deepEqual(rest, [3, 4, 5]);
    });

    it('goes on through losses', async () => {
      const stan = await connect();
      const iterator = stan.messages(channel, { startAt: 'first' });
      await publish(1, 2);
      assert.equal(await sequenceOf(iterator.next()), 1);
      const recorder = await cut(stan);
      await publish(3);
      await mend(recorder);
      assert.equal(await sequenceOf(iterator.next()), 2);
      assert.equal(await sequenceOf(iterator.next()), 3);
      await iterator.return?.();
      assert.deepEqual(await iterator.next(), { done: true, value: undefined });
      await until(async () => (await subscriptions()).length === 0, 'the server still has it');
    });

    it('ends with the client, and with its signal', async () => {
      const stan = await connect();
      const abort = new AbortController();
      const iterator = stan.messages(channel, { signal: abort.signal });
      const next = iterator.next();
      abort.abort();
      await rejection(next, AbortedError);
      assert.equal((await iterator.next()).done, true);
      await publish(1);
      const other = stan.messages(channel, { startAt: 'first' });
      assert.equal(await sequenceOf(other.next()), 1);
      const waiting = other.next();
      await stan.close();
      assert.equal((await waiting).done, true);
    });

    it('rejects the first next() when it cannot subscribe', async () => {
      const stan = await connect();
      await collect(stan, { durableName: 'd' });
      const iterator = stan.messages(channel, { durableName: 'd' });
      await rejection(iterator.next(), SubscribeError);
      assert.equal((await iterator.next()).done, true);
    });
  });

  it('a message knows what it is', async () => {
    const stan = await connect();
    const got: StanMessage[] = [];
    await stan.subscribe(channel, (message) => void got.push(message));
    const before = Date.now();
    await publisher.publish(channel, JSON.stringify({ größe: 5 }));
    await publisher.publish(channel, '{ broken');
    await publisher.publish(channel, '');
    await until(
      () => got.length === 3,
      () => String(got.length),
    );
    const [json, broken, empty] = got as [StanMessage, StanMessage, StanMessage];
    assert.equal(json.channel, channel);
    assert.equal(json.sequence, 1);
    assert.equal(json.redelivered, false);
    assert.equal(json.redeliveryCount, 0);
    assert.deepEqual(json.json(), { größe: 5 });
    assert.equal(json.string(), '{"größe":5}');
    assert.equal(json.data, json.data);
    assert.ok(Math.abs(json.timestamp.getTime() - before) < 10_000);
    // What people write who come from node-nats-streaming.
    const original = broken as unknown as Record<string, () => unknown>;
    assert.throws(() => original.getData?.(), /message\.string\(\)/);
    assert.throws(() => original.getSequence?.(), /message\.sequence/);
    assert.throws(() => original.isRedelivered?.(), /message\.redelivered/);
    assert.throws(
      () => broken.json(),
      (error: Error) =>
        error instanceof ResilientStanError && error.message.includes(`message 2 of channel '${channel}'`),
    );
    assert.equal(empty.data.length, 0);
    assert.equal(empty.string(), '');
    assert.deepEqual(Object.keys(JSON.parse(JSON.stringify(json)) as object).sort(), [
      'bytes',
      'channel',
      'redelivered',
      'sequence',
      'timestamp',
    ]);
  });

  describe('what the server has no more', () => {
    beforeEach(() => {
      channel = `few.${uniqueName('gap')}`;
    });

    it('is a gap: told once, with both ends, and reading goes on above it', async () => {
      const stan = await connect();
      const { got, log } = await collect(stan, { startAt: 'first' });
      await publish(1, 2);
      await until(
        () => got.length === 2,
        () => got.join(),
      );
      const recorder = await cut(stan);
      await publish(3, 12);
      await mend(recorder);
      await exactly(got, [1, 2, 8, 9, 10, 11, 12]);
      assert.deepEqual(
        log.filter((line) => line.startsWith('gap')),
        ['gap 3..7'],
      );
      await publish(13);
      await exactly(got, [1, 2, 8, 9, 10, 11, 12, 13]);
    });

    it("is none before the start: not for 'first', but for a sequence that was asked for", async () => {
      await publish(1, 8);
      const stan = await connect();
      const first = await collect(stan, { startAt: 'first' });
      await exactly(first.got, [4, 5, 6, 7, 8]);
      const asked = await collect(stan, { startAt: { sequence: 2 } });
      await exactly(asked.got, [4, 5, 6, 7, 8]);
      await until(
        () => asked.log.includes('gap 2..3'),
        () => asked.log.join(),
      );
      assert.ok(!first.log.some((line) => line.startsWith('gap')), first.log.join());
    });
  });
});

describe('a channel that starts over', function () {
  this.timeout(30_000);
  const clients = new Clients();
  afterEach(() => clients.closeAll());

  it('is told as a reset, to subscriptions of every kind, and read from its new beginning', async () => {
    await using cluster = await StanCluster.start({ mode: 'single', store: 'memory' });
    const [server] = cluster.nodes as [StanNode];
    const channel = uniqueName('reset');
    const stan = await clients.connect(cluster.urls, { clientId: uniqueName('me') });
    const kinds: [string, SubscribeOptions][] = [
      ['plain', {}],
      ['durable', { durableName: 'd' }],
      ['queue', { queueGroup: 'q' }],
      ['durable queue', { queueGroup: 'q', durableName: 'd' }],
    ];
    const got = new Map<string, string[]>(kinds.map(([kind]) => [kind, []]));
    const resets: string[] = [];
    for (const [kind, options] of kinds) {
      const subscription = await stan.subscribe(channel, (message) => void got.get(kind)!.push(message.string()), {
        ...options,
        startAt: 'first',
      });
      subscription.on('reset', ({ expected, got: came }) => resets.push(`${kind} ${expected} ${came}`));
    }
    for (const value of ['a', 'b', 'c']) await stan.publish(channel, value);
    await until(() => [...got.values()].every((values) => values.length === 3), 'not received');
    await server.kill();
    await server.start();
    for (const value of ['d', 'e']) await stan.publish(channel, value);
    const report = (): string => `${JSON.stringify([...got])} ${resets.join()}`;
    await until(() => [...got.values()].every((values) => values.length >= 5), report);
    for (const values of got.values()) assert.deepEqual(values, ['a', 'b', 'c', 'd', 'e']);
    assert.equal(resets.length, 4, report());
  });
});
