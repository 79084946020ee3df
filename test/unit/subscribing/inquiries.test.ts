/** What a client asks beside its subscriptions, on a scripted server: how much of it at a time, in which order, for whom. */
import assert from 'node:assert/strict';
import type { RawMessage } from '../../../src/connection/protocol.js';
import { Inquiries } from '../../../src/subscribing/inquiries.js';
import { Subscriptions } from '../../../src/subscribing/subscriptions.js';
import { ModelServer, modelTime, subscribeOptions, TELLER } from '../../support/scripted-subscriptions.js';

const nobody = (): void => undefined;

class Bench {
  readonly time = modelTime();
  readonly server = new ModelServer(this.time);
  crowded = false;
  readonly inquiries = new Inquiries(this.time.clock, () => this.crowded);
  session = this.server.connect();
  most = 0;

  constructor() {
    this.inquiries.attach(this.session);
  }

  fill(channel: string, count: number): void {
    for (let n = 1; n <= count; n++) this.server.publish(`v${n}`, channel);
  }

  position(channel: string, sequence: number): { sequence: number; time: number } {
    return { sequence, time: this.server.channel(channel).lookup(sequence)!.time };
  }

  /** Lets time pass, and sees how many requests are without an answer. */
  async pass(ms: number): Promise<void> {
    for (let i = 0; i < ms; i++) {
      await this.time.pass(1);
      this.most = Math.max(this.most, this.session.pendingRequests);
    }
  }

  get channelsAsked(): string[] {
    return this.server.requests.map(({ channel }) => channel);
  }
}

