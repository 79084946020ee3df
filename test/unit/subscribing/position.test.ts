/**
 * Reads, lags and catching up on a scripted server in virtual time: what is asked of it, also when messages are lost on their
 * way, sessions die and the limits of a channel take messages.
 */
import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import fc from 'fast-check';
import { AbortedError, ClosedError, SubscribeError, TimeoutError } from '../../../src/errors.js';
import { Caller } from '../../../src/subscribing/caller.js';
import type { ResolvedSubscribeOptions } from '../../../src/subscribing/subscribe-options.js';
import type { MessageHandler } from '../../../src/subscribing/message.js';
import { ChannelReader } from '../../../src/subscribing/reader.js';
import { resolveRange, type ReadRange } from '../../../src/subscribing/read-options.js';
import type { ResilientSubscription } from '../../../src/subscribing/subscription.js';
import { Subscriptions } from '../../../src/subscribing/subscriptions.js';
import {
  ModelServer,
  modelTime,
  subscribeOptions,
  type ScriptedSession,
  TELLER,
} from '../../support/scripted-subscriptions.js';

const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);

class Client {
  readonly time = modelTime();
  readonly server: ModelServer;
  readonly log: string[] = [];
  readonly gaps: string[] = [];
  readonly subscriptions = new Subscriptions({
    teller: TELLER,
    clock: this.time.clock,
    onError: (error) => assert.fail(error),
    log: (message) => this.log.push(message),
  });
  session!: ScriptedSession;

  constructor() {
    this.server = new ModelServer(this.time);
  }

  async connect(): Promise<this> {
    this.session = this.server.connect();
    const attaching = this.subscriptions.attach(this.session);
    attaching.catch(() => undefined);
    await this.time.pass(20);
    await attaching;
    return this;
  }

  kill(): void {
    this.session.kill();
    this.subscriptions.detach();
  }

  publish(count: number, channel = 'foo'): void {
    for (let i = 0; i < count; i++) {
      this.server.publish(`v${this.server.channel(channel).last + 1}`, channel);
    }
  }

  async subscribe(
    options: Partial<ResolvedSubscribeOptions> = {},
    handler: MessageHandler = () => undefined,
    channel = 'foo',
  ): Promise<ResilientSubscription> {
    const subscribing = this.subscriptions.subscribe(channel, handler, subscribeOptions(options));
    subscribing.catch(() => undefined);
    await this.time.pass(20);
    return subscribing;
  }

  /** The outcome of a promise, once so much time has passed. */
  async after<T>(promise: Promise<T>, ms: number): Promise<T> {
    promise.catch(() => undefined);
    await this.time.pass(ms);
    return promise;
  }

  read(asked: ReadRange = {}, signal?: AbortSignal): ChannelReader {
    const owner = {
      clock: this.time.clock,
      questions: this.subscriptions.questions,
      onGap: (_: string, { from, to }: { from: number; to: number }) => this.gaps.push(`${from}-${to}`),
      onListenerThrown: (error: Error) => assert.fail(error),
    };
    const request = { channel: 'foo', range: resolveRange('foo', asked), caller: new Caller(signal, 'the read') };
    return ChannelReader.of(owner, request);
  }

  get newest(): Promise<number> {
    return this.subscriptions.questions.newest('foo', new Caller()).then((seen) => seen?.sequence ?? 0);
  }

  /** How many subscribe requests there were. */
  get asked(): number {
    return this.server.requests.length;
  }
}

/** The sequence of the next message that a reader gives. */
async function nextOf(reader: ChannelReader): Promise<number | undefined> {
  const next = await reader.next();
  return next.done === true ? undefined : next.value.sequence;
}

/** The sequences that a reader gives, until its end. */
async function sequences(reader: ChannelReader, got: number[] = []): Promise<number[]> {
  for await (const { sequence } of reader) got.push(sequence);
  return got;
}

