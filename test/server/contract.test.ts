/**
 * What a client promises to whoever uses it, asked of two clients: the real one at a real server, and MemoryStan. A promise that
 * holds for one of them alone makes the double a liar. What needs a cluster, a network or a process is elsewhere.
 */
import assert from 'node:assert/strict';
import {
  AbortedError,
  ClientIdConflictError,
  ClosedError,
  ConnectError,
  InvalidArgumentError,
  OutboxFullError,
  PayloadTooLargeError,
  PublishTimeoutError,
  ResilientStan,
  SubscribeError,
  type ConnectOptions,
  type ReadRange,
  type ResilientSubscription,
  type StanClient,
  type StanMessage,
  type StartAt,
  type SubscribeOptions,
} from '../../src/index.js';
import { MemoryServer, MemoryStan, StanCluster, type StanNode } from '../../src/testing/index.js';
import { deferred, isSettled, Recorder, rejection, uniqueName, until } from '../support/clients.js';

/** Channels of this beginning keep five messages. */
const FEW = 'few.';
const MAX_PAYLOAD = 65_536;

interface Kind {
  start(): Promise<void>;
  stop(): Promise<void>;
  connect(options?: ConnectOptions): Promise<ResilientStan>;
  create(options?: ConnectOptions): ResilientStan;
  /** A client of a server whose channels that begin with `few.` keep five messages. */
  connectToFew(options?: ConnectOptions): Promise<ResilientStan>;
  /** The server is out of reach until `restore`. */
  outage(): Promise<void>;
  restore(): Promise<void>;
  /** Lets time pass, or leaves it to whoever waits. */
  pass(ms: number): Promise<void>;
  /** How many messages the server has sent to the subscriptions of a channel that are not acknowledged. */
  pending(channel: string): Promise<number>;
}

class RealKind implements Kind {
  #cluster!: StanCluster;
  #server!: StanNode;