describe('inquiries', () => {
  it('are sent one at a time, two if some are urgent', async () => {
    const bench = new Bench();
    for (let i = 0; i < 20; i++) bench.fill(`c${i}`, 1);
    const looks = Array.from({ length: 20 }, (_, i) =>
      bench.inquiries.peek(`c${i}`, () => ({ at: 'first' }), 'routine'),
    );
    await bench.pass(1000);
    assert.equal(bench.most, 1);
    assert.equal(bench.server.subs.length, 0, 'all are given up');
    for (const [i, seen] of (await Promise.all(looks)).entries()) assert.deepEqual(seen, bench.position(`c${i}`, 1));
    for (let i = 0; i < 20; i++) void bench.inquiries.peek(`c${i}`, () => ({ at: 'first' }), 'held');
    await bench.pass(1000);
    assert.equal(bench.most, 2);
  });

  it('go in the order of their urgency', async () => {
    const bench = new Bench();
    for (const channel of ['a', 'b', 'c', 'd']) bench.fill(channel, 1);
    void bench.inquiries.peek('a', () => ({ at: 'first' }), 'routine');
    void bench.inquiries.peek('b', () => ({ at: 'first' }), 'routine');
    void bench.inquiries.peek('c', () => ({ at: 'first' }), 'missing');
    void bench.inquiries.fetch('d', 1, 2, () => true);
    await bench.pass(200);
    assert.deepEqual(bench.channelsAsked, ['a', 'd', 'c', 'b']);
  });

  it('wait for the requests of the user, unless they are urgent', async () => {
    const bench = new Bench();
    for (const channel of ['a', 'b']) bench.fill(channel, 1);
    bench.server.latency = 50;
    void bench.session.subscribe(
      { channel: 'user', maxInFlight: 1, ackWait: 1000, start: { at: 'new' } },
      nobody,
      nobody,
    );
    void bench.inquiries.peek('a', () => ({ at: 'first' }), 'routine');
    void bench.inquiries.peek('b', () => ({ at: 'first' }), 'held');
    await bench.pass(99);
    assert.deepEqual(bench.channelsAsked, ['user', 'b']);
    await bench.pass(1000);
    assert.deepEqual(bench.channelsAsked, ['user', 'b', 'a']);
  });

  it('ask for an age as it is when it is asked for', async () => {
    const bench = new Bench();
    bench.server.latency = 100;
    const since = bench.time.clock.elapsed();
    bench.fill('a', 1);
    void bench.session.subscribe(
      { channel: 'user', maxInFlight: 1, ackWait: 1000, start: { at: 'new' } },
      nobody,
      nobody,
    );
    const look = bench.inquiries.peek('a', () => ({ ago: bench.time.clock.elapsed() - since + 100 }), 'routine');
    await bench.pass(1000);
    assert.deepEqual(await look, bench.position('a', 1));
  });

  it('about the identity of a channel are one for all who ask', async () => {
    const bench = new Bench();
    bench.fill('a', 1000);
    const date = {};
    const judgements = Array.from({ length: 1000 }, (_, i) =>
      bench.inquiries.identify('a', bench.position('a', i + 1), date, 'routine'),
    );
    await bench.pass(50);
    // The first who asks cannot know that others will: two at most.
    assert.deepEqual(
      bench.server.requests.map(({ start }) => start),
      [{ sequence: 1 }, { sequence: 1000 }],
    );
    assert.ok((await Promise.all(judgements)).every((judgement) => judgement?.same));
    assert.deepEqual(await bench.inquiries.identify('a', bench.position('a', 7), date, 'held'), {
      same: true,
      shown: 1000,
    });
    assert.equal(bench.server.requests.length, 2);
  });

  it('about an identity become urgent when somebody has to wait for it', async () => {
    const bench = new Bench();
    for (const channel of ['a', 'b', 'c']) bench.fill(channel, 1);
    bench.server.latency = 20;
    void bench.inquiries.identify('a', bench.position('a', 1), 1, 'routine');
    void bench.inquiries.identify('b', bench.position('b', 1), 1, 'routine');
    void bench.inquiries.identify('c', bench.position('c', 1), 1, 'routine');
    await bench.pass(1);
    void bench.inquiries.identify('c', bench.position('c', 1), 1, 'held');
    await bench.pass(1000);
    assert.deepEqual(bench.channelsAsked, ['a', 'c', 'b']);
  });

  it('insist when nothing comes, and do not hold up others by it', async () => {
    const bench = new Bench();
    bench.server.channel('empty');
    bench.fill('b', 1);
    const empty = bench.inquiries.identify('empty', { sequence: 5, time: 5 }, 1, 'routine');
    const other = bench.inquiries.identify('b', bench.position('b', 1), 1, 'routine');
    await bench.pass(100);
    assert.equal((await other)?.same, true);
    await bench.pass(7000);
    assert.equal(await empty, undefined);
    assert.equal(bench.channelsAsked.filter((channel) => channel === 'empty').length, 6);
    // The server's own are gone by then.
    await bench.time.pass(60_000);
    assert.equal(bench.time.armed, 0, 'no timer is left');
  });

  it('end with their session, and say that they learned nothing', async () => {
    const bench = new Bench();
    bench.fill('a', 5);
    bench.server.channel('empty');
    const empty = bench.inquiries.peek('empty', () => ({ at: 'last' }), 'held');
    await bench.pass(10);
    const waiting = [
      bench.inquiries.peek('a', () => ({ at: 'first' }), 'held'),
      bench.inquiries.peek('a', () => ({ at: 'first' }), 'routine'),
      bench.inquiries.identify('a', bench.position('a', 1), 1, 'routine'),
    ];
    const fetch = bench.inquiries.fetch('a', 1, 5, () => true);
    bench.session.kill();
    bench.inquiries.detach();
    assert.deepEqual(await Promise.all([empty, ...waiting, fetch]), [
      undefined,
      undefined,
      undefined,
      undefined,
      'failed',
    ]);
    assert.equal(await bench.inquiries.fetch('a', 1, 5, () => true), 'failed');
    bench.session = bench.server.connect();
    bench.inquiries.attach(bench.session);
    const again = bench.inquiries.peek('a', () => ({ at: 'first' }), 'routine');
    await bench.pass(20);
    assert.deepEqual(await again, bench.position('a', 1));
  });

  it('say how a fetch ended', async () => {
    const bench = new Bench();
    bench.fill('a', 10);
    const run = async (from: number, to: number, take: (message: RawMessage) => boolean): Promise<unknown[]> => {
      const taken: number[] = [];
      const fetch = bench.inquiries.fetch('a', from, to, (message) => {
        taken.push(message.getSequence());
        return take(message);
      });
      await bench.pass(1500);
      return [await fetch, ...taken];
    };
    const all = (): boolean => true;
    assert.deepEqual(await run(3, 6, all), ['through', 3, 4, 5]);
    assert.deepEqual(await run(9, 15, all), ['silent', 9, 10]);
    assert.deepEqual(await run(3, 6, () => false), ['enough', 3]);
    bench.server.truncate(8, 'a');
    assert.deepEqual(await run(3, 6, all), ['through']);
    bench.server.refuse = () => 'stan: no';
    assert.deepEqual(await run(8, 9, all), ['failed']);
  });

  it('are not made when the server has no room', async () => {
    const bench = new Bench();
    bench.fill('a', 1);
    bench.crowded = true;
    assert.equal(await bench.inquiries.peek('a', () => ({ at: 'first' }), 'held'), undefined);
    assert.equal(await bench.inquiries.identify('a', bench.position('a', 1), 1, 'held'), undefined);
    assert.equal(await bench.inquiries.fetch('a', 1, 2, () => true), 'failed');
    assert.equal(bench.server.requests.length, 0);
  });

  it('are made again when the server has room again, also those that calls share', async () => {
    const bench = new Bench();
    bench.fill('a', 1);
    bench.crowded = true;
    await assert.rejects(bench.inquiries.newest('a', 'asked'));
    bench.crowded = false;
    const newest = bench.inquiries.newest('a', 'asked');
    await bench.pass(20);
    assert.deepEqual(await newest, bench.position('a', 1));
  });

  it('of a hundred durables and a hundred groups of a channel are two at the most on a new session', async () => {
    const time = modelTime();
    const server = new ModelServer(time);
    const subscriptions = new Subscriptions({ teller: TELLER, clock: time.clock, onError: assert.fail });
    const attach = async (): Promise<void> => {
      const attaching = subscriptions.attach(session);
      await time.pass(500);
      await attaching;
    };
    let session = server.connect();
    await attach();
    for (let i = 0; i < 100; i++) {
      const options = { startAt: 'first', durableName: `d${i}` } as const;
      void subscriptions.subscribe('foo', nobody, subscribeOptions(options));
      void subscriptions.subscribe('foo', nobody, subscribeOptions({ startAt: 'first', queueGroup: `q${i}` }));
    }
    await time.pass(500);
    server.publish('a');
    await time.pass(500);
    session.kill();
    subscriptions.detach();
    server.requests.length = 0;
    session = server.connect();
    await attach();
    await time.pass(60_000);
    const looks = server.requests.filter(({ optional, queueGroup }) => optional && queueGroup === undefined);
    assert.equal(server.requests.length - looks.length, 200);
    assert.ok(looks.length >= 1 && looks.length <= 2, `${looks.length} looks`);
  });
});