describe('the newest message', () => {
  it('is asked for once by all who wait, until the question is sent', async () => {
    const client = await new Client().connect();
    client.publish(1);
    client.server.latency = 10;
    // Two are sent at a time, so the third question waits, and all others with it.
    const asked = Array.from({ length: 50 }, () => client.newest);
    await client.time.pass(10);
    client.publish(1);
    await client.time.pass(500);
    const answers = await Promise.all(asked);
    assert.ok(client.asked <= 3, String(client.asked));
    assert.equal(answers.at(-1), 2);
    assert.equal(client.server.subs.length, 0);
  });

  it('is asked for again for who asks after the question was sent', async () => {
    const client = await new Client().connect();
    client.publish(1);
    client.server.latency = 10;
    const before = [client.newest, client.newest, client.newest];
    // Two are sent at a time. The third one has reached the server now, and its answer has not reached us.
    for (let i = 0; i < 100 && client.asked < 3; i++) await client.time.pass(1);
    await client.time.pass(15);
    client.publish(1);
    const after = client.newest;
    await client.time.pass(500);
    assert.deepEqual(await Promise.all(before), [1, 1, 1]);
    assert.equal(await after, 2);
  });

  it('is certainly not there only when two questions in a row have found none', async () => {
    const client = await new Client().connect();
    assert.equal(await client.after(client.newest, 1000), 0);
    client.publish(3);
    client.session.loseMessages = 1;
    assert.equal(await client.after(client.newest, 1000), 3);
    client.server.latency = 400;
    client.session.loseMessages = 1;
    assert.equal(await client.after(client.newest, 10_000), 3);
    assert.equal(client.server.subs.length, 0);
  });

  it('is asked for again on the next session', async () => {
    const client = await new Client().connect();
    client.publish(3);
    client.session.mute = true;
    const newest = client.newest;
    await client.time.pass(100);
    client.kill();
    await client.time.pass(5000);
    await client.connect();
    assert.equal(await client.after(newest, 100), 3);
  });

  it('is asked for again after a refusal that passes, and refused for good otherwise', async () => {
    const client = await new Client().connect();
    client.publish(3);
    let refusals = 30;
    client.server.refuse = () => (refusals-- > 0 ? 'stan: node is not the leader' : undefined);
    assert.equal(await client.after(client.newest, 60_000), 3);
    client.server.refuse = () => 'something else';
    await assert.rejects(client.after(client.newest, 60_000), SubscribeError);
    const before = client.asked;
    client.server.refuse = () => 'too many channels';
    await assert.rejects(client.after(client.newest, 100), (error: SubscribeError) => {
      assert.equal(error.serverText, 'too many channels');
      return true;
    });
    assert.equal(client.asked, before + 1);
    client.server.refuse = () => undefined;
    client.subscriptions.crowd();
    await assert.rejects(client.after(client.newest, 100), SubscribeError);
    assert.equal(client.asked, before + 1, 'the server would end the session over one more');
  });

  it('is asked for again when so many subscriptions have ended that the server has room', async () => {
    const client = await new Client().connect();
    client.publish(3);
    const made: ResilientSubscription[] = [];
    for (const name of ['a', 'b', 'c', 'd']) made.push(await client.subscribe({}, () => undefined, name));
    client.subscriptions.crowd();
    const end = (): Promise<void> => client.after(made.pop()!.close(), 20);
    await assert.rejects(client.after(client.newest, 100), SubscribeError);
    await end();
    // A question takes two subscriptions at a time.
    await assert.rejects(client.after(client.newest, 100), SubscribeError);
    await end();
    assert.equal(await client.after(client.newest, 1000), 3);
    await client.subscribe();
    await assert.rejects(client.after(client.newest, 100), SubscribeError);
    await end();
    client.subscriptions.crowd();
    await assert.rejects(client.after(client.newest, 100), SubscribeError, 'there was less room than it seemed');
  });

  it('is given up when the caller or the client does not wait any more', async () => {
    const client = new Client();
    const controller = new AbortController();
    const caller = new Caller(controller.signal, 'it');
    const aborted = client.subscriptions.questions.newest('foo', caller);
    const closed = client.newest;
    controller.abort();
    await assert.rejects(aborted, AbortedError);
    void client.subscriptions.drain();
    await assert.rejects(closed, ClosedError);
    await assert.rejects(client.newest, ClosedError);
  });
});