  async start(): Promise<void> {
    this.#cluster = await StanCluster.start({
      mode: 'single',
      proxied: true,
      config: {
        max_payload: MAX_PAYLOAD,
        streaming: { store_limits: { max_channels: 0, channels: { [`${FEW}>`]: { max_msgs: 5 } } } },
      },
    });
    this.#server = this.#cluster.nodes[0]!;
  }

  stop(): Promise<void> {
    return this.#cluster.stop();
  }

  connect(options?: ConnectOptions): Promise<ResilientStan> {
    return ResilientStan.connect(this.#cluster.urls, options);
  }

  create(options?: ConnectOptions): ResilientStan {
    return ResilientStan.create(this.#cluster.urls, options);
  }

  connectToFew(options?: ConnectOptions): Promise<ResilientStan> {
    return this.connect(options);
  }

  async outage(): Promise<void> {
    await this.#server.proxy.down();
  }

  async restore(): Promise<void> {
    await this.#server.proxy.up();
  }

  async pass(): Promise<void> {
    // The tests wait for what it brings.
  }

  async pending(channel: string): Promise<number> {
    const subscriptions = (await this.#server.monitor.channelz(channel))?.subscriptions ?? [];
    return subscriptions.reduce((sum, { pending_count: count }) => sum + count, 0);
  }
}

class MemoryKind implements Kind {
  readonly #server = new MemoryServer({ maxPayload: MAX_PAYLOAD });
  readonly #few = new MemoryServer({ maxMessages: 5 });

  async start(): Promise<void> {}

  async stop(): Promise<void> {}

  connect(options?: ConnectOptions): Promise<MemoryStan> {
    return MemoryStan.connect(this.#server, options);
  }

  create(options?: ConnectOptions): MemoryStan {
    return MemoryStan.create(this.#server, options);
  }

  connectToFew(options?: ConnectOptions): Promise<MemoryStan> {
    return MemoryStan.connect(this.#few, options);
  }

  async outage(): Promise<void> {
    this.#server.outage();
  }

  async restore(): Promise<void> {
    this.#server.restore();
  }

  async pass(ms: number): Promise<void> {
    await this.#server.advance(ms);
  }

  async pending(channel: string): Promise<number> {
    return this.#server.subscriptions(channel).reduce((sum, { pending }) => sum + pending.length, 0);
  }
}

const MEMORY = 'MemoryStan';
const KINDS: Readonly<Record<string, () => Kind>> = {
  'ResilientStan at a real server': () => new RealKind(),
  [MEMORY]: () => new MemoryKind(),
};

for (const [name, make] of Object.entries(KINDS)) {
  describe(`the contract of ${name}`, function () {
    this.timeout(20_000);
    const kind = make();
    const clients = new Set<ResilientStan>();
    let channel: string;
    /** A client of the test. */
    let stan: ResilientStan;

    before(() => kind.start());
    after(() => kind.stop());
    beforeEach(async () => {
      channel = uniqueName('contract');
      stan = await connect();
    });
    afterEach(async () => {
      await kind.restore();
      await Promise.all([...clients].map((client) => client.close({ timeout: 0 })));
      clients.clear();
    });

    const mine = <Stan extends ResilientStan>(client: Stan): Stan => {
      clients.add(client);
      return client;
    };
    const connect = async (options: ConnectOptions = {}): Promise<ResilientStan> =>
      mine(await kind.connect({ clientId: uniqueName('me'), ...options }));
    /** Publishes 'from', …, 'to', one after the other. */
    const publish = async (from: number, to = from, client: StanClient = stan): Promise<void> => {
      for (let i = from; i <= to; i++) await client.publish(channel, String(i));
    };
    /** Subscribes, and keeps the texts that come. */
    const collect = async (
      options?: SubscribeOptions,
      client: StanClient = stan,
    ): Promise<{ got: string[]; subscription: ResilientSubscription }> => {
      const got: string[] = [];
      const subscription = await client.subscribe(channel, (message) => void got.push(message.string()), options);
      return { got, subscription };
    };
    /** Exactly these have come, and no other: what is published last comes right after them. */
    const exactly = async (got: string[], expected: (string | number)[]): Promise<void> => {
      const end = uniqueName('end');
      await stan.publish(channel, end);
      await until(
        () => got.includes(end),
        () => `the end did not come, but: ${got.join(' ')}`,
      );
      assert.deepEqual(got, [...expected.map(String), end]);
    };
    const comes = (got: readonly unknown[], count: number): Promise<void> =>
      until(
        () => got.length >= count,
        () => `${got.length} of ${count} have come`,
      );

    describe('connecting', () => {
      it('resolves to a client that is connected', async () => {
        const client = mine(await kind.connect({ clientId: 'contract-1' }));
        const recorder = new Recorder(client);
        assert.deepEqual(
          [client.state, client.clusterId, client.clientId],
          ['connected', 'test-cluster', 'contract-1'],
        );
        assert.match(client.server ?? '', /^nats:\/\/[\w.]+:\d+$/);
        await client.connected();
        await recorder.until('connect');
        assert.deepEqual(recorder.of('connect'), [{ server: client.server, attempt: 1 }]);
        assert.ok(client instanceof ResilientStan);
      });

      it('makes up a client ID, another one each time', async () => {
        const [one, two] = [mine(await kind.connect()), mine(await kind.connect())];
        assert.match(one.clientId, /^[\w-]+$/);
        assert.notEqual(one.clientId, two.clientId);
      });

      it('by create() comes later, and takes publishes and subscriptions at once', async () => {
        const client = mine(kind.create());
        assert.equal(client.state, 'connecting');
        const got: string[] = [];
        const subscribed = client.subscribe(channel, (message) => void got.push(message.string()));
        await client.connected();
        await subscribed;
        await client.publish(channel, 'one');
        await comes(got, 1);
        assert.equal(client.state, 'connected');
      });

      it('refuses a client ID that another live client has, until that one is closed', async () => {
        const options = {
          clientId: uniqueName('twice'),
          clientIdConflict: 'close',
          initialConnect: { retries: 0 },
        } as const;
        const first = mine(await kind.connect(options));
        const error = await rejection(kind.connect(options), ClientIdConflictError, options.clientId);
        assert.equal(error.clientId, options.clientId);
        await first.close();
        mine(await kind.connect(options));
      });

      it('rejects when nobody is there, and names the servers', async () => {
        await kind.outage();
        const error = await rejection(
          kind.connect({ initialConnect: { retries: 0 } }),
          ConnectError,
          /no server could be/,
        );
        assert.equal(error.failures.length, 1);
        assert.match(error.failures[0]!.server, /^nats:/);
      });

      it('by create() waits until somebody is there', async () => {
        await kind.outage();
        const client = mine(kind.create());
        const acknowledged = client.publish(channel, 'early');
        await until(() => client.health().lastError !== undefined, 'no attempt has failed');
        assert.equal(await isSettled(acknowledged), false);
        await kind.restore();
        await acknowledged;
      });

      it('is called off by its signal', async () => {
        await rejection(kind.connect({ signal: AbortSignal.abort() }), AbortedError);
        const controller = new AbortController();
        const client = mine(await kind.connect({ signal: controller.signal }));
        controller.abort();
        assert.ok((await client.closed()) instanceof AbortedError);
      });
    });

    describe('misuse', () => {
      const handler = (): void => undefined;
      const cases: Readonly<Record<string, (client: ResilientStan) => Promise<unknown>>> = {
        'a client ID with a blank': () => kind.connect({ clientId: 'a b' }),
        'an unknown option of connect': () => kind.connect({ clientID: 'a' } as never),
        'a wrong limit': () => kind.connect({ publishing: { maxPending: 0 } }),
        'options that are none': () => kind.connect('a' as never),
        'no channel': (client) => client.publish('', 'x'),
        'a wildcard': (client) => client.publish('a.*', 'x'),
        'a payload that is none': (client) => client.publish('a', 5 as never),
        'a wrong timeout': (client) => client.publish('a', 'x', { timeout: -1 }),
        'no handler': (client) => client.subscribe('a', undefined as never),
        'a window of nothing': (client) => client.subscribe('a', handler, { maxInFlight: 0 }),
        'an unknown option of subscribe': (client) => client.subscribe('a', handler, { durable: 'a' } as never),
        'an unknown start': (client) => client.subscribe('a', handler, { startAt: 'beginning' as never }),
        'a durable of a nameless client': async () =>
          mine(await kind.connect()).subscribe('a', handler, { durableName: 'd' }),
        'manual acknowledgements of an iterator': (client) => client.messages('a', { manualAck: true }).next(),
      };
      for (const [what, call] of Object.entries(cases)) {
        it(`is told before anything is sent: ${what}`, async () => {
          await rejection(call(stan), InvalidArgumentError);
        });
      }
    });

    describe('publishing', () => {
      it('resolves when the message is stored, to what the cluster calls it', async () => {
        const ack = await stan.publish(channel, 'one');
        assert.deepEqual([ack.channel, ack.attempts], [channel, 1]);
        assert.match(ack.guid, /^\w{22}$/);
        assert.notEqual((await stan.publish(channel, 'two')).guid, ack.guid);
      });

      it('takes text and bytes, which may be used again at once', async () => {
        const got: Buffer[] = [];
        await stan.subscribe(channel, (message) => void got.push(message.data));
        const bytes = Uint8Array.of(0, 255, 10);
        const sent = [stan.publish(channel, 'äöü €'), stan.publish(channel, bytes), stan.publish(channel, '')];
        bytes.fill(7);
        await Promise.all(sent);
        await comes(got, 3);
        assert.deepEqual(got, [Buffer.from('äöü €'), Buffer.of(0, 255, 10), Buffer.alloc(0)]);
      });

      it('keeps the order in which it was called', async () => {
        const { got } = await collect();
        const texts = Array.from({ length: 300 }, (_, i) => String(i));
        await Promise.all(texts.map((text) => stan.publish(channel, text)));
        await exactly(got, texts);
      });

      it('refuses what is larger than the server takes', async () => {
        const error = await rejection(stan.publish(channel, 'x'.repeat(MAX_PAYLOAD + 1)), PayloadTooLargeError);
        assert.equal(error.delivery, 'not-sent');
      });

      it('keeps what is published in an outage, and publishes it in its order', async () => {
        const { got } = await collect();
        const recorder = new Recorder(stan);
        await kind.outage();
        await recorder.until('connection_lost');
        const acks = [1, 2, 3].map((i) => stan.publish(channel, String(i)));
        assert.equal(await isSettled(Promise.race(acks)), false);
        assert.equal(stan.stats().pending, 3);
        await kind.restore();
        await Promise.all(acks);
        await exactly(got, [1, 2, 3]);
      });

      it('gives a message up at its timeout, and at its signal', async () => {
        const recorder = new Recorder(stan);
        await kind.outage();
        await recorder.until('connection_lost');
        const controller = new AbortController();
        const late = rejection(stan.publish(channel, 'late', { timeout: 50 }), PublishTimeoutError);
        const aborted = stan.publish(channel, 'aborted', { signal: controller.signal });
        controller.abort('enough');
        assert.equal((await rejection(aborted, AbortedError)).cause, 'enough');
        await kind.pass(50);
        assert.equal((await late).delivery, 'not-sent');
      });

      it('is bounded', async () => {
        const client = await connect({ publishing: { maxPending: 2 } });
        const recorder = new Recorder(client);
        await kind.outage();
        await recorder.until('connection_lost');
        const kept = [client.publish(channel, '1'), client.publish(channel, '2')];
        const error = await rejection(client.publish(channel, '3'), OutboxFullError);
        assert.equal(error.delivery, 'not-sent');
        await kind.restore();
        await Promise.all(kept);
      });

      it('counts', async () => {
        await publish(1, 3);
        await stan.publish('a.*', 'x').catch(() => undefined);
        const { published, acknowledged, rejected, pending, losses } = stan.stats();
        assert.deepEqual([published, acknowledged, rejected, pending, losses], [3, 3, 0, 0, 0]);
      });

      it('is flushed', async () => {
        const acks = [stan.publish(channel, '1'), stan.publish(channel, '2')];
        await stan.flush();
        assert.equal(await isSettled(Promise.all(acks)), true);
        await stan.flush();
      });
    });

    describe('a subscription', () => {
      it('hands over what there is of a message', async () => {
        const before = Date.now();
        const got: StanMessage[] = [];
        await stan.subscribe(channel, (message) => void got.push(message));
        await stan.publish(channel, '{"id":1}');
        await stan.publish(channel, 'two');
        await comes(got, 2);
        const [one, two] = got as [StanMessage, StanMessage];
        assert.deepEqual([one.channel, one.sequence, two.sequence], [channel, 1, 2]);
        assert.deepEqual([one.redelivered, one.redeliveryCount], [false, 0]);
        assert.deepEqual(one.json(), { id: 1 });
        assert.throws(() => two.json());
        assert.ok(Math.abs(one.timestamp.getTime() - before) < 60_000);
        assert.ok(two.timestampNanos > one.timestampNanos);
      });

      const starts: Readonly<Record<string, { startAt: StartAt | undefined; gets: number[] }>> = {
        'by default with what is new': { startAt: undefined, gets: [] },
        'with what is new': { startAt: 'new', gets: [] },
        'with the last one': { startAt: 'last', gets: [5] },
        'with the first one': { startAt: 'first', gets: [1, 2, 3, 4, 5] },
        'at a sequence': { startAt: { sequence: 4 }, gets: [4, 5] },
        'at a sequence that is yet to come': { startAt: { sequence: 6 }, gets: [] },
        'by age': { startAt: { ago: 3_600_000 }, gets: [1, 2, 3, 4, 5] },
        'by time': { startAt: { time: new Date(Date.now() - 3_600_000) }, gets: [1, 2, 3, 4, 5] },
      };
      for (const [how, { startAt, gets }] of Object.entries(starts)) {
        it(`begins ${how}`, async () => {
          await publish(1, 5);
          const { got } = await collect({ startAt });
          await exactly(got, gets);
        });
      }

      it('begins at an age between two messages', async () => {
        await publish(1, 2);
        const at = performance.now();
        await kind.pass(600);
        if (name !== MEMORY) await until(() => performance.now() > at + 600, 'time stands still');
        const between = performance.now();
        await publish(3, 4);
        // Half of the time between them is for the way to the server.
        const { got } = await collect({ startAt: { ago: Math.round(performance.now() - between) + 300 } });
        await exactly(got, [3, 4]);
      });

      it('is one of several, and each gets everything', async () => {
        const [one, two] = [await collect(), await collect()];
        const other = await collect({}, await connect());
        await publish(1, 3);
        await exactly(one.got, [1, 2, 3]);
        await Promise.all([comes(two.got, 4), comes(other.got, 4)]);
        assert.deepEqual([two.got, other.got], [one.got, one.got]);
        assert.equal(stan.stats().subscriptions, 2);
      });

      it('handles one message at a time, in order, or as many as it is told', async () => {
        for (const concurrency of [1, 3]) {
          let running = 0;
          let most = 0;
          const gates: (() => void)[] = [];
          const subscription = await stan.subscribe(
            channel,
            async () => {
              most = Math.max(most, ++running);
              await new Promise<void>((resolve) => gates.push(resolve));
              running -= 1;
            },
            { concurrency, startAt: 'first' },
          );
          if (concurrency === 1) await publish(1, 6);
          for (let i = 0; i < 6; i++) {
            await until(() => gates.length > 0, 'no handler runs');
            gates.shift()!();
          }
          await subscription.close();
          assert.equal(most, concurrency);
        }
      });

      it('gets no more at a time than its window allows', async () => {
        await publish(1, 6);
        const messages: StanMessage[] = [];
        await stan.subscribe(channel, (message) => void messages.push(message), {
          startAt: 'first',
          maxInFlight: 2,
          manualAck: true,
        });
        await comes(messages, 2);
        assert.equal(await kind.pending(channel), 2);
        for (let i = 0; i < 6; i++) {
          await comes(messages, i + 1);
          assert.ok(messages.length <= i + 2);
          messages[i]!.ack();
        }
        await until(async () => (await kind.pending(channel)) === 0, 'the last one is not acknowledged');
        assert.deepEqual(
          messages.map((message) => message.sequence),
          [1, 2, 3, 4, 5, 6],
        );
      });

      it('acknowledges when the promise of the handler has resolved, and not before', async () => {
        const gate = deferred();
        await stan.subscribe(channel, () => gate.promise);
        await publish(1);
        await until(async () => (await kind.pending(channel)) === 1, 'it was not sent');
        gate.resolve();
        await until(async () => (await kind.pending(channel)) === 0, 'it was not acknowledged');
      });

      it('gets again what its handler failed on, marked, after what came meanwhile', async () => {
        const got: [text: string, redelivered: boolean, count: number][] = [];
        const failed: unknown[] = [];
        const subscription = await stan.subscribe(
          channel,
          async (message) => {
            got.push([message.string(), message.redelivered, message.redeliveryCount]);
            if (message.sequence === 1 && !message.redelivered) throw new Error('not yet');
          },
          { ackWait: 1000 },
        );
        subscription.on('handler_error', ({ error, message }) =>
          failed.push((error as Error).message, message.sequence),
        );
        await publish(1, 2);
        await comes(got, 2);
        await kind.pass(1000);
        await comes(got, 3);
        assert.deepEqual(got, [
          ['1', false, 0],
          ['2', false, 0],
          ['1', true, 1],
        ]);
        assert.deepEqual(failed, ['not yet', 1]);
        assert.equal(stan.stats().redelivered, 1);
        await until(() => subscription.lastSequence === 2, 'it is not processed');
      });

      it('gets again what it left unacknowledged with manualAck', async () => {
        const got: StanMessage[] = [];
        await stan.subscribe(channel, (message) => void got.push(message), { ackWait: 1000, manualAck: true });
        await publish(1);
        await comes(got, 1);
        await kind.pass(1000);
        await comes(got, 2);
        assert.deepEqual(
          got.map((message) => message.redelivered),
          [false, true],
        );
        got[1]!.ack();
        await until(async () => (await kind.pending(channel)) === 0, 'it was not acknowledged');
      });

      it('gives up after maxDeliveries, and asks for a place for what is dead', async () => {
        const dead: string[] = [];
        const told: number[] = [];
        const subscription = await stan.subscribe(
          channel,
          async () => {
            throw new Error('never');
          },
          {
            ackWait: 1000,
            maxDeliveries: 2,
            deadLetter: async (message, error) => void dead.push(`${message.string()}: ${(error as Error).message}`),
          },
        );
        subscription.on('dead_letter', ({ message }) => told.push(message.sequence));
        await publish(1);
        await until(async () => (await kind.pending(channel)) === 1, 'it was not sent');
        await kind.pass(1000);
        await comes(told, 1);
        assert.deepEqual([dead, told], [['1: never'], [1]]);
        await until(async () => (await kind.pending(channel)) === 0, 'it was not acknowledged');
      });

      it('ends when it is closed, when it is unsubscribed, and at its signal', async () => {
        const controller = new AbortController();
        const all = [await collect(), await collect(), await collect({ signal: controller.signal })];
        const closed: number[] = [];
        for (const [i, { subscription }] of all.entries()) subscription.on('closed', () => closed.push(i));
        await publish(1);
        await Promise.all(all.map(({ got }) => comes(got, 1)));
        await all[0]!.subscription.close();
        await all[1]!.subscription.unsubscribe();
        controller.abort();
        await comes(closed, 3);
        await publish(2);
        const { got } = await collect({ startAt: 'first' });
        await exactly(got, [1, 2]);
        for (const { got } of all) assert.deepEqual(got, ['1']);
        assert.equal(stan.stats().subscriptions, 1);
      });

      it('hears of a gap when the channel has dropped what it has not had', async () => {
        const client = mine(await kind.connectToFew({ clientId: uniqueName('me') }));
        const few = FEW + channel;
        const got: number[] = [];
        const gaps: unknown[] = [];
        const gate = deferred();
        const subscription = await client.subscribe(
          few,
          async (message) => {
            got.push(message.sequence);
            await gate.promise;
          },
          { maxInFlight: 1 },
        );
        subscription.on('gap', (gap) => gaps.push(gap));
        for (let i = 1; i <= 10; i++) await client.publish(few, String(i));
        gate.resolve();
        await comes(got, 6);
        assert.deepEqual([got, gaps], [[1, 6, 7, 8, 9, 10], [{ from: 2, to: 5 }]]);
      });
    });

    describe('a durable', () => {
      const durableName = 'd';

      it('goes on where it was closed', async () => {
        await publish(1, 2);
        const first = await collect({ durableName, startAt: 'first' });
        await comes(first.got, 2);
        await first.subscription.close();
        await publish(3, 4);
        const second = await collect({ durableName, startAt: 'new' });
        await exactly(second.got, [3, 4]);
      });

      it('goes on in the next life of its client, and another client has another one', async () => {
        const client = await connect();
        const { clientId } = client;
        await publish(1, 2);
        const first = await collect({ durableName, startAt: 'first' }, client);
        await comes(first.got, 2);
        await client.close();
        await publish(3);
        const again = await collect({ durableName }, await connect({ clientId }));
        await exactly(again.got, [3]);
        const other = await collect({ durableName, startAt: 'first' }, await connect());
        await comes(other.got, 4);
      });

      it('brings again what was not acknowledged', async () => {
        const subscription = await stan.subscribe(channel, () => undefined, {
          durableName,
          startAt: 'first',
          manualAck: true,
        });
        await publish(1);
        await until(async () => (await kind.pending(channel)) === 1, 'it was not sent');
        await subscription.close();
        const got: [number, boolean][] = [];
        await stan.subscribe(channel, ({ sequence, redelivered }) => void got.push([sequence, redelivered]), {
          durableName,
        });
        await publish(2);
        await comes(got, 2);
        assert.deepEqual(got, [
          [1, true],
          [2, false],
        ]);
      });

      it('is forgotten when it is unsubscribed, also after it was closed', async () => {
        for (const closeFirst of [false, true]) {
          const { subscription } = await collect({ durableName });
          if (closeFirst) await subscription.close();
          await subscription.unsubscribe();
        }
        await publish(1, 2);
        const { got } = await collect({ durableName, startAt: 'last' });
        await exactly(got, [2]);
      });

      it('is refused while this client has it', async () => {
        await collect({ durableName });
        const error = await rejection(
          stan.subscribe(channel, () => undefined, { durableName }),
          SubscribeError,
          durableName,
        );
        assert.equal(error.durableInUse, true);
      });
    });

    describe('a queue group', () => {
      const queueGroup = 'g';

      it('shares the messages among its members, evenly, wherever they are', async () => {
        const other = await connect();
        const members = [
          await collect({ queueGroup }),
          await collect({ queueGroup }),
          await collect({ queueGroup }, other),
        ];
        const plain = await collect();
        for (let i = 1; i <= 30; i++) {
          await publish(i);
          await until(async () => (await kind.pending(channel)) === 0, 'not all is acknowledged');
        }
        const all = members.flatMap(({ got }) => got);
        assert.deepEqual(
          all.map(Number).sort((a, b) => a - b),
          Array.from({ length: 30 }, (_, i) => i + 1),
        );
        for (const { got } of members)
          assert.ok(got.length >= 5, `uneven: ${members.map((m) => m.got.length).join(' ')}`);
        assert.equal(plain.got.length, 30);
      });

      it('goes on with the others when a member leaves', async () => {
        const other = await connect();
        const gate = deferred();
        const left: number[] = [];
        await other.subscribe(
          channel,
          (message) => {
            left.push(message.sequence);
            return gate.promise;
          },
          { queueGroup, ackWait: 1000 },
        );
        await publish(1);
        await comes(left, 1);
        const got: number[] = [];
        await stan.subscribe(channel, ({ sequence }) => void got.push(sequence), { queueGroup, ackWait: 1000 });
        await publish(2);
        await comes(got, 1);
        await other.close({ timeout: 0 });
        await kind.pass(1000);
        await comes(got, 2);
        assert.deepEqual(got, [2, 1]);
        gate.resolve();
      });

      it('is forgotten with its last member, unless it is durable', async () => {
        for (const durableName of [undefined, 'd']) {
          const options = { queueGroup, ...(durableName && { durableName }) };
          const { got, subscription } = await collect({ ...options, startAt: 'last' });
          await publish(1);
          await until(() => got.includes('1'), 'it did not come');
          await until(async () => (await kind.pending(channel)) === 0, 'it is not acknowledged');
          await subscription.close();
          await publish(2);
          const again = await collect({ ...options, startAt: 'new' });
          await exactly(again.got, durableName === undefined ? [] : [2]);
          await again.subscription.unsubscribe();
        }
      });
    });

    describe('messages()', () => {
      it('gives one after the other, and acknowledges each when the next is asked for', async () => {
        await publish(1, 3);
        const got: string[] = [];
        for await (const message of stan.messages(channel, { startAt: 'first', maxInFlight: 1 })) {
          assert.equal(await kind.pending(channel), 1);
          if (got.push(message.string()) === 3) break;
        }
        assert.deepEqual(got, ['1', '2', '3']);
        await until(() => stan.stats().subscriptions === 0, 'its subscription is left');
      });

      it('keeps the position of a durable, and is over when the client closes', async () => {
        await publish(1, 3);
        for await (const message of stan.messages(channel, { durableName: 'd', startAt: 'first' })) {
          if (message.sequence === 2) break;
        }
        await until(() => stan.stats().subscriptions === 0, 'its subscription is left');
        const got: number[] = [];
        for await (const message of stan.messages(channel, { durableName: 'd' })) {
          if (got.push(message.sequence) === 2) void stan.close();
        }
        assert.deepEqual(got, [2, 3]);
        assert.equal(await stan.closed(), undefined);
      });
    });

    describe('the channel', () => {
      const read = async (range?: ReadRange): Promise<string[]> => {
        const got: string[] = [];
        for await (const message of stan.read(channel, range)) got.push(message.string());
        return got;
      };

      it('is read as far as it is stored, in whole or in part, and nothing is left at the server', async () => {
        await publish(1, 5);
        assert.equal(await stan.lastSequence(channel), 5);
        assert.deepEqual(await read(), ['1', '2', '3', '4', '5']);
        assert.deepEqual(await read({ from: 2, to: 3 }), ['2', '3']);
        assert.deepEqual(await read({ last: 2 }), ['4', '5']);
        assert.deepEqual(await read({ since: new Date(Date.now() - 3_600_000) }), ['1', '2', '3', '4', '5']);
        await until(async () => (await kind.pending(channel)) === 0, 'a subscription is left');
      });

      it('is empty before its first message', async () => {
        const [last, texts] = [stan.lastSequence(channel), read()];
        await kind.pass(5000);
        assert.deepEqual([await last, await texts], [0, []]);
      });

      it('is measured by a subscription, which tells when it has caught up', async () => {
        await publish(1, 3);
        const gate = deferred();
        const caughtUp: number[] = [];
        const subscription = await stan.subscribe(channel, () => gate.promise, { startAt: 'first' });
        subscription.on('caught_up', () => caughtUp.push(subscription.lastSequence));
        assert.equal(await subscription.lag(), 3);
        gate.resolve();
        await subscription.caughtUp();
        assert.equal(await subscription.lag(), 0);
        await comes(caughtUp, 1);
        assert.deepEqual(caughtUp, [3]);
      });
    });

    describe('retry', () => {
      it('hands a failed message over again, before what is behind it', async () => {
        const got: number[] = [];
        const failed: number[] = [];
        stan.on('handler_error', ({ message }) => failed.push(message.sequence));
        await stan.subscribe(
          channel,
          async ({ sequence }) => {
            got.push(sequence);
            if (sequence === 2 && got.length < 4) throw new Error('not yet');
          },
          { retry: { retries: 3, minTimeout: 50, randomize: false } },
        );
        await publish(1, 3);
        await until(() => got.length >= 2, 'it has not begun');
        await kind.pass(1000);
        await comes(got, 5);
        assert.deepEqual(
          [got, failed],
          [
            [1, 2, 2, 2, 3],
            [2, 2],
          ],
        );
        assert.equal(stan.stats().handlerErrors, 2);
        await until(async () => (await kind.pending(channel)) === 0, 'not all is acknowledged');
      });
    });

    describe('an outage', () => {
      it('is one loss, told in its order', async () => {
        const asked: string[] = [];
        const client = await connect({
          connectionLostHandler: (error, whose) => {
            asked.push(error.reason, whose.clientId);
          },
        });
        const recorder = new Recorder(client);
        await recorder.until('connect');
        await kind.outage();
        await recorder.until('reconnecting', 2);
        assert.equal(client.state, 'reconnecting');
        const { healthy, losses, server } = client.health();
        assert.deepEqual([healthy, losses, server], [false, 1, undefined]);
        await kind.restore();
        await recorder.until('reconnect');
        assert.deepEqual(
          recorder.names.filter((event) => event !== 'reconnecting'),
          ['connect', 'connected>reconnecting', 'connection_lost', 'reconnecting>connected', 'reconnect'],
        );
        assert.deepEqual(asked, ['disconnect', client.clientId]);
        const [{ server: to, downtime, attempts }] = recorder.of('reconnect') as [never] as [
          { server: string; downtime: number; attempts: number },
        ];
        assert.equal(to, client.server);
        assert.ok(downtime > 0 && attempts >= 2);
        assert.equal(client.health().healthy, true);
        assert.deepEqual([client.stats().losses, client.stats().reconnects], [1, 1]);
      });

      it('is survived by all kinds of subscriptions: nothing is lost, nothing handled twice', async () => {
        const plain = await collect();
        const durable = await collect({ durableName: 'd' });
        const group = await collect({ queueGroup: 'g' });
        const group2 = await collect({ queueGroup: 'h', durableName: 'd' });
        const ready: string[] = [];
        plain.subscription.on('ready', () => ready.push('ready'));
        await publish(1, 3);
        const recorder = new Recorder(stan);
        const all = [plain, durable, group, group2];
        await Promise.all(all.map(({ got }) => comes(got, 3)));
        await until(async () => (await kind.pending(channel)) === 0, 'not all is acknowledged');
        await kind.outage();
        await recorder.until('connection_lost');
        const acks = [4, 5].map((i) => stan.publish(channel, String(i)));
        await kind.restore();
        await Promise.all(acks);
        for (const { got } of [plain, durable, group2]) {
          await comes(got, 5);
          assert.deepEqual(got, ['1', '2', '3', '4', '5']);
        }
        // A group that was forgotten with its last member may begin a little earlier.
        await until(() => group.got.includes('5'), 'the group does not go on');
        assert.deepEqual([...new Set(group.got)], ['1', '2', '3', '4', '5']);
        assert.deepEqual(ready, ['ready']);
        assert.equal(recorder.count('resubscribe'), 4);
      });

      it('takes nothing from a subscription that has not received anything yet', async () => {
        await publish(1, 2);
        const { got } = await collect();
        const recorder = new Recorder(stan);
        await kind.outage();
        await recorder.until('connection_lost');
        const ack = stan.publish(channel, '3');
        await kind.restore();
        await ack;
        // The start is an age, which is increased where the request takes longer than the first one did. So on a slow way what was
        // published right before subscribe() comes, too: the last messages before it, in their order.
        await until(
          () => got.includes('3'),
          () => `message 3 did not come, but: ${got.join(' ')}`,
        );
        const before = got.slice(0, got.indexOf('3'));
        assert.deepEqual(before, ['1', '2'].slice(2 - before.length));
        if (name === MEMORY) assert.deepEqual(before, []);
        await exactly(got, [...before, 3]);
      });

      it('lets a subscribe() wait for its end', async () => {
        const recorder = new Recorder(stan);
        await kind.outage();
        await recorder.until('connection_lost');
        const subscribed = collect({ startAt: 'first' });
        assert.equal(await isSettled(subscribed), false);
        await kind.restore();
        const { got } = await subscribed;
        await exactly(got, []);
      });

      it('ends a client whose ConnectionLostHandler says so, or that must not reconnect', async () => {
        const ends = [await connect({ connectionLostHandler: () => 'close' }), await connect({ reconnect: false })];
        const recorders = ends.map((client) => new Recorder(client));
        await kind.outage();
        for (const [i, client] of ends.entries()) {
          const reason = await client.closed();
          assert.equal(reason?.name, 'ConnectionLostError');
          await recorders[i]!.until('close');
          assert.deepEqual(recorders[i]!.of('close'), [{ error: reason }]);
          assert.equal(client.state, 'closed');
        }
      });
    });

    describe('close()', () => {
      it('drains: handlers finish, may publish, and are acknowledged; what is pending is sent', async () => {
        const client = await connect();
        const { clientId } = client;
        const gate = deferred();
        const begun = deferred();
        const handled: string[] = [];
        await client.subscribe(
          channel,
          async (message) => {
            handled.push(message.string());
            begun.resolve();
            await gate.promise;
            await client.publish(channel, 'by the handler');
          },
          { durableName: 'd' },
        );
        await publish(1, 2);
        await begun.promise;
        const pending = client.publish(channel, 'pending');
        const closing = client.close();
        assert.equal(client.state, 'closing');
        assert.equal(await isSettled(closing), false);
        gate.resolve();
        await closing;
        await pending;
        assert.deepEqual(handled, ['1']);
        const again = await collect({ durableName: 'd' }, await connect({ clientId }));
        await comes(again.got, 3);
        assert.deepEqual(again.got, ['2', 'pending', 'by the handler']);
      });

      it('is the end, once', async () => {
        const recorder = new Recorder(stan);
        const { subscription } = await collect();
        const closed: unknown[] = [];
        subscription.on('closed', (event) => closed.push(event));
        await Promise.all([stan.close(), stan.close()]);
        await stan.close();
        assert.equal(await stan.closed(), undefined);
        assert.equal(stan.state, 'closed');
        assert.deepEqual([recorder.of('close'), closed], [[{}], [{}]]);
        assert.equal((await rejection(stan.publish(channel, 'x'), ClosedError)).delivery, 'not-sent');
        await rejection(
          stan.subscribe(channel, () => undefined),
          ClosedError,
        );
        await rejection(stan.messages(channel).next(), ClosedError);
        assert.equal(stan.server, undefined);
        assert.equal(stan.health().healthy, false);
      });

      it('gives up what is not done in time, and says so', async () => {
        const recorder = new Recorder(stan);
        await kind.outage();
        await recorder.until('connection_lost');
        const kept = stan.publish(channel, 'kept');
        const subscribed = stan.subscribe(channel, () => undefined);
        const closing = stan.close({ timeout: 50 });
        await Promise.all([
          rejection(kept, ClosedError),
          rejection(subscribed, ClosedError),
          kind.pass(50).then(() => closing),
        ]);
      });

      it('comes at the end of a scope', async () => {
        let client: ResilientStan;
        {
          await using scoped = await connect();
          client = scoped;
          await using subscription = await scoped.subscribe(channel, () => undefined);
          void subscription;
        }
        assert.equal(client.state, 'closed');
      });
    });
  });
}
