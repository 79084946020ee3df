/** What the channels of `node:diagnostics_channel` tell of a client at a real server. */
import assert from 'node:assert/strict';
import { AsyncLocalStorage } from 'node:async_hooks';
import { subscribe, tracingChannel, unsubscribe } from 'node:diagnostics_channel';
import {
  InvalidArgumentError,
  PayloadTooLargeError,
  ClosedError,
  type ConnectOptions,
  type LossNotice,
  type ProcessTrace,
  type PublishTrace,
  type ReconnectNotice,
  type ResilientStan,
  type SuspicionNotice,
} from '../../src/index.js';
import { connect as connectStan } from '../../src/stan/index.js';
import { StanCluster, type StanNode } from '../../src/testing/index.js';
import { Clients, readBack, rejection, uniqueName, until } from '../support/clients.js';

const EVENTS = ['start', 'end', 'asyncStart', 'asyncEnd', 'error'] as const;
type Trace = PublishTrace | ProcessTrace;

/** What one client told, on one tracing channel. */
interface Told<T> {
  events: string[];
  contexts: T[];
  /** What was told of each operation. */
  of: Map<T, string[]>;
}

describe('diagnostics channels', function () {
  this.timeout(30_000);
  const clients = new Clients();
  let cluster: StanCluster;
  let server: StanNode;
  let channel: string;
  let clientId: string;
  let leave: (() => void)[] = [];

  before(async () => {
    cluster = await StanCluster.start({ mode: 'single', config: { max_payload: 65_536 } });
    server = cluster.nodes[0]!;
  });
  after(() => cluster.stop());
  beforeEach(() => {
    channel = uniqueName('told');
    clientId = uniqueName('teller');
  });
  afterEach(async () => {
    for (const each of leave) each();
    leave = [];
    await server.resume();
    await server.start();
    await clients.closeAll();
  });

  const connect = (options?: ConnectOptions): Promise<ResilientStan> =>
    clients.connect(cluster.urls, { clientId, ...options });

  function trace<T extends Trace>(kind: 'publish' | 'process'): Told<T> {
    const told: Told<T> = { events: [], contexts: [], of: new Map() };
    const traced = tracingChannel(`resilient-stan:${kind}`);
    for (const event of EVENTS) {
      const listener = (message: unknown): void => {
        const context = message as T;
        if (context.clientId !== clientId) return;
        told.events.push(event);
        if (!told.of.has(context)) {
          told.contexts.push(context);
          told.of.set(context, []);
        }
        told.of.get(context)!.push(event);
      };
      traced[event].subscribe(listener);
      leave.push(() => traced[event].unsubscribe(listener));
    }
    return told;
  }

  function notices<T extends { clientId: string }>(name: string): T[] {
    const told: T[] = [];
    const listener = (message: unknown): void => {
      if ((message as T).clientId === clientId) told.push(message as T);
    };
    subscribe(name, listener);
    leave.push(() => unsubscribe(name, listener));
    return told;
  }

  /** Puts other payloads in the place of those that are published. */
  function replace(payload: (data: string | Uint8Array) => unknown): void {
    const { start } = tracingChannel('resilient-stan:publish');
    const listener = (message: unknown): void => {
      const context = message as PublishTrace;
      if (context.clientId === clientId) context.data = payload(context.data) as string;
    };
    start.subscribe(listener);
    leave.push(() => start.unsubscribe(listener));
  }

  describe('resilient-stan:publish', () => {
    it('tells a publish from its call to its acknowledgement', async () => {
      const told = trace<PublishTrace>('publish');
      const stan = await connect();
      const publishing = stan.publish(channel, 'one');
      assert.deepEqual(told.events, ['start', 'end']);
      const ack = await publishing;
      assert.deepEqual(told.events, ['start', 'end', 'asyncStart', 'asyncEnd']);
      assert.deepEqual(told.contexts, [{ clientId, clusterId: 'test-cluster', channel, data: 'one', result: ack }]);
      assert.deepEqual(await readBack(cluster.urls, channel), ['one']);
    });

    it('tells one that is refused at once, so that as many are told as stats() counts', async () => {
      const told = trace<PublishTrace>('publish');
      const stan = await connect();
      const error = await rejection(stan.publish(channel, Buffer.alloc(100_000)), PayloadTooLargeError);
      assert.deepEqual(told.events, ['start', 'end', 'error', 'asyncStart', 'asyncEnd']);
      assert.equal(told.contexts[0]!.error, error);
      assert.ok(!('result' in told.contexts[0]!));
      // What can never be a publish is none.
      await rejection(stan.publish('', 'one'), InvalidArgumentError);
      await rejection(stan.publish(channel, 1 as never), InvalidArgumentError);
      await rejection(stan.publish(channel, 'one', { timeout: -1 }), InvalidArgumentError);
      assert.equal(told.contexts.length, 1);
      await stan.close();
      await rejection(stan.publish(channel, 'one'), ClosedError);
      assert.equal(told.contexts.length, 2);
      assert.equal(stan.stats().published, 2);
    });

    it('tells one that fails later, when it fails', async () => {
      const told = trace<PublishTrace>('publish');
      const stan = await connect();
      await server.pause();
      const end = new AbortController();
      const publishing = stan.publish(channel, 'one', { signal: end.signal });
      assert.deepEqual(told.events, ['start', 'end']);
      end.abort();
      await assert.rejects(publishing, (error) => error === told.contexts[0]!.error);
      assert.deepEqual(told.events, ['start', 'end', 'error', 'asyncStart', 'asyncEnd']);
    });

    it('publishes the payload that a listener of start has put in the place of the other', async () => {
      const stan = await connect();
      replace((data) => JSON.stringify({ ...(JSON.parse(String(data)) as object), trace: 'abc' }));
      await stan.publish(channel, '{"id":1}');
      assert.deepEqual(await readBack(cluster.urls, channel), ['{"id":1,"trace":"abc"}']);
    });

    it('refuses a replacement that can be no payload, and tells it', async () => {
      const told = trace<PublishTrace>('publish');
      const stan = await connect();
      replace(() => ({ id: 1 }));
      const error = await rejection(stan.publish(channel, 'one'), InvalidArgumentError, /JSON\.stringify|string/);
      assert.equal(error.delivery, 'not-sent');
      assert.deepEqual(told.events, ['start', 'error', 'end', 'asyncStart', 'asyncEnd']);
    });

    it('tells what is published by resilient-stan/stan, too', async () => {
      const told = trace<PublishTrace>('publish');
      const client = connectStan('test-cluster', clientId, { url: cluster.urls[0]! });
      await new Promise((resolve) => client.once('connect', resolve));
      const guid = await new Promise((resolve, reject) =>
        client.publish(channel, 'one', (error, id) => (error ? reject(error) : resolve(id))),
      );
      assert.ok(guid);
      assert.deepEqual(told.events, ['start', 'end', 'asyncStart', 'asyncEnd']);
      assert.equal(told.contexts[0]!.channel, channel);
      client.close();
      await new Promise((resolve) => client.once('close', resolve));
    });
  });

  describe('resilient-stan:process', () => {
    it('tells each call of a handler, however it ends', async () => {
      const stan = await connect();
      const told = trace<ProcessTrace>('process');
      const error = new Error('not this one');
      const ends: Record<string, () => void | Promise<void>> = {
        returns: () => undefined,
        resolves: () => new Promise((resolve) => setImmediate(resolve)),
        throws: () => {
          throw error;
        },
        rejects: () => new Promise((_, reject) => setImmediate(reject, error)),
      };
      const subscription = await stan.subscribe(channel, (message) => {
        told.of.get(told.contexts.at(-1)!)!.push('call');
        return ends[message.string()]!();
      });
      for (const end of Object.keys(ends)) await stan.publish(channel, end);
      await until(() => told.events.filter((event) => event === 'asyncEnd').length === 4, 'not all were handled');
      const seen = [...told.of].map(([{ message }, events]) => [message.string(), events]);
      assert.deepEqual(Object.fromEntries(seen), {
        returns: ['start', 'call', 'end', 'asyncStart', 'asyncEnd'],
        resolves: ['start', 'call', 'end', 'asyncStart', 'asyncEnd'],
        throws: ['start', 'call', 'error', 'end', 'asyncStart', 'asyncEnd'],
        rejects: ['start', 'call', 'end', 'error', 'asyncStart', 'asyncEnd'],
      });
      for (const context of told.contexts) {
        assert.equal(context.clusterId, 'test-cluster');
        assert.equal(context.subscription, subscription);
        const failed = ['throws', 'rejects'].includes(context.message.string());
        assert.equal(context.error, failed ? error : undefined);
        assert.equal('error' in context, failed);
      }
      // What it is to the client has not changed by it: the last two are not processed.
      assert.equal(subscription.lastSequence, 2);
    });

    it('lets a bound store be active in the handler, and in that alone', async () => {
      const stan = await connect();
      const store = new AsyncLocalStorage<string>();
      const { start } = tracingChannel<string, ProcessTrace>('resilient-stan:process');
      start.bindStore(store, ({ message }) => `handling ${message.string()}`);
      leave.push(() => start.unbindStore(store));
      const seen: unknown[] = [];
      await store.run('subscribing', () =>
        stan.subscribe(
          channel,
          async (message) => {
            seen.push(store.getStore());
            await new Promise((resolve) => setImmediate(resolve));
            seen.push(store.getStore());
            message.ack();
          },
          { manualAck: true },
        ),
      );
      await stan.publish(channel, 'one');
      await until(() => seen.length === 2, 'it was not handled');
      assert.deepEqual(seen, ['handling one', 'handling one']);
      assert.equal(store.getStore(), undefined);
    });

    it('does not count what becomes a dead letter once more', async () => {
      const stan = await connect();
      const told = trace<ProcessTrace>('process');
      const dead: string[] = [];
      await stan.subscribe(channel, () => Promise.reject(new Error('never')), {
        maxDeliveries: 1,
        deadLetter: async (message) => void dead.push(message.string()),
      });
      await stan.publish(channel, 'one');
      await until(() => dead.length > 0, 'it did not become a dead letter');
      assert.deepEqual(told.events, ['start', 'end', 'error', 'asyncStart', 'asyncEnd']);
    });

    it('tells a loop over messages() from one message to the next, and that it was left', async () => {
      const stan = await connect();
      const told = trace<ProcessTrace>('process');
      const messages = stan.messages(channel, { startAt: 'first' });
      for (const data of ['one', 'two']) await stan.publish(channel, data);
      await messages.next();
      assert.deepEqual(told.events, ['start', 'end']);
      await messages.next();
      await until(() => told.events.length === 6, 'it did not end');
      assert.deepEqual(told.events, ['start', 'end', 'asyncStart', 'asyncEnd', 'start', 'end']);
      await messages.return!();
      await until(() => told.events.length === 8, 'it did not end');
      assert.deepEqual(told.events.slice(6), ['asyncStart', 'asyncEnd']);
      assert.deepEqual(
        told.contexts.map(({ abandoned, error }) => [abandoned, error]),
        [
          [undefined, undefined],
          [true, undefined],
        ],
      );
    });
  });

  it('tell a suspicion, the loss, and the reconnect, each once and with its figures', async () => {
    const suspicions = notices<SuspicionNotice>('resilient-stan:suspicion');
    const losses = notices<LossNotice>('resilient-stan:loss');
    const reconnects = notices<ReconnectNotice>('resilient-stan:reconnect');
    const stan = await connect();
    const url = stan.server!;
    let heard = 0;
    stan.on('connection_lost', () => (heard = losses.length));
    let back = 0;
    stan.on('reconnect', () => (back = reconnects.length));
    await server.pause();
    void stan.publish(channel, 'one').catch(() => undefined);
    await until(() => suspicions.length > 0, 'nothing was suspected');
    const { silence, ...rest } = suspicions[0]!;
    assert.deepEqual(rest, { clientId, clusterId: 'test-cluster', server: url });
    assert.ok(silence > 0);
    await server.kill();
    await until(() => losses.length > 0, 'nothing was lost');
    await server.start();
    await until(() => reconnects.length > 0, 'it did not come back');
    assert.equal(heard, 1);
    await until(() => back === 1, 'no event');
    const [{ error, ...loss }] = losses as [LossNotice];
    assert.equal(error.server, url);
    assert.deepEqual(loss, { clientId, clusterId: 'test-cluster', reason: error.reason });
    const [{ downtime, attempts, ...reconnect }] = reconnects as [ReconnectNotice];
    assert.deepEqual(reconnect, { clientId, clusterId: 'test-cluster', server: url });
    assert.ok(downtime > 0 && attempts > 0);
    const stats = stan.stats();
    assert.equal(losses.length, stats.losses);
    assert.equal(reconnects.length, stats.reconnects);
    assert.equal(suspicions.length, stats.suspicions);
  });
});