describe('a reader', () => {
  it('asks for the next page when half of the last one is taken, and for none in advance of that', async () => {
    const client = await new Client().connect();
    client.publish(10_000);
    const reader = client.read();
    await client.time.pass(2000);
    assert.equal(client.asked, 1, 'the newest message');
    const first = reader.next();
    await client.after(first, 100);
    assert.equal(client.asked, 2);
    for (let n = 2; n <= 15; n++) await reader.next();
    await client.time.pass(100);
    assert.equal(client.asked, 2);
    await reader.next();
    await client.time.pass(60_000);
    assert.equal(client.asked, 3, 'and no more, however long the loop takes');
    assert.equal(client.server.subs.length, 0);
    await reader.return();
  });

  it('answers calls that do not wait for each other in their order', async () => {
    const client = await new Client().connect();
    client.publish(3);
    const reader = client.read();
    const answers = Promise.all(Array.from({ length: 5 }, () => reader.next()));
    await client.time.pass(100);
    assert.deepEqual(
      (await answers).map(({ value }) => (value as { sequence: number } | undefined)?.sequence),
      [1, 2, 3, undefined, undefined],
    );
  });

  it('can be ended while somebody waits for its next message', async () => {
    const client = new Client();
    const reader = client.read();
    const next = reader.next();
    await client.time.pass(100);
    assert.deepEqual(await reader.return(), { done: true, value: undefined });
    assert.deepEqual(await next, { done: true, value: undefined });
    await assert.rejects(client.read().throw(new Error('mine')), /mine/);
  });

  it('listens to its signal only while it waits, also if nobody asks for a message', async () => {
    const client = await new Client().connect();
    client.publish(2000);
    const { signal } = new AbortController();
    const listeners = (): number => getEventListeners(signal, 'abort').length;
    const reader = client.read({}, signal);
    await client.time.pass(0.5);
    assert.equal(listeners(), 1, 'it does not listen while it asks');
    await client.time.pass(1000);
    assert.equal(listeners(), 0, 'it keeps a listener although nobody iterates');
    assert.equal(await client.after(nextOf(reader), 1000), 1);
    assert.equal(listeners(), 0, 'it keeps a listener between two pages');
    assert.equal((await client.after(sequences(reader), 5000)).length, 1999);
    assert.equal(listeners(), 0);
  });

  it('hands nothing more over once its signal is aborted, also if it waited for nothing then', async () => {
    const client = await new Client().connect();
    client.publish(2);
    const controller = new AbortController();
    const reader = client.read({}, controller.signal);
    assert.equal(await client.after(nextOf(reader), 1000), 1);
    controller.abort();
    await assert.rejects(reader.next(), AbortedError);
    assert.equal((await reader.next()).done, true);
  });

  it('is simply over when all was handed over before the client closes or its signal is aborted', async () => {
    const client = await new Client().connect();
    client.publish(3);
    for (const end of ['abort', 'close'] as const) {
      const controller = new AbortController();
      const reader = client.read({}, controller.signal);
      const third = reader
        .next()
        .then(() => reader.next())
        .then(() => reader.next());
      assert.equal(((await client.after(third, 100)).value as { sequence: number }).sequence, 3);
      if (end === 'abort') controller.abort();
      else client.subscriptions.close();
      assert.deepEqual(await reader.next(), { done: true, value: undefined });
    }
  });

  it('hands over what it has, and then says that the server does not send the rest', async () => {
    const client = await new Client().connect();
    client.publish(100);
    const got: number[] = [];
    const reading = sequences(client.read(), got);
    client.server.onSend = ({ request, session }, { sequence }) => {
      if (sequence > 20 && request.maxInFlight > 1) session.loseMessages = 1;
    };
    await assert.rejects(client.after(reading, 120_000), (error: Error) => {
      assert.ok(error instanceof TimeoutError);
      assert.match(error.message, /messages 21 to 100 of channel 'foo'/);
      return true;
    });
    assert.deepEqual(got, range(1, 20));
    assert.equal(client.server.subs.length, 0);
  });

  it('finds the beginning of a time when the clocks differ', async () => {
    for (const skew of [0, 900, -900, 3000, -3000, 30_000, -30_000, 4_000_000, -4_000_000]) {
      const client = await new Client().connect();
      client.server.skew = skew;
      const stamps: number[] = [];
      for (let n = 1; n <= 40; n++) {
        client.publish(1);
        stamps.push(client.server.channel().lookup(n)!.time);
        await client.time.pass(500);
      }
      const since = new Date(Math.ceil(stamps[24]! / 1e6));
      const got = await client.after(sequences(client.read({ since })), 60_000);
      assert.deepEqual(got, range(stamps.findIndex((stamp) => stamp >= since.getTime() * 1e6) + 1, 40), String(skew));
    }
  });

  it('gives each message once and in order through losses, or tells that it is gone', async () => {
    type Fault = 'kill' | 'lose' | 'drop';
    const setting = fc.record({
      stored: fc.integer({ min: 1, max: 300 }),
      limit: fc.constantFrom(Infinity, 250, 50),
      from: fc.option(fc.integer({ min: 1, max: 200 }), { nil: undefined }),
      faults: fc.array(
        fc.tuple(fc.nat(40), fc.constantFrom<Fault>('kill', 'lose', 'drop'), fc.integer({ min: 1, max: 40 })),
        {
          maxLength: 6,
        },
      ),
    });
    await fc.assert(
      fc.asyncProperty(setting, async ({ stored, limit, from, faults }) => {
        const client = await new Client().connect();
        client.server.maxMessages = limit;
        client.publish(stored);
        const firstStored = client.server.channel().first;
        const reader = client.read(from === undefined ? {} : { from });
        await client.time.pass(100);
        const got: number[] = [];
        let over = false;
        const reading = (async () => {
          for await (const { sequence } of reader) {
            got.push(sequence);
            await new Promise<void>((resolve) => client.time.clock.after(1, resolve));
          }
          over = true;
        })();
        for (const [wait, fault, amount] of faults) {
          await client.time.pass(wait);
          if (fault === 'lose') client.session.loseMessages = amount;
          else if (fault === 'drop') client.publish(amount);
          else {
            client.kill();
            await client.time.pass(amount);
            await client.connect();
          }
        }
        client.session.loseMessages = 0;
        for (let i = 0; i < 100 && !over; i++) await client.time.pass(2000);
        assert.ok(over, 'it ends');
        await reading;
        const gone = client.gaps.flatMap((gap) => {
          const [low = 0, high = 0] = gap.split('-').map(Number);
          return range(low, high);
        });
        const begin = from ?? got[0] ?? gone[0] ?? stored + 1;
        assert.deepEqual(
          [...got, ...gone].sort((a, b) => a - b),
          begin > stored ? [] : range(begin, stored),
        );
        assert.deepEqual(
          got,
          [...got].sort((a, b) => a - b),
        );
        const last = client.server.channel().first;
        for (const n of gone) assert.ok(n < Math.max(firstStored, last), `${n} is still stored`);
        await client.time.pass(2000);
        assert.equal(client.server.subs.length, 0, 'nothing is left behind');
      }),
      { numRuns: 60 },
    );
  });
});

