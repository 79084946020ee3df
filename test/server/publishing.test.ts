/** Publishing to a real server: what is acknowledged is stored, and what is rejected is what its `delivery` says. */
import assert from 'node:assert/strict';
import {
  AbortedError,
  ClosedError,
  InvalidArgumentError,
  OutboxFullError,
  PublishRejectedError,
  PublishTimeoutError,
  type ConnectOptions,
  type Delivery,
  type PublishOptions,
  type ResilientStan,
  type ResilientStanError,
} from '../../src/index.js';
import { StanCluster, type StanNode } from '../../src/testing/index.js';
import { Clients, isSettled, readBack, Recorder, rejection, uniqueName, until } from '../support/clients.js';

describe('publishing', function () {
  this.timeout(30_000);
  const clients = new Clients();
  let cluster: StanCluster;
  let server: StanNode;
  let channel: string;

  before(async () => {
    cluster = await StanCluster.start({
      mode: 'single',
      config: {
        max_payload: 65_536,
        streaming: { store_limits: { max_channels: 40, channels: { 'tiny.>': { max_msgs: 3 } } } },
      },
    });
    server = cluster.nodes[0]!;
  });
  after(() => cluster.stop());
  beforeEach(() => {
    channel = uniqueName('publishing');
  });
  afterEach(async () => {
    await server.resume();
    await server.start();
    await clients.closeAll();
  });

  const connect = (options?: ConnectOptions): Promise<ResilientStan> => clients.connect(cluster.urls, options);
  const stored = (): Promise<string[]> => readBack(cluster.urls, channel);
  /** The server dead, and the client knows. */
  async function outage(stan: ResilientStan): Promise<void> {
    const recorder = new Recorder(stan);
    await server.kill();
    await recorder.until('connection_lost');
  }

  it('resolves with what the server has stored', async () => {
    const stan = await connect();
    const acks = await Promise.all(['a', 'b', 'c'].map((data) => stan.publish(channel, data)));
    for (const ack of acks) {
      assert.deepEqual(Object.keys(ack).sort(), ['attempts', 'channel', 'guid']);
      assert.equal(ack.channel, channel);
      assert.equal(ack.attempts, 1);
      assert.match(ack.guid, /^\w{22}$/);
    }
    assert.equal(new Set(acks.map(({ guid }) => guid)).size, 3);
    assert.deepEqual(await stored(), ['a', 'b', 'c']);
  });

  it('carries every kind of payload, byte by byte', async () => {
    const stan = await connect();
    const all = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    const payloads: (string | Uint8Array)[] = [
      '',
      new Uint8Array(0),
      'größe 😀 \0 \r\n',
      'half a pair: \ud800',
      all,
      new Uint8Array(all),
      new Uint8Array(all.buffer, all.byteOffset + 10, 5),
      '+OK\r\nMSG x 1 5\r\n',
      'x'.repeat(60_000),
    ];
    const got: Buffer[] = [];
    await stan.subscribe(channel, (message) => void got.push(message.data));
    for (const data of payloads) await stan.publish(channel, data);
    await until(
      () => got.length === payloads.length,
      () => `${got.length} came`,
    );
    payloads.forEach((data, i) => assert.deepEqual(got[i], Buffer.from(data as string), `payload ${i}`));
  });

  it('copies bytes: the caller may use the buffer again at once', async () => {
    const stan = await connect();
    const buffer = Buffer.alloc(8);
    const sending = [];
    for (let i = 0; i < 50; i++) {
      buffer.write(String(i).padStart(8));
      sending.push(stan.publish(channel, buffer));
    }
    await outage(stan);
    for (let i = 50; i < 100; i++) {
      buffer.write(String(i).padStart(8));
      sending.push(stan.publish(channel, buffer));
    }
    await server.start();
    await Promise.all(sending);
    const values = new Set((await stored()).map(Number));
    assert.deepEqual(values, new Set(Array.from({ length: 100 }, (_, i) => i)));
  });

  describe('while our own event loop stands still', () => {
    function standStill(ms: number): void {
      const until = performance.now() + ms;
      while (performance.now() < until);
    }
    /** Lets leave what is to be sent. */
    async function turns(): Promise<void> {
      for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
    }

    for (const left of [true, false]) {
      it(`no session is given up over what ${left ? 'is acknowledged' : 'could not leave'}, nothing is stored twice`, async () => {
        const stan = await connect({ publishing: { ackTimeout: 300 } });
        await stan.publish(channel, 'first');
        const sending = Array.from({ length: 50 }, (_, i) => stan.publish(channel, String(i)));
        if (left) await turns();
        standStill(1500);
        await Promise.all(sending);
        assert.equal(stan.stats().losses, 0);
        assert.equal((await stored()).length, 51);
      });
    }

    it('a publish does not time out while its acknowledgement lies in the socket', async () => {
      const stan = await connect();
      const publish = stan.publish(channel, 'x', { timeout: 300 });
      await turns();
      standStill(1500);
      await publish;
      assert.deepEqual(await stored(), ['x']);
    });
  });

  for (const ordering of ['strict', 'pipelined'] as const) {
    it(`${ordering}: in order, without a fault`, async () => {
      const stan = await connect({ publishing: { ordering } });
      const values = Array.from({ length: 500 }, (_, i) => String(i));
      await Promise.all(values.map((value) => stan.publish(channel, value)));
      assert.deepEqual(await stored(), values);
      assert.equal(stan.stats().resent, 0);
    });
  }

  it('strict: in order, through restarts, with an outbox that is never empty', async () => {
    const stan = await connect({ publishing: { ordering: 'strict' } });
    const values = Array.from({ length: 800 }, (_, i) => String(i));
    const all = Promise.all(values.map((value) => stan.publish(channel, value)));
    for (const acknowledged of [100, 300, 500]) {
      await until(() => stan.stats().acknowledged > acknowledged, 'it does not move');
      await server.kill();
      await server.start();
    }
    await all;
    assert.deepEqual([...new Set(await stored())], values);
  });

  describe('during an outage', () => {
    it('keeps what is published, in order, and sends it when the server is back', async () => {
      const stan = await connect();
      await stan.publish(channel, 'before');
      await outage(stan);
      const values = Array.from({ length: 500 }, (_, i) => String(i));
      const all = Promise.all(values.map((value) => stan.publish(channel, value)));
      assert.equal(stan.stats().pending, 500);
      await server.start();
      const acks = await all;
      assert.ok(acks.every(({ attempts }) => attempts === 1));
      assert.deepEqual(await stored(), ['before', ...values]);
    });

    it('a publish with a timeout rejects at it, not sent, and never arrives', async () => {
      const stan = await connect();
      await outage(stan);
      const startedAt = performance.now();
      const given = stan.publish(channel, 'given up', { timeout: 500 });
      const kept = stan.publish(channel, 'kept', { timeout: 60_000 });
      const error = await rejection(given, PublishTimeoutError, channel, '500 ms', 'never sent');
      assert.ok(performance.now() - startedAt >= 499);
      assert.equal(error.code, 'ERR_STAN_PUBLISH_TIMEOUT');
      assert.equal(error.delivery, 'not-sent');
      assert.equal(error.channel, channel);
      await server.start();
      await kept;
      assert.deepEqual(await stored(), ['kept']);
    });

    it('an aborted publish rejects at once, not sent, and never arrives', async () => {
      const stan = await connect();
      await outage(stan);
      const abort = new AbortController();
      const given = ['one', 'two'].map((data) => stan.publish(channel, data, { signal: abort.signal }));
      const kept = stan.publish(channel, 'kept', { signal: new AbortController().signal });
      abort.abort(new Error('changed my mind'));
      for (const publish of given) {
        const error = await rejection(publish, AbortedError, channel, 'never sent');
        assert.equal(error.delivery, 'not-sent');
        assert.equal((error.cause as Error).message, 'changed my mind');
      }
      const late = await rejection(stan.publish(channel, 'late', { signal: abort.signal }), AbortedError);
      assert.equal(late.delivery, 'not-sent');
      await server.start();
      await kept;
      assert.deepEqual(await stored(), ['kept']);
    });
  });

  it('every rejection tells the truth about its message, through freezes and kills', async () => {
    const stan = await connect({ publishing: { ordering: 'pipelined', maxInFlight: 8 } });
    const outcomes = new Map<string, Delivery | 'acknowledged'>();
    const settled: Promise<unknown>[] = [];
    let count = 0;
    const publish = (options: PublishOptions): void => {
      const value = String(count++);
      settled.push(
        stan.publish(channel, value, options).then(
          () => outcomes.set(value, 'acknowledged'),
          (error: ResilientStanError) => outcomes.set(value, error.delivery!),
        ),
      );
    };
    for (const fault of ['freeze', 'kill', 'freeze'] as const) {
      for (let i = 0; i < 20; i++) publish({ timeout: 40 + 10 * i });
      if (fault === 'freeze') await server.pause();
      else await server.kill();
      const abort = new AbortController();
      for (let i = 0; i < 30; i++) publish(i % 3 === 0 ? { signal: abort.signal } : { timeout: 20 + 10 * i });
      await new Promise((resolve) => setTimeout(resolve, 150));
      abort.abort();
      await new Promise((resolve) => setTimeout(resolve, 300));
      if (fault === 'freeze') await server.resume();
      else await server.start();
      publish({});
      await until(() => stan.stats().pending === 0, 'not everything is settled');
    }
    await Promise.all(settled);
    assert.equal(outcomes.size, count);
    const values = new Set(await stored());
    const kinds = new Map<string, number>();
    for (const [value, outcome] of outcomes) {
      kinds.set(outcome, (kinds.get(outcome) ?? 0) + 1);
      if (outcome === 'acknowledged') assert.ok(values.has(value), `${value} was acknowledged, and is not stored`);
      if (outcome === 'not-sent') assert.ok(!values.has(value), `${value} is stored, and was rejected as not sent`);
      assert.notEqual(outcome, 'rejected');
    }
    for (const kind of ['acknowledged', 'not-sent', 'unknown']) assert.ok(kinds.get(kind), `there was no ${kind}`);
  });

  describe('at the limits of the outbox', () => {
    it("'reject' rejects at once, and takes more when there is room again", async () => {
      const stan = await connect({ publishing: { maxPending: 3, maxPendingBytes: 10 } });
      await outage(stan);
      const kept = ['one', 'two'].map((data) => stan.publish(channel, data));
      const bytes = await rejection(stan.publish(channel, '56789'), OutboxFullError, 'maxPendingBytes', 'whenFull');
      assert.equal(bytes.code, 'ERR_STAN_OUTBOX_FULL');
      assert.equal(bytes.delivery, 'not-sent');
      kept.push(stan.publish(channel, '3'));
      await rejection(stan.publish(channel, ''), OutboxFullError, 'maxPending: 3');
      await rejection(stan.publish(channel, 'more than ten'), InvalidArgumentError, 'can never be taken in');
      await server.start();
      await Promise.all(kept);
      await stan.publish(channel, 'room again');
      assert.deepEqual(await stored(), ['one', 'two', '3', 'room again']);
    });

    it("'wait' waits for room, first come, first served; a timeout counts the wait", async () => {
      const stan = await connect({ publishing: { maxPending: 2, whenFull: 'wait' } });
      await outage(stan);
      const all = Array.from({ length: 10 }, (_, i) => stan.publish(channel, String(i)));
      const error = await rejection(stan.publish(channel, 'late', { timeout: 50 }), PublishTimeoutError);
      assert.equal(error.delivery, 'not-sent');
      assert.equal(await isSettled(Promise.race(all)), false);
      await server.start();
      await Promise.all(all);
      assert.deepEqual(
        await stored(),
        Array.from({ length: 10 }, (_, i) => String(i)),
      );
    });
  });

  describe('what the cluster refuses', () => {
    it('a channel too many: rejected, not stored, and the session lives on', async () => {
      const stan = await connect();
      const recorder = new Recorder(stan);
      await stan.publish(channel, 'x');
      const refused: ResilientStanError[] = [];
      for (let i = 0; refused.length < 2; i++) {
        assert.ok(i < 50, 'the limit was never reached');
        await stan.publish(`${channel}.${i}`, 'x').catch((error: ResilientStanError) => refused.push(error));
      }
      for (const error of refused) {
        assert.ok(error instanceof PublishRejectedError);
        assert.equal(error.code, 'ERR_STAN_PUBLISH_REJECTED');
        assert.equal(error.delivery, 'rejected');
        assert.match(error.message, /too many channels/);
        assert.equal(error.serverText, 'too many channels');
      }
      await stan.publish(channel, 'still here');
      assert.deepEqual(await stored(), ['x', 'still here']);
      assert.equal(recorder.count('connection_lost'), 0);
    });
  });

  it('after close() rejects what is sent and unanswered as unknown', async () => {
    const stan = await connect();
    await server.pause();
    const rejected = rejection(stan.publish(channel, 'x'), ClosedError);
    await until(() => stan.stats().inFlight === 1, 'it was not sent');
    await stan.close({ timeout: 20 });
    assert.equal((await rejected).delivery, 'unknown');
  });
});
