/**
 * Whether a checker that looks over the cut notices what goes wrong there. Both sides are in memory, because no real server loses,
 * repeats or shifts a message when it is told to. Moves between real servers are in rehearsal.test.ts.
 */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  ContinuityChecker,
  Seam,
  type CheckedClient,
  type CheckedMessage,
  type SubscriptionVerdict,
  type Verdict,
} from '../../src/testing/index.js';
import type { SubscribeOptions } from '../../src/index.js';
import type { PublisherHistory } from '../../src/testing/continuity/history.js';

const CHANNEL = 'orders';

interface Subscriber {
  readonly handler: (message: CheckedMessage) => void | Promise<void>;
  readonly durable: string | undefined;
  /** The next message that it gets. */
  next: number;
  /** What it did not get, for the test to hand it over late. */
  readonly missed: CheckedMessage[];
}

/** One side: a channel in memory. Deliveries go through `deliver`, which can be told to misbehave. */
class Side implements CheckedClient {
  readonly messages = new Map<number, string>();
  /** The positions of durables, which the servers keep. */
  readonly positions: Map<string, number>;
  readonly subscribers: Subscriber[] = [];
  /** Subscribers get messages up to this one. */
  reach = Infinity;
  /** What is handed over in the place of a message. */
  deliver: (message: CheckedMessage, isPlain: boolean) => CheckedMessage[] = (message) => [message];
  last = 0;
  /** Publishes wait for this. */
  answers: Promise<void> = Promise.resolve();

  constructor(positions = new Map<string, number>()) {
    this.positions = new Map(positions);
  }

  async publish(_channel: string, data: string): Promise<void> {
    await this.answers;
    this.store(data);
  }

  store(data: string, sequence = this.last + 1): void {
    this.messages.set(sequence, data);
    this.last = sequence;
    for (const subscriber of this.subscribers) this.#feed(subscriber);
  }

  async subscribe(_channel: string, handler: Subscriber['handler'], options: SubscribeOptions = {}): Promise<unknown> {
    const { durableName: durable, startAt } = options;
    const start =
      startAt === 'first' ? 1 : typeof startAt === 'object' && 'sequence' in startAt ? startAt.sequence : this.last + 1;
    const position = durable === undefined ? undefined : this.positions.get(durable);
    const subscriber: Subscriber = {
      handler,
      durable,
      next: position === undefined ? start : position + 1,
      missed: [],
    };
    this.subscribers.push(subscriber);
    this.#feed(subscriber);
    return {
      close: async (): Promise<void> => void this.subscribers.splice(this.subscribers.indexOf(subscriber), 1),
    };
  }

  #feed(subscriber: Subscriber): void {
    for (; subscriber.next <= Math.min(this.last, this.reach); subscriber.next++) {
      const { next, durable, handler } = subscriber;
      const data = this.messages.get(next);
      if (data === undefined) continue;
      const message = { sequence: next, data: Buffer.from(data) };
      const handed = this.deliver(message, durable === undefined);
      if (!handed.includes(message)) subscriber.missed.push(message);
      for (const each of handed) void handler(each);
      if (durable !== undefined) this.positions.set(durable, next);
    }
  }
}

/** One move. */
interface Course {
  /** Messages before the cut, and those of them that the subscriptions got before it. */
  readonly before: number;
  readonly got: number;
  /** Messages after the cut. */
  readonly after: number;
}

const COURSE: fc.Arbitrary<Course> = fc
  .record({
    before: fc.integer({ min: 2, max: 100 }),
    share: fc.double({ min: 0, max: 1, noNaN: true }),
    after: fc.integer({ min: 2, max: 20 }),
  })
  .map(({ before, share, after }) => ({ before, got: Math.round(share * before), after }));
/** One of the messages from `from` to `to`. */
const oneOf = (from: number, to: number): fc.Arbitrary<number> => fc.integer({ min: from, max: to });

/** A system with one publisher and a subscription of each kind, which is moved. The test does damage between the steps. */
class Move {
  readonly checker = new ContinuityChecker({ channel: CHANNEL });
  readonly stan = new Side();
  readonly seam = new Seam(this.stan);
  readonly course: Course;
  readonly #writer: PublisherHistory = this.checker.history.publisher('writer');
  /** The subscribers before the cut. */
  before: Subscriber[] = [];
  jetstream = new Side();
  #time = 0;

  constructor(course: Course) {
    this.course = course;
    this.stan.reach = course.got;
  }

  /** Up to the cut. */
  async begin(): Promise<void> {
    const { checker, seam } = this;
    await checker.subscribe('plain', seam, { startAt: 'first' });
    await checker.subscribe('durable', seam, { startAt: 'first', durableName: 'd' });
    await checker.subscribe('group', seam, { startAt: 'first', durableName: 'g', queueGroup: 'q' });
    for (let i = 0; i < this.course.before; i++) await this.publish();
    await seam.hold();
    this.before = [...this.stan.subscribers];
    await seam.leave();
    this.jetstream = new Side(this.stan.positions);
    for (const [sequence, data] of this.stan.messages) this.jetstream.store(data, sequence);
  }