describe('how far a subscription has come', () => {
  it('costs the server nothing while nobody asks', async () => {
    const client = await new Client().connect();
    client.publish(3);
    const subscription = await client.subscribe({ startAt: 'first' });
    await client.time.pass(60_000);
    assert.equal(client.asked, 1);
    let told = 0;
    subscription.once('caught_up', () => told++);
    await client.time.pass(100);
    assert.equal(told, 1);
    assert.equal(client.asked, 2);
    subscription.on('caught_up', () => told++);
    await client.time.pass(60_000);
    await subscription.caughtUp();
    assert.equal(told, 1, 'once');
    assert.equal(client.asked, 2);
  });

  it('is not asked for again by those who wait, when they come back', async () => {
    const client = await new Client().connect();
    client.publish(3);
    const gates: (() => void)[] = [];
    let told = 0;
    for (let i = 0; i < 30; i++) {
      const handler = (): Promise<void> => new Promise((resolve) => gates.push(resolve));
      const subscription = await client.subscribe({ durableName: `d${i}`, startAt: 'first' }, handler);
      subscription.on('caught_up', () => told++);
    }
    await client.time.pass(5000);
    for (let i = 0; i < 3; i++) {
      client.kill();
      await client.connect();
      await client.time.pass(1000);
    }
    const before = client.asked;
    client.kill();
    await client.connect();
    await client.time.pass(10_000);
    const looks = client.asked - before - 30;
    assert.ok(looks <= 2, `${looks}: only whether the channel is the same`);
    while (gates.length > 0) {
      gates.shift()!();
      await client.time.pass(1);
    }
    assert.equal(told, 30);
  });

  it('leaves no timer and no listener behind when the subscription ends', async () => {
    const client = await new Client().connect();
    client.publish(1);
    const subscription = await client.subscribe({ startAt: 'first' }, () => new Promise<void>(() => undefined));
    const controller = new AbortController();
    const waits = [subscription.caughtUp(), subscription.lag(), subscription.lag({ signal: controller.signal })];
    await client.time.pass(100);
    client.kill();
    const armed = client.time.armed;
    const lag = subscription.lag({ signal: controller.signal });
    controller.abort();
    await assert.rejects(lag, AbortedError);
    client.subscriptions.close();
    await assert.rejects(waits[0]!, ClosedError);
    assert.deepEqual(await Promise.all(waits.slice(1)), [1, 1]);
    assert.ok(client.time.armed <= armed);
    await assert.rejects(subscription.caughtUp(), ClosedError);
  });

  it('is told after all that was there at the start, and not after what came later', async () => {
    const client = await new Client().connect();
    client.publish(10);
    const handled: number[] = [];
    const subscription = await client.subscribe(
      { startAt: 'first' },
      ({ sequence }) =>
        new Promise((resolve) => {
          client.time.clock.after(10, () => {
            handled.push(sequence);
            if (sequence <= 10) client.publish(1);
            resolve();
          });
        }),
    );
    let at: number | undefined;
    subscription.on('caught_up', () => (at = handled.at(-1)));
    await client.time.pass(1000);
    // The question was asked while the first ones were handled.
    assert.ok(at !== undefined && at >= 10 && at <= 15, String(at));
  });

  it('waits for a message whose handler fails', async () => {
    const client = await new Client().connect();
    client.publish(3);
    let fails = true;
    const subscription = await client.subscribe({ startAt: 'first', ackWait: 1000 }, ({ sequence }) => {
      if (sequence === 2 && fails) throw new Error('not yet');
    });
    let told = 0;
    subscription.on('caught_up', () => told++);
    await client.time.pass(10_000);
    assert.equal(told, 0);
    assert.equal(await client.after(subscription.lag(), 100), 1);
    fails = false;
    await client.time.pass(3000);
    assert.equal(told, 1);
    assert.equal(await client.after(subscription.lag(), 100), 0);
  });

  it('does not wait for ever for what the limits of the channel have taken', async () => {
    const client = await new Client().connect();
    client.publish(10);
    client.server.onSend = ({ request, session }, { sequence }) => {
      if (sequence > 2 && request.maxInFlight > 1) session.loseMessages = 1;
    };
    const subscription = await client.subscribe({ startAt: 'first' });
    let told = 0;
    subscription.on('caught_up', () => told++);
    await client.time.pass(20_000);
    assert.equal(told, 0, 'they are stored, so they may come');
    assert.equal(await client.after(subscription.lag(), 2000), 8);
    client.server.channel().first = 11;
    await client.time.pass(60_000);
    assert.equal(told, 1);
    assert.equal(await client.after(subscription.lag(), 2000), 0);
    assert.ok(client.asked < 20, `${client.asked} requests`);
  });

  it('begins anew when the channel does', async () => {
    const client = await new Client().connect();
    client.publish(5);
    const gates: (() => void)[] = [];
    const got: string[] = [];
    const subscription = await client.subscribe({ startAt: 'first' }, (message) => {
      got.push(message.string());
      return new Promise((resolve) => gates.push(resolve));
    });
    let told = 0;
    subscription.on('caught_up', () => told++);
    await client.time.pass(1000);
    client.kill();
    client.server.channels.delete('foo');
    await client.time.pass(1000);
    for (const value of ['a', 'b']) client.server.publish(value);
    await client.connect();
    for (let i = 0; i < 20 && told === 0; i++) {
      await client.time.pass(500);
      assert.equal(told, Number(got.includes('b') && gates.length === 0));
      gates.shift()?.();
      await client.time.pass(1);
    }
    assert.equal(told, 1);
    assert.deepEqual(got.slice(-2), ['a', 'b']);
  });

  it('is known for a subscription that gets nothing more', async () => {
    const client = await new Client().connect();
    client.publish(10);
    const quiet: Partial<ResolvedSubscribeOptions>[] = [
      { startAt: 'new' },
      { durableName: 'd', startAt: 'new' },
      { queueGroup: 'g', startAt: 'new' },
      { startAt: { sequence: 500 } },
    ];
    for (const options of quiet) {
      const subscription = await client.subscribe(options);
      assert.equal(await client.after(subscription.lag(), 1500), 0, JSON.stringify(options));
      const before = client.asked;
      assert.equal(await client.after(subscription.lag(), 100), 0);
      assert.equal(client.asked, before + 1, 'it does not wait for a silence again');
    }
  });

  it('counts what is stored and not processed', async () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('publish' as const), n: fc.integer({ min: 1, max: 20 }) }),
      fc.record({ kind: fc.constant('handle' as const), n: fc.integer({ min: 1, max: 20 }) }),
      fc.record({ kind: fc.constant('lose session' as const), n: fc.nat(50) }),
    );
    const kind = fc.constantFrom<Partial<ResolvedSubscribeOptions>>(
      { startAt: 'first' },
      { startAt: 'new' },
      { startAt: 'last' },
      { durableName: 'd', startAt: 'first' },
      { queueGroup: 'g', startAt: 'first' },
    );
    const setting = fc.record({
      stored: fc.nat(50),
      limit: fc.constantFrom(Infinity, 30),
      maxInFlight: fc.constantFrom(1, 5, 1024),
      kind,
      steps: fc.array(step, { maxLength: 8 }),
    });
    await fc.assert(
      fc.asyncProperty(setting, async ({ stored, limit, maxInFlight, kind, steps }) => {
        const client = await new Client().connect();
        client.server.maxMessages = limit;
        client.publish(stored);
        const channel = client.server.channel();
        const waiting: { sequence: number; done: () => void }[] = [];
        const processed = new Set<number>();
        const handler: MessageHandler = ({ sequence }) =>
          new Promise((resolve) => {
            const done = (): void => {
              processed.add(sequence);
              resolve();
            };
            waiting.push({ sequence, done });
          });
        const first = kind.startAt === 'first' ? 1 : kind.startAt === 'last' ? Math.max(1, stored) : stored + 1;
        const subscription = await client.subscribe({ ...kind, maxInFlight }, handler);
        for (const { kind, n } of steps) {
          if (kind === 'publish') client.publish(n);
          else if (kind === 'handle') {
            for (let i = 0; i < n && waiting.length > 0; i++) {
              waiting.shift()!.done();
              await client.time.pass(5);
            }
          } else {
            client.kill();
            await client.time.pass(n);
            await client.connect();
          }
          await client.time.pass(50);
        }
        const inHand = new Set(waiting.map(({ sequence }) => sequence));
        // The queue in front of the handler counts as in hand, though the limits may have taken its messages at the server.
        const received = subscription.lastSequence;
        const lag = await client.after(subscription.lag(), 5000);
        const stillStored = range(Math.max(first, channel.first), channel.last).filter((n) => !processed.has(n)).length;
        const everStored = range(first, channel.last).filter((n) => !processed.has(n)).length;
        assert.ok(
          lag >= stillStored && lag <= Math.max(stillStored, everStored),
          `${lag}: ${stillStored} to ${everStored}`,
        );
        if (limit === Infinity) assert.equal(lag, stillStored);
        assert.ok(inHand.size <= lag);
        assert.ok(received <= channel.last);
      }),
      { numRuns: 100 },
    );
  });
});
