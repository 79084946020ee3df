import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { ResilientStan } from '../../src/index.js';
import { ContinuityChecker, StanCluster, type CheckedClient, type CheckedMessage } from '../../src/testing/index.js';
import { waitFor } from '../../src/testing/index.js';

type Handler = (message: CheckedMessage) => void | Promise<void>;

/** A broker in memory: stores what is published, hands it to everybody. It can be told to misbehave. */
class MemoryClient implements CheckedClient {
  readonly handlers: Handler[] = [];
  readonly published: string[] = [];
  inFlight = 0;
  highWater = 0;
  /** What becomes of a publish. Default: it is stored, delivered, acknowledged. */
  behave: (data: string, deliver: () => void) => Promise<void> = async (_data, deliver) => deliver();

  async publish(_channel: string, data: string): Promise<void> {
    this.highWater = Math.max(this.highWater, ++this.inFlight);
    try {
      await new Promise((resolve) => setImmediate(resolve));
      await this.behave(data, () => this.deliver(data));
    } finally {
      this.inFlight--;
    }
  }

  async subscribe(_channel: string, handler: Handler): Promise<void> {
    this.handlers.push(handler);
  }

  deliver(data: string): void {
    this.published.push(data);
    const message = { sequence: this.published.length, data: Buffer.from(data) };
    for (const handler of this.handlers) void handler(message);
  }
}

function published(checker: ContinuityChecker, count: number): Promise<true> {
  return waitFor(() => (checker.history.acknowledged >= count ? true : undefined), {
    timeout: 10_000,
    interval: 1,
    what: () => `only ${checker.history.acknowledged} of ${count} were published`,
  });
}