  /** From the cut to the verdict. @param late what happens when all is delivered */
  async end(late: () => void = () => undefined): Promise<Verdict> {
    await this.seam.cross(this.jetstream);
    for (let i = 0; i < this.course.after; i++) await this.publish();
    late();
    return await this.checker.finish({ timeout: 1 });
  }

  async publish(client: CheckedClient = this.seam): Promise<void> {
    const counter = this.#writer.attempt(++this.#time);
    await client.publish(CHANNEL, `writer-${counter}`);
    this.#writer.settle(counter, 'acknowledged', ++this.#time);
  }
}

const of = (verdict: Verdict, name: string): SubscriptionVerdict =>
  verdict.subscriptions.find((subscription) => subscription.name === name)!;

describe('testing: Seam', function () {
  this.timeout(60_000);

  /** Moves with damage done, again and again. */
  async function moves<T>(
    arbitrary: (course: Course) => fc.Arbitrary<T>,
    check: (move: Move, damage: T) => Promise<void>,
    courses: fc.Arbitrary<Course> = COURSE,
  ): Promise<void> {
    const both = courses.chain((course) => arbitrary(course).map((damage) => ({ course, damage })));
    await fc.assert(
      fc.asyncProperty(both, async ({ course, damage }) => {
        const move = new Move(course);
        await move.begin();
        await check(move, damage);
      }),
      { numRuns: 60 },
    );
  }
  const violated = ({ violations }: Verdict, pattern: RegExp): void =>
    assert.ok(
      violations.some((violation) => pattern.test(violation)),
      `${pattern} is not in ${JSON.stringify(violations)}`,
    );

  it('without damage nothing is found, wherever the subscriptions stood', async () => {
    await moves(
      () => fc.constant(undefined),
      async (move) => {
        const verdict = await move.end();
        assert.deepEqual(verdict.violations, []);
        const { before, after } = move.course;
        for (const { received, repeated, duplicated } of verdict.subscriptions)
          assert.deepEqual([received, repeated, duplicated], [before + after, 0, 0]);
      },
    );
  });

  it('a message that is lost before the cut, on the way to a plain subscription', async () => {
    await fc.assert(
      fc.asyncProperty(
        COURSE.filter(({ got }) => got >= 2).chain((course) => fc.tuple(fc.constant(course), oneOf(1, course.got - 1))),
        async ([course, lost]) => {
          const move = new Move(course);
          move.stan.deliver = (message) => (message.sequence === lost ? [] : [message]);
          await move.begin();
          violated(await move.end(), /'plain': 1 acknowledged messages lost/);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('a message that is lost by the copy, or after the cut', async () => {
    await moves(
      ({ before, got, after }) => oneOf(got + 1, before + after),
      async (move, lost) => {
        const { got } = move.course;
        move.jetstream.deliver = (message) => (message.sequence === lost ? [] : [message]);
        const verdict = await move.end();
        for (const name of ['plain', 'durable', 'group']) violated(verdict, new RegExp(`'${name}': 1 acknowledged`));
        assert.ok(lost > got);
      },
    );
  });

  it('a message that a plain subscription gets on both sides', async () => {
    await moves(
      ({ got }) => oneOf(1, got),
      async (move, again) => {
        const subscribe = move.jetstream.subscribe.bind(move.jetstream);
        // A server that begins earlier than it was told.
        move.jetstream.subscribe = (channel, handler, options = {}) =>
          subscribe(channel, handler, {
            ...options,
            ...(options.durableName === undefined && { startAt: { sequence: again } }),
          });
        violated(await move.end(), /'plain': \d+ messages handled twice/);
      },
      COURSE.filter(({ got }) => got > 0),
    );
  });

  it('a message that comes twice after the cut', async () => {
    await moves(
      ({ before, got, after }) => oneOf(got + 1, before + after),
      async (move, twice) => {
        move.jetstream.deliver = (message) => (message.sequence === twice ? [message, message] : [message]);
        const verdict = await move.end();
        violated(verdict, /'plain': 1 messages handled twice/);
        violated(verdict, /'durable': 1 messages handled twice/);
      },
    );
  });

  it('a durable may get again what it had at the cut, and a plain subscription may not', async () => {
    await moves(
      ({ got }) => oneOf(0, got - 1),
      async (move, back) => {
        move.jetstream.positions.set('d', back);
        move.jetstream.positions.set('g', back);
        const verdict = await move.end();
        assert.deepEqual(verdict.violations, []);
        const { got } = move.course;
        assert.deepEqual(
          ['plain', 'durable', 'group'].map((name) => of(verdict, name).repeated),
          [0, got - back, got - back],
        );
      },
      COURSE.filter(({ got }) => got > 0),
    );
  });

  it('a position of a durable that is too far', async () => {
    await moves(
      ({ before, got }) => oneOf(got + 1, before),
      async (move, position) => {
        move.jetstream.positions.set('d', position);
        violated(await move.end(), new RegExp(`'durable': ${position - move.course.got} acknowledged messages lost`));
      },
      COURSE.filter(({ got, before }) => got < before),
    );
  });

  it('messages that have got other numbers', async () => {
    await moves(
      ({ before, got }) => fc.integer({ min: got - before, max: before }).filter((by) => by !== 0),
      async (move, by) => {
        const { messages } = move.stan;
        move.jetstream = new Side(move.stan.positions);
        for (const [sequence, data] of messages) if (sequence + by >= 1) move.jetstream.store(data, sequence + by);
        const found = await move.end().then(
          ({ violations }) => violations.join('; '),
          (error: Error) => `${error.name}: ${error.message}`,
        );
        assert.match(found, /is another one after the cut/);
      },
      COURSE.filter(({ got }) => got > 0),
    );
  });

  it('a message that comes from the side before the cut, when a later one has come from the other side', async () => {
    await moves(
      ({ before }) => oneOf(1, before),
      async (move, late) => {
        // A subscription that goes on to deliver after it was closed.
        const [plain] = move.before as [Subscriber];
        const verdict = await move.end(
          () => void plain.handler({ sequence: late, data: Buffer.from(`writer-${late - 1}`) }),
        );
        violated(verdict, /'plain': 1 messages handled twice/);
      },
    );
    const move = new Move({ before: 10, got: 9, after: 3 });
    move.stan.deliver = (message) => (message.sequence === 5 ? [] : [message]);
    await move.begin();
    const [plain] = move.before as [Subscriber];
    violated(await move.end(() => void plain.handler(plain.missed[0]!)), /'plain': 1 messages out of sequence/);
  });

  it('messages that change places at the cut', async () => {
    await moves(
      ({ before, got, after }) => oneOf(got + 1, before + after - 1),
      async (move, first) => {
        let held: CheckedMessage | undefined;
        move.jetstream.deliver = (message, isPlain) => {
          if (!isPlain || ![first, first + 1].includes(message.sequence)) return [message];
          if (message.sequence === first) {
            held = message;
            return [];
          }
          return [message, held!];
        };
        violated(await move.end(), /'plain': 1 messages out of sequence/);
      },
    );
  });

  it('a straggler: lost if nobody appends it, and in order if somebody does', async () => {
    await moves(
      () => fc.boolean(),
      async (move, appended) => {
        // A publisher that was not held: its message reaches STAN after the copy. Nobody reads there any more.
        move.stan.reach = Infinity;
        await move.publish(move.stan);
        if (appended) move.jetstream.store(move.stan.messages.get(move.stan.last)!);
        const verdict = await move.end();
        if (appended) assert.deepEqual(verdict.violations, []);
        else
          for (const name of ['plain', 'durable', 'group']) violated(verdict, new RegExp(`'${name}': 1 acknowledged`));
      },
    );
  });

  it('holds publishers: what is under way is stored before, and what comes later goes to the other side', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 5 }), fc.integer({ min: 0, max: 5 }), async (before, later) => {
        const [stan, jetstream] = [new Side(), new Side()];
        const seam = new Seam(stan);
        let answer = (): void => undefined;
        stan.answers = new Promise((resolve) => (answer = resolve));
        const published = Array.from({ length: before }, (_, i) => seam.publish(CHANNEL, `before ${i}`));
        // Whoever holds it, and how often: each is told when it is idle.
        const held = [seam.hold(), seam.hold()];
        let idle = false;
        void Promise.all(held).then(() => (idle = true));
        published.push(...Array.from({ length: later }, (_, i) => seam.publish(CHANNEL, `later ${i}`)));
        await new Promise((resolve) => setImmediate(resolve));
        assert.equal(idle, before === 0);
        answer();
        await Promise.all(held);
        assert.deepEqual([stan.last, jetstream.last], [before, 0]);
        await seam.leave();
        await seam.cross(jetstream);
        await Promise.all(published);
        assert.deepEqual([stan.last, jetstream.last], [before, later]);
      }),
      { numRuns: 60 },
    );
  });

  it('a subscription that cannot be ended is refused', async () => {
    const side = new Side();
    side.subscribe = async () => undefined;
    const seam = new Seam(side);
    await seam.subscribe(CHANNEL, () => undefined);
    await assert.rejects(seam.leave(), /the subscription on 'orders' has no close\(\), so it cannot be ended/);
  });
});