describe('testing: ContinuityChecker', () => {
  it('is content with a broker that does its work', async () => {
    const client = new MemoryClient();
    const checker = new ContinuityChecker({ ordering: 'strict' });
    await checker.subscribe('s', client);
    await checker.subscribe('g', client, { queueGroup: 'q', startAt: 'first' });
    checker.publish('one', client, { rate: 2000 });
    checker.publish('two', client, { rate: 2000, size: 100 });
    await published(checker, 100);
    const verdict = await checker.finish();
    assert.deepEqual(verdict.violations, []);
    const [one, two] = verdict.publishers;
    assert.ok(one && two && one.acknowledged > 10 && two.acknowledged > 10);
    assert.equal(one.attempted, one.acknowledged);
    for (const { received } of verdict.subscriptions) assert.equal(received, one.acknowledged + two.acknowledged);
    assert.deepEqual(
      verdict.subscriptions.map(({ kind }) => kind),
      ['plain', 'queue'],
    );
    assert.equal(client.published.find((data) => data.startsWith('two-'))?.length, 100);
  });

  it('finds a message that was acknowledged and not delivered', async () => {
    const client = new MemoryClient();
    client.behave = async (data, deliver) => {
      if (data !== 'p-7') deliver();
    };
    const checker = new ContinuityChecker();
    await checker.subscribe('s', client);
    checker.publish('p', client, { rate: 2000 });
    await published(checker, 20);
    const verdict = await checker.finish({ timeout: 50 });
    assert.deepEqual(verdict.subscriptions[0]?.lost, { total: 1, prefix: 0, middle: 1, tail: 0 });
    assert.match(verdict.violations.join(), /^subscription 's': 1 acknowledged messages lost: .* \(p-7\)$/);
  });

  it('keeps book of rejections by what is known of the message', async () => {
    const client = new MemoryClient();
    client.behave = async (data, deliver) => {
      const counter = Number(data.split('-')[1]);
      if (counter === 1) throw Object.assign(new Error('full'), { delivery: 'not-sent' });
      if (counter === 2) throw 'something'; // a client that knows nothing
      if (counter === 3) {
        deliver();
        throw Object.assign(new Error('late'), { delivery: 'unknown' });
      }
      deliver();
      if (counter === 4) throw Object.assign(new Error('a lie'), { delivery: 'rejected' });
    };
    const errors: unknown[] = [];
    const checker = new ContinuityChecker({ rejections: true, onRejected: (_name, error) => errors.push(error) });
    await checker.subscribe('s', client);
    checker.publish('p', client, { rate: 2000 });
    await published(checker, 10);
    const { publishers, subscriptions, violations } = await checker.finish();
    const [p] = publishers;
    assert.deepEqual([p?.notSent, p?.unknown, p?.rejected], [1, 2, 1]);
    assert.equal(errors.length, 4);
    assert.equal(subscriptions[0]?.recovered, 1);
    assert.deepEqual(violations, ["subscription 's': 1 messages arrived that were reported as not stored (p-4)"]);
  });

  it('keeps to its window, and goes on when it is free', async () => {
    const client = new MemoryClient();
    const held: (() => void)[] = [];
    let hold = true;
    client.behave = async (_data, deliver) => {
      if (hold) await new Promise<void>((resolve) => held.push(resolve));
      deliver();
    };
    const checker = new ContinuityChecker();
    await checker.subscribe('s', client);
    checker.publish('p', client, { rate: 5000, window: 3 });
    await waitFor(() => (held.length === 3 ? true : undefined), { timeout: 5000, what: () => 'not three in flight' });
    assert.equal(checker.history.pending, 3);
    hold = false;
    for (const release of held) release();
    await published(checker, 50);
    const verdict = await checker.finish();
    assert.equal(client.highWater, 3);
    assert.equal(verdict.clean, true);
  });

  it('tells of publishes that never settle, when it has waited long enough', async () => {
    const client = new MemoryClient();
    client.behave = () => new Promise(() => {});
    const checker = new ContinuityChecker();
    checker.publish('p', client, { rate: 2000, window: 5 });
    await waitFor(() => (checker.history.pending === 5 ? true : undefined), { timeout: 5000, what: () => 'not 5' });
    const verdict = await checker.finish({ timeout: 30 });
    assert.deepEqual(verdict.violations, ["publisher 'p': 5 publishes never settled"]);
  });

  it('does the work it is given before a message counts as processed', async () => {
    const client = new MemoryClient();
    const checker = new ContinuityChecker();
    const done: number[] = [];
    await checker.subscribe('s', client, { work: async ({ sequence }) => void done.push(sequence) });
    client.deliver('x');
    assert.deepEqual(done, [1]);
    assert.equal(checker.verdict().subscriptions[0]?.aliens, 1);
  });

  it('takes what a subscription tells to be gone, where the channel keeps only so many', async () => {
    const client = new MemoryClient();
    const told = new EventEmitter();
    client.subscribe = async (_channel, handler) => {
      client.handlers.push(handler);
      return told as never;
    };
    // The second is stored, and handed to nobody.
    client.behave = async (data, deliver) => {
      if (data === 'p-1') client.published.push(data);
      else deliver();
    };
    const checker = new ContinuityChecker({ retention: 3 });
    await checker.subscribe('s', client);
    checker.publish('p', client, { rate: 2000 });
    await published(checker, 20);
    assert.match(checker.verdict().violations.join(), /1 acknowledged messages lost/);
    told.emit('gap', { from: 2, to: 2 });
    const verdict = await checker.finish({ timeout: 50 });
    assert.deepEqual(verdict.violations, []);
    assert.equal(verdict.subscriptions[0]?.gone, 1);
  });

  it('on a real server that keeps ten: what a frozen path has cost is told, and nothing else', async () => {
    await using cluster = await StanCluster.start({
      ...{ mode: 'single', proxied: true },
      config: { streaming: { store_limits: { max_msgs: 10 } } },
    });
    const connect = (clientId: string, urls: readonly string[]) =>
      ResilientStan.connect([...urls], { ...cluster.connectOptions, clientId });
    const reader = await connect('reader', cluster.urls);
    const writer = await connect('writer', [`nats://127.0.0.1:${cluster.nodes[0]!.ports.client}`]);
    try {
      const checker = new ContinuityChecker({ retention: 10 });
      await checker.subscribe('plain', reader);
      await checker.subscribe('durable', reader, { durableName: 'd' });
      const loop = checker.publish('p', writer, { rate: 200 });
      await published(checker, 20);
      const hole = cluster.nodes[0]!.proxy.add({ type: 'timeout' });
      await published(checker, checker.history.acknowledged + 60);
      hole.remove();
      await published(checker, checker.history.acknowledged + 20);
      loop.stop();
      const verdict = await checker.finish({ timeout: 10_000 });
      assert.deepEqual(verdict.violations, []);
      for (const { name, gone } of verdict.subscriptions) assert.ok(gone >= 30, `${name}: only ${gone} were gone`);
    } finally {
      await Promise.all([reader.close({ timeout: 1000 }), writer.close({ timeout: 1000 })]);
    }
  });

  it('refuses what can never work', () => {
    const checker = new ContinuityChecker();
    const client = new MemoryClient();
    assert.throws(() => checker.publish('a b', client), /a publisher's name is/);
    assert.throws(() => checker.publish('p', client, { rate: 0 }), /rate must be a positive number/);
    assert.throws(() => checker.publish('p', client, { window: 0 }), /window must be 1 or more/);
    assert.throws(() => new ContinuityChecker({ retention: 0 }), /retention must be 1 message or more/);
  });

  it('on a real cluster, its leader killed: nothing lost, and how long it took', async () => {
    await using cluster = await StanCluster.start({ nodes: 3 });
    const stan = await ResilientStan.connect(cluster.urls, {
      ...cluster.connectOptions,
      clientId: 'checked',
      publishing: { ordering: 'strict' },
    });
    try {
      const checker = new ContinuityChecker({ ordering: 'strict' });
      await checker.subscribe('plain', stan);
      await checker.subscribe('durable', stan, { durableName: 'd', startAt: 'first' });
      await checker.subscribe('group', stan, { queueGroup: 'q' });
      checker.publish('p', stan, { rate: 200 });
      await published(checker, 50);
      const fault = checker.fault('leader killed');
      const leader = await cluster.leader();
      await leader.kill();
      await leader.start();
      await cluster.settled();
      fault.mended();
      await published(checker, checker.history.acknowledged + 50);
      const verdict = await checker.finish();
      assert.deepEqual(verdict.violations, []);
      const [told] = verdict.faults;
      assert.ok(told?.toNextAck && told.until);
      assert.deepEqual(Object.keys(told.toNextDelivery).sort(), ['durable', 'group', 'plain']);
    } finally {
      await stan.close();
    }
  });
});
