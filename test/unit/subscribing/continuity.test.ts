/** The promise itself, against a model of the server: whatever happens, every message is handled, and once. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { RETRY, type ResolvedSubscribeOptions } from '../../../src/subscribing/subscribe-options.js';
import type { ResilientSubscription } from '../../../src/subscribing/subscription.js';
import { Subscriptions } from '../../../src/subscribing/subscriptions.js';
import { subscribeOptions, TELLER } from '../../support/scripted-subscriptions.js';
import { Scenario, steps, type Fate, type Step } from './scenario.js';

/** How often each property is tried: by itself so often that the file takes some seconds. */
const ASKED = process.env['PROPERTY_RUNS'];
const RUNS = Number(ASKED ?? 150);
/** The same for those that take long. */
const LONG_RUNS = Number(ASKED ?? 50);

/** A test that tries a property. Whoever asks for a number of runs gets them all, whatever time they take. */
function holds<Values extends [unknown, ...unknown[]]>(
  name: string,
  property: fc.IAsyncPropertyWithHooks<Values>,
  numRuns: number,
): void {
  it(name, async function () {
    if (ASKED !== undefined) this.timeout(0);
    const limit = ASKED === undefined && { interruptAfterTimeLimit: 50_000, markInterruptAsFailure: false };
    await fc.assert(property, { numRuns, ...limit });
  });
}

/** Only handlers that succeed: 0 at once, else after so many ms. */
const succeeding = fc.array(fc.constantFrom(0, 0, 1, 3, 30), { minLength: 1, maxLength: 5 });
const failing = fc
  .array(fc.constantFrom(0, 0, 1, 3, 30, -1), { minLength: 1, maxLength: 5 })
  .map((list) => [...list, 0]);

const startAt = fc.constantFrom<ResolvedSubscribeOptions['startAt'][]>(
  'first',
  'new',
  'last',
  { sequence: 1 },
  // Not there yet.
  { sequence: 9 },
  { ago: 100_000 },
);

/** It asks for a number that is there, or is the next, and so knows what should come first. */
function isNumbered(start: ResolvedSubscribeOptions['startAt']): boolean {
  return typeof start === 'object' && 'sequence' in start && start.sequence === 1;
}

const kinds: [string, Partial<ResolvedSubscribeOptions>][] = [
  ['plain', {}],
  ['durable', { durableName: 'd' }],
  ['queue group', { queueGroup: 'q' }],
  ['durable queue group', { queueGroup: 'q', durableName: 'd' }],
];

function property(
  name: string,
  options: Partial<ResolvedSubscribeOptions>,
  kinds: Step['do'][],
  behaviour: fc.Arbitrary<number[]>,
  check: (scenario: Scenario, subscription: ResilientSubscription) => void,
  members = 1,
): void {
  holds(
    name,
    fc.asyncProperty(
      steps(...kinds),
      behaviour,
      fc.constantFrom(1, 2, 5, 1024),
      startAt,
      async (script, kind, maxInFlight, start) => {
        const scenario = new Scenario(kind);
        await scenario.connect();
        const subscription = await scenario.subscribe({
          startAt: start,
          maxInFlight: Math.max(maxInFlight, options.concurrency ?? 1),
          ...options,
        });
        for (let i = 1; i < members; i++) await scenario.subscribe({ startAt: start, maxInFlight, ...options });
        // Before it has received anything, a member of a group knows too little to be sure of what was lost.
        if (options.queueGroup !== undefined) {
          scenario.publish(1);
          await scenario.time.pass(50);
        }
        await scenario.run(script);
        assert.deepEqual(scenario.errors, []);
        check(scenario, subscription);
      },
    ),
    RUNS,
  );
}

describe('what a plain subscription missed from the first message on', () => {
  for (const [startAt, ...kinds] of [
    // What its first life brings first counts as the first there was, although one before it may have been lost on its way.
    ['first', 'kill', 'suspicion', 'truncate'],
    [{ sequence: 1 }, 'kill', 'suspicion', 'truncate', 'lose-messages'],
  ] as [ResolvedSubscribeOptions['startAt'], ...Step['do'][]][]) {
    it(`is told as a gap, started at ${JSON.stringify(startAt)}`, async () => {
      await fc.assert(
        fc.asyncProperty(steps(...kinds), succeeding, async (script, kind) => {
          const scenario = new Scenario(kind);
          await scenario.connect();
          await scenario.subscribe({ startAt });
          await scenario.run(script);
          const known = new Set(scenario.completed.map(({ sequence }) => sequence));
          for (const { from, to } of scenario.gaps) for (let n = from; n <= to; n++) known.add(n);
          const { last } = scenario.server.channel();
          const silent = Array.from({ length: last }, (_, i) => i + 1).filter((n) => !known.has(n));
          assert.deepEqual(silent, [], 'neither handled nor told');
          scenario.assertGapsTrue();
        }),
        { numRuns: RUNS },
      );
    });
  }
});

describe('continuity of subscriptions (properties)', () => {
  const network: Step['do'][] = ['kill', 'lose-messages', 'lose-acks', 'replicate', 'failover', 'suspicion'];

  for (const [kind, options] of [
    ['plain', {}],
    ['durable', { durableName: 'd' }],
  ] as const) {
    describe(kind, () => {
      property(
        'handles every message once, in order',
        options,
        ['kill', 'lose-acks', 'suspicion'],
        succeeding,
        (s, sub) => {
          s.assertComplete();
          s.assertOnce();
          s.assertInOrder();
          assert.equal(sub.lastSequence, s.server.channel().last);
          assert.deepEqual(s.gaps, []);
          assert.equal(s.resets, 0);
        },
      );

      property(
        'handles every message once when messages are lost and leaders change',
        options,
        network,
        succeeding,
        (s) => {
          s.assertComplete();
          s.assertOnce();
          s.assertGapsTrue();
          assert.equal(s.resets, 0);
        },
      );

      property('with several handlers at a time', { ...options, concurrency: 4 }, network, succeeding, (s) => {
        s.assertComplete();
        s.assertOnce();
        assert.equal(s.resets, 0);
      });

      property('hands over again what failed', options, network, failing, (s) => {
        s.assertComplete();
        s.assertOnce();
        assert.equal(s.resets, 0);
      });

      for (const minTimeout of [20, 1300]) {
        const retry = { ...RETRY, retries: Infinity, factor: 1, minTimeout, randomize: false };
        const kinds: Step['do'][] = ['kill', 'lose-acks', 'suspicion'];
        property(`keeps the order with tries after ${minTimeout} ms`, { ...options, retry }, kinds, failing, (s) => {
          s.assertComplete();
          s.assertOnce();
          s.assertThroughInOrder();
          s.assertOneAtATime();
        });
        property(
          `reads a channel that started over, with tries after ${minTimeout} ms`,
          { ...options, retry },
          [...kinds, 'failover', 'reset'],
          failing,
          (s) => {
            s.assertComplete();
            s.assertOnce();
            s.assertOneAtATime();
          },
        );
      }

      property(
        'goes on above what retention took, and says so',
        options,
        [...network, 'truncate'],
        succeeding,
        (s, sub) => {
          s.assertComplete();
          s.assertOnce();
          s.assertGapsTrue();
          assert.equal(s.resets, 0);
          assert.equal(sub.lastSequence, s.server.channel().last);
        },
      );

      property(
        'reads a channel that started over from its beginning',
        options,
        ['kill', 'lose-acks', 'replicate', 'failover', 'suspicion', 'reset'],
        succeeding,
        (s, sub) => {
          s.assertComplete();
          s.assertOnce();
          assert.equal(sub.lastSequence, s.server.channel().last);
        },
      );

      property('and does so whatever is lost', options, [...network, 'reset'], succeeding, (s, sub) => {
        s.assertComplete();
        assert.equal(sub.lastSequence, s.server.channel().last);
      });

      property('recovers from a server that reads no acks', options, [...network, 'deaf'], succeeding, (s) => {
        s.assertComplete();
        s.assertOnce();
        assert.equal(s.resets, 0);
      });
    });
  }

  property(
    'a durable goes on where its process died, whatever was lost',
    { durableName: 'd', startAt: 'first' },
    [...network, 'restart'],
    failing,
    (s) => s.assertComplete(),
  );

  property(
    'and so does a durable queue group',
    { durableName: 'd', queueGroup: 'q', startAt: 'first' },
    [...network, 'restart'],
    failing,
    (s) => s.assertComplete(),
  );

  property(
    'the members of a group in one client know of each other',
    { queueGroup: 'q' },
    ['kill', 'lose-acks', 'suspicion'],
    succeeding,
    (s) => {
      s.assertComplete();
      s.assertOnce();
    },
    3,
  );

  for (const options of [{}, { durableName: 'd' }, { queueGroup: 'q' }]) {
    property(
      `a leader whose clock is behind is no new channel (${JSON.stringify(options)})`,
      { ...options, startAt: 'first' },
      [...network, 'skew'],
      succeeding,
      (s) => {
        s.assertComplete();
        assert.equal(s.resets, 0);
      },
    );
  }

  for (const [kind, options] of [
    ['queue group', { queueGroup: 'q' }],
    ['durable queue group', { queueGroup: 'q', durableName: 'd' }],
  ] as const) {
    describe(kind, () => {
      property('handles every message', options, network, succeeding, (s) => {
        s.assertComplete();
        assert.equal(s.resets, 0);
      });

      property('hands over again what failed', options, ['kill', 'lose-acks', 'suspicion'], failing, (s) => {
        s.assertComplete();
        assert.equal(s.resets, 0);
      });

      property('starts over with its channel', options, [...network, 'reset'], succeeding, (s) => s.assertComplete());
    });
  }
});

/** What fails has its deadline: it is handed over again until it is through, or told to be gone. */
describe('continuity of what fails (properties)', () => {
  const failing: fc.Arbitrary<Fate[]> = fc.array(
    fc.record({ fails: fc.constantFrom(0, 0, 0, 0, 1, 2, 4), takes: fc.constantFrom(0, 0, 1, 30) }),
    { minLength: 1, maxLength: 8 },
  );
  /** A third of them not by the first handing over, or so late that another one has come. */
  const acks = (...more: number[][]): fc.Arbitrary<number[]> =>
    fc.constantFrom([0], [0], [5], [40], [1500], [Infinity, 0], [Infinity, 40], ...more);
  const acknowledged: fc.Arbitrary<Fate[]> = fc.array(
    fc.record({ fails: fc.constantFrom(0, 0, 0, 1), takes: fc.constantFrom(0, 0, 30), acks: acks() }),
    { minLength: 1, maxLength: 8 },
  );
  const neverAcknowledged: fc.Arbitrary<Fate[]> = fc.array(
    fc.record({ fails: fc.constant(0), takes: fc.constantFrom(0, 0, 30), acks: acks([Infinity]) }),
    { minLength: 1, maxLength: 8 },
  );
  const failingForEver: fc.Arbitrary<Fate[]> = fc.array(
    fc.record({ fails: fc.constantFrom(0, 0, 0, 1, 2, Infinity), takes: fc.constantFrom(0, 0, 1, 30) }),
    { minLength: 1, maxLength: 8 },
  );
  const network: Step['do'][] = ['kill', 'lose-messages', 'lose-acks', 'replicate', 'failover', 'suspicion'];

  function property(
    name: string,
    options: Partial<ResolvedSubscribeOptions>,
    kinds: Step['do'][],
    fates: fc.Arbitrary<Fate[]>,
    check: (scenario: Scenario, subscription: ResilientSubscription) => void,
    before = 1,
    prelude: Step[] = [],
  ): void {
    holds(
      name,
      fc.asyncProperty(
        steps(...kinds),
        fates,
        fc.constantFrom(1, 3, 1024),
        fc.constantFrom(1, 4),
        startAt,
        fc.constantFrom(3, 10, 30, Infinity, Infinity),
        async (script, fates, maxInFlight, concurrency, startAt, maxMessages) => {
          const scenario = new Scenario({ fates });
          // To know that it is alone, it has to have received so many.
          scenario.server.maxMessages = Math.max(maxMessages, before);
          await scenario.connect();
          const subscription = await scenario.subscribe({
            startAt,
            maxInFlight: Math.max(maxInFlight, concurrency),
            concurrency,
            ...options,
          });
          // Before it has received anything, only one that asked for a number can say what is missing.
          if (options.queueGroup !== undefined || options.durableName !== undefined || !isNumbered(startAt)) {
            scenario.publish(before);
            // Until all are through, in a window of one, each after its failures.
            await scenario.time.pass(before === 1 ? 50 : 20_000 * before);
          }
          await scenario.run([...prelude, ...script]);
          assert.deepEqual(scenario.errors, []);
          assert.equal(scenario.resets, 0);
          scenario.assertFinished();
          scenario.assertGapsTrue();
          scenario.assertNoTrespass();
          check(scenario, subscription);
        },
      ),
      LONG_RUNS,
    );
  }

  for (const [kind, options] of kinds) {
    describe(kind, () => {
      const grouped = options.queueGroup !== undefined;
      const finished = (s: Scenario, sub: ResilientSubscription): void => {
        if (!grouped) s.assertOnce();
        assert.equal(sub.lastSequence, s.server.channel().last);
      };
      // What never came to a group may have gone to somebody else: nobody can know, unless it all came to us.
      const complete = (s: Scenario, sub: ResilientSubscription): void => {
        if (!grouped) s.assertHandledOrTold();
        finished(s, sub);
      };
      const completeAlone = (s: Scenario, sub: ResilientSubscription): void => {
        s.assertHandledOrTold();
        finished(s, sub);
      };
      const buried = (s: Scenario, sub: ResilientSubscription): void => {
        complete(s, sub);
        s.assertBuried(3);
      };
      const three = { ...options, maxDeliveries: 3 };

      property('is handed over until it is through, or told to be gone', options, [], failing, complete);
      property('and whatever is lost', options, network, failing, complete);
      property('is given up in the end', three, ['suspicion'], failingForEver, buried);
      property('is given up, whatever is lost', three, network, failingForEver, buried);

      property('and when a leader forgets', options, ['forget', 'lose-acks', 'failover'], failing, complete);
      property('and when leaders forget, whatever is lost', options, [...network, 'forget'], failing, (s, sub) => {
        complete(s, sub);
      });
      property(
        'is given up, whatever is lost and forgotten',
        three,
        [...network, 'forget'],
        failingForEver,
        (s, sub) => {
          complete(s, sub);
          s.assertBuried(3);
        },
      );
      const manual = { ...options, manualAck: true };
      const acked = (s: Scenario, sub: ResilientSubscription): void => {
        if (!grouped) s.assertHandledOrTold();
        if (!grouped) s.assertNotAgain();
        assert.equal(sub.lastSequence, s.server.channel().last);
      };
      property('is acknowledged by hand', manual, [], acknowledged, acked);
      property('is acknowledged by hand, whatever is lost', manual, network, acknowledged, acked);
      property(
        'is acknowledged by hand when a leader forgets',
        manual,
        ['forget', 'failover'],
        acknowledged,
        (s, sub) => {
          if (!grouped) acked(s, sub);
          assert.equal(sub.lastSequence, s.server.channel().last);
        },
      );
      property('is never acknowledged', { ...manual, maxDeliveries: 3 }, ['suspicion'], neverAcknowledged, (s, sub) => {
        acked(s, sub);
        s.assertBuried(3);
      });

      // Delays within `ackWait`, and beyond it.
      for (const minTimeout of [40, 700]) {
        const retry = { ...RETRY, retries: 2, minTimeout, randomize: false };
        const again = { ...options, retry };
        const tried = (s: Scenario, sub: ResilientSubscription): void => {
          complete(s, sub);
          s.assertOneAtATime();
        };
        const title = `is tried again after ${minTimeout} ms`;
        property(title, again, [], failing, tried);
        property(`${title}, whatever is lost and forgotten`, again, [...network, 'forget'], failing, tried);
        property(`${title}, and is given up`, { ...again, maxDeliveries: 5 }, network, failingForEver, (s, sub) => {
          tried(s, sub);
          s.assertBuried(5);
        });
        const letters = { ...again, deadLetter: () => undefined };
        property(`${title}, and is given up after the last try`, letters, network, failingForEver, (s, sub) => {
          tried(s, sub);
          s.assertBuried(3);
        });
        property(`${title}, acknowledged by hand`, { ...again, manualAck: true }, network, acknowledged, (s, sub) => {
          if (!grouped) s.assertHandledOrTold();
          if (!grouped) s.assertNotAgain();
          assert.equal(sub.lastSequence, s.server.channel().last);
        });
      }

      if (options.durableName !== undefined && !grouped) {
        property('is through when others have had the durable', options, ['take-over'], failing, complete);
        const all: Step['do'][] = [...network, 'take-over'];
        property('is through when others have had it, whatever is lost', options, all, failing, complete);
        // What a leader forgets before they come, nobody tells from what they have acknowledged; after they have gone we do.
        const others = { noticed: true, downtime: 0, before: 0, handled: 2, during: 2, after: 0, ackWait: 1000 };
        const gone: Step[] = [
          { do: 'take-over', ...others },
          { do: 'wait', ms: 500 },
        ];
        const forgetful: Step['do'][] = [...network, 'forget'];
        property('is through when leaders forget after that', options, forgetful, failing, complete, 1, gone);
        property('is acknowledged by hand when others have had it', manual, ['take-over'], acknowledged, acked);
      }

      if (grouped)
        property('and by a group that was alone', options, [...network, 'forget'], failing, completeAlone, 120);
    });
  }
});

/** Several members in one client know together what is unfinished, each with an `ackWait` of its own. */
describe('continuity of the members of a group', () => {
  const fates = fc.array(
    fc.record({
      fails: fc.constantFrom(0, 0, 0, 1),
      takes: fc.constantFrom(0, 0, 30),
      acks: fc.constantFrom([0], [0], [40], [1500], [Infinity, 0]),
    }),
    { minLength: 1, maxLength: 8 },
  );
  const network: Step['do'][] = ['kill', 'lose-messages', 'lose-acks', 'replicate', 'failover', 'suspicion'];

  for (const [kind, options] of kinds) {
    if (options.queueGroup === undefined) continue;

    const property = (
      name: string,
      members: Partial<ResolvedSubscribeOptions>[],
      steps: fc.Arbitrary<Step[]>,
    ): void => {
      holds(
        `${kind}: ${name}`,
        fc.asyncProperty(steps, fates, fc.constantFrom(2, 1024), async (script, fates, maxInFlight) => {
          const scenario = new Scenario({ fates });
          await scenario.connect();
          for (const own of members) await scenario.subscribe({ startAt: 'first', maxInFlight, ...options, ...own });
          scenario.publish(members.length);
          await scenario.time.pass(50);
          await scenario.run(script);
          assert.deepEqual(scenario.errors, []);
          scenario.assertFinished();
          scenario.assertHandledOrTold();
        }),
        LONG_RUNS,
      );
    };
    const [brief, long] = [{ ackWait: 1000 }, { ackWait: 60_000 }];

    property('each has its own ackWait', [brief, long], steps(...network, 'pause'));
    property('whoever was the first', [long, brief], steps(...network, 'pause'));
    property('one leaves with what it has in hand', [brief, brief, brief], steps(...network, 'leave'));
    property(
      'one leaves with what it has not acknowledged',
      [brief, long, brief].map((own) => ({ ...own, manualAck: true })),
      steps(...network, 'leave', 'pause'),
    );

    it(`${kind}: what was on its way to the one that waits long is not given up by the ackWait of the other`, async () => {
      const scenario = new Scenario({ fates: [{ fails: 0, takes: 0 }] });
      await scenario.connect();
      await scenario.subscribe({ ...options, ...brief, startAt: 'first' });
      scenario.publish(1);
      await scenario.time.pass(5000);
      await scenario.subscribe({ ...options, ...long });
      scenario.session!.loseMessages = 2;
      scenario.publish(2);
      // One of them comes again after a second, because it was on its way to the other one.
      scenario.publish(4);
      for (let i = 0; i < 6; i++) await scenario.step({ do: 'pause', ms: 5000 });
      scenario.publish(4);
      await scenario.time.pass(50);
      await scenario.run([{ do: 'kill', published: 0, downtime: 0 }]);
      scenario.assertHandledOrTold();
    });

    it(`${kind}: what one leaves unacknowledged comes to the other at once`, async () => {
      const scenario = new Scenario({ fates: [{ fails: 0, takes: 0, acks: [Infinity, 0] }] });
      await scenario.connect();
      const two = { ...options, startAt: 'first', ackWait: 5000, manualAck: true } as const;
      await scenario.subscribe(two);
      const leaver = await scenario.subscribe(two);
      scenario.publish(6);
      await scenario.time.pass(100);
      assert.equal(scenario.started.length, 6);
      leaver.close().catch(() => undefined);
      // The server gives it to the other one after a tenth of a second.
      await scenario.time.pass(300);
      assert.equal(scenario.completed.length, 3);
    });
  }

  for (const [kind, options] of kinds) {
    it(`${kind}: a full window that fails comes again after ackWait, each time`, async () => {
      const scenario = new Scenario({ fates: [{ fails: 3, takes: 0 }] });
      await scenario.connect();
      await scenario.subscribe({ ...options, startAt: 'first', maxInFlight: 1, ackWait: 4000 });
      scenario.publish(1);
      const at: number[] = [];
      for (let seconds = 0; seconds <= 14; seconds++) {
        await scenario.time.pass(seconds === 0 ? 10 : 1000);
        while (at.length < scenario.started.length) at.push(seconds);
      }
      assert.deepEqual(at, [0, 4, 8, 12]);
    });
  }
});

/** Recovery costs what is unfinished, not what came since. */
describe('continuity without history (properties)', () => {
  holds(
    'a plain subscription is resumed at the top, however old its oldest unfinished message is',
    fc.asyncProperty(
      steps('kill', 'suspicion'),
      fc.uniqueArray(fc.nat(40), { maxLength: 4 }),
      fc.constantFrom(5, 30, 1024),
      fc.boolean(),
      async (script, unfinished, maxInFlight, manualAck) => {
        // For ever, because nobody knows when it ends.
        const [fails, acks] = manualAck ? [0, [Infinity]] : [Infinity, [0]];
        const fates = Array.from({ length: 1000 }, (_, i) =>
          unfinished.includes(i) ? { fails, takes: 0, acks } : { fails: 0, takes: 0 },
        );
        const scenario = new Scenario({ fates });
        await scenario.connect();
        await scenario.subscribe({ startAt: 'first', maxInFlight, manualAck });
        for (let i = 0; i < 5; i++) {
          scenario.publish(40);
          await scenario.time.pass(50);
        }
        for (const step of script) await scenario.step(step);
        const handings = new Map(scenario.handings);
        await scenario.time.pass(10_000);
        for (const i of unfinished) {
          const before = handings.get(`v${i}`)!;
          assert.ok(scenario.handings.get(`v${i}`)! > before, `v${i} was not handed over again`);
        }
        // The one that shows that the channel is the same, and what somebody may look at; and with `manualAck` what the window
        // of the server has room for: what is not acknowledged takes its place in it.
        scenario.assertNoHistory(manualAck ? maxInFlight + 5 : 5);
        for (let i = 0; i < 200; i++) {
          if (!unfinished.includes(i)) assert.ok(scenario.handings.has(`v${i}`), `v${i} was not handled`);
        }
      },
    ),
    LONG_RUNS,
  );
});

/** Where nothing goes wrong, what goes to another process is neither lost nor handled twice. */
describe('a group with members in two processes', () => {
  async function share(alone: number, retained: number, every: number): Promise<void> {
    const first = new Scenario([0]);
    const { server, time } = first;
    server.maxMessages = Math.max(alone, retained);
    await first.connect();
    await first.subscribe({ queueGroup: 'q', startAt: 'first', maxInFlight: 16 });
    first.publish(alone);
    await time.pass(100);
    server.maxMessages = retained;
    // The other process, at the same server.
    const handled: string[] = [];
    const gaps: unknown[] = [];
    const other = new Subscriptions({
      teller: TELLER,
      onError: (error) => first.errors.push(error),
      clock: time.clock,
    });
    await other.attach(server.connect());
    const joining = other.subscribe(
      'foo',
      (message) => void handled.push(message.string()),
      subscribeOptions({ queueGroup: 'q', startAt: 'first', maxInFlight: 16, ackWait: 1000 }),
    );
    await time.pass(10);
    (await joining).on('gap', (gap) => gaps.push(gap));
    for (let i = 0; i < 60; i++) {
      first.publish(1);
      await time.pass(every);
    }
    const all = [...first.completed.map(({ value }) => value), ...handled];
    assert.equal(new Set(all).size, alone + 60);
    assert.deepEqual([...first.gaps, ...gaps], []);
    assert.deepEqual(first.errors, []);
    // The few that it takes to see that somebody has joined.
    assert.ok(all.length - (alone + 60) <= (alone < 100 ? 0 : 4), `${all.length - (alone + 60)} were handled twice`);
  }

  for (const alone of [1, 150]) {
    for (const retained of [5, 1000]) {
      for (const every of [50, 1000, 20_000]) {
        it(`which was alone for ${alone}, of a channel that keeps ${retained}, a message every ${every} ms`, () =>
          share(alone, retained, every));
      }
    }
  }
});

/** What the properties have found, once each in thousands of runs. */
describe('continuity of subscriptions (found)', () => {
  const publish = (count: number): Step => ({ do: 'publish', count });
  const wait = (ms: number): Step => ({ do: 'wait', ms });
  const kill = (published = 0, downtime = 0): Step => ({ do: 'kill', published, downtime });
  const reset = (published = 0): Step => ({ do: 'reset', published });
  const lose = (count: number): Step => ({ do: 'lose-messages', count });
  const suspicion: Step = { do: 'suspicion' };
  const failover: Step = { do: 'failover' };
  const replicate: Step = { do: 'replicate' };

  const found: [string, Partial<ResolvedSubscribeOptions>, Step[], number[]?][] = [
    ['the first message lost, and the session with it', { startAt: { ago: 100_000 } }, [kill(2), lose(1), suspicion, wait(5), wait(1), lose(1), suspicion, wait(1), publish(1), wait(1)]], // prettier-ignore
    ['looks lost while nothing came, and then a message', { startAt: { sequence: 9 }, maxInFlight: 1 }, [kill(1), lose(3), wait(2201), publish(1)]], // prettier-ignore
    ['a look lost together with the first message', { startAt: 'last' }, [kill(), suspicion, publish(2), lose(1), wait(1), lose(3), wait(20)]], // prettier-ignore
    ['all lost of a channel that was empty', { startAt: 'last', maxInFlight: 1 }, [lose(2), suspicion, wait(20), replicate, publish(1), publish(2)]], // prettier-ignore
    ['nothing but redeliveries of a channel that was empty', { startAt: 'last', maxInFlight: 4, concurrency: 4 }, [kill(2), lose(4), wait(1100), suspicion, wait(1), failover]], // prettier-ignore
    ['the first message, behind redeliveries that came long before the first one that was new', { startAt: 'new', maxInFlight: 5 }, [reset(3), lose(4), wait(1100), publish(1), suspicion, wait(1)]], // prettier-ignore
    ['a new channel that reached us after it had begun, its beginning lost', { startAt: 'first' }, [publish(1), wait(1), reset(), publish(2), lose(1), failover, wait(1)]], // prettier-ignore
    ['a new channel while a message of the old one is in hand', { startAt: 'first', maxInFlight: 1 }, [publish(1), wait(1), reset(), lose(1), publish(2), wait(1)], [30, 0]], // prettier-ignore
    ['a new channel behind a durable that had only redeliveries', { startAt: 'first', maxInFlight: 1, durableName: 'd' }, [suspicion, publish(2), wait(20), reset(), failover]], // prettier-ignore
    ['a session that dies over the dropping of a durable', { startAt: 'first', durableName: 'd' }, [publish(2), wait(1), reset(2), wait(2), kill(), publish(1), suspicion]], // prettier-ignore
    ['a durable that is made again while it is found to be of another channel', { startAt: 'first', durableName: 'd', maxInFlight: 5 }, [publish(2), wait(1), reset(), publish(1), wait(20), publish(1), suspicion, wait(1)]], // prettier-ignore
    ['the same, with the request on its way', { startAt: 'first', durableName: 'd', maxInFlight: 2 }, [publish(2), wait(1), reset(1), wait(3), publish(1), suspicion]], // prettier-ignore
    ['a group that lost what came before what it received', { startAt: 'first', queueGroup: 'q' }, [publish(1), wait(50), kill(0, 2500), kill(2), lose(2), wait(20), publish(1), lose(1), kill()]], // prettier-ignore
    ['a group that lost the beginning of its new channel twice', { startAt: 'first', queueGroup: 'q', maxInFlight: 5 }, [publish(1), wait(50), reset(), publish(3), wait(1), lose(4), wait(1100), kill(), suspicion]], // prettier-ignore
    ['a group of which the new channel is as long as the old one', { startAt: 'first', queueGroup: 'q', maxInFlight: 5 }, [publish(1), wait(50), reset(), lose(1), wait(1), publish(2), replicate]], // prettier-ignore
    ['a group, and the looks lost, too', { startAt: 'first', queueGroup: 'q', maxInFlight: 2 }, [publish(1), wait(50), reset(), publish(3), suspicion, lose(3), wait(3), lose(1)]], // prettier-ignore
    ['a durable group whose session dies before the look', { startAt: 'first', queueGroup: 'q', durableName: 'd' }, [publish(1), wait(50), reset(2), lose(1), wait(2), kill(), suspicion]], // prettier-ignore
    ['a group whose session dies before it has left', { startAt: 'first', queueGroup: 'q' }, [publish(1), wait(50), reset(1), wait(2), kill(1), lose(1), wait(2), kill()]], // prettier-ignore
    ['a group that lost a message twice, and then its session, before it was known to be alone', { startAt: 'first', queueGroup: 'q', maxInFlight: 5 }, [publish(1), wait(50), lose(1), publish(10), lose(5), wait(1100), { do: 'skew', ms: 0 }, kill(), failover]], // prettier-ignore
    ['a group with short sessions in a long outage', { startAt: 'last', queueGroup: 'q', maxInFlight: 1 }, [publish(1), wait(50), kill(1, 2500), kill(0, 2500), kill(0, 2500), wait(2), suspicion, kill()]], // prettier-ignore
    ['the same, with a session that brought nothing at all', { startAt: 'first', queueGroup: 'q' }, [publish(1), wait(50), wait(10_000), kill(1, 8000), wait(2), lose(5), kill()]], // prettier-ignore
  ];

  for (const [title, options, script, behaviour = [0]] of found) {
    it(title, async () => {
      const scenario = new Scenario(behaviour);
      await scenario.connect();
      await scenario.subscribe(options);
      await scenario.run(script);
      scenario.assertComplete();
      if (options.queueGroup === undefined) scenario.assertOnce();
      assert.deepEqual(scenario.errors, []);
    });
  }

  it('a durable that others have had, and then a leader forgets what it has sent', async () => {
    const scenario = new Scenario({ fates: [{ fails: 0, takes: 0 }] });
    await scenario.connect();
    await scenario.subscribe({ startAt: 'first', durableName: 'd' });
    scenario.publish(1);
    await scenario.time.pass(50);
    const takeOver = { noticed: true, downtime: 0, before: 0, handled: 2, during: 2, after: 0, ackWait: 1000 };
    const forget: Step = { do: 'forget', published: 3 };
    await scenario.run([{ do: 'take-over', ...takeOver }, wait(150), lose(2), publish(2), wait(1), forget]);
    scenario.assertHandledOrTold();
    scenario.assertOnce();
    scenario.assertNoTrespass();
  });

  it('a durable that others have had, behind a message that is gone: what was lost once is not theirs', async () => {
    const scenario = new Scenario({ fates: [{ fails: 2, takes: 0 }] });
    scenario.server.maxMessages = 3;
    await scenario.connect();
    await scenario.subscribe({ startAt: 'first', durableName: 'd', maxInFlight: 4 });
    scenario.publish(1);
    await scenario.time.pass(50);
    const takeOver = { noticed: false, downtime: 0, before: 0, handled: 0, during: 2, after: 2, ackWait: 1000 };
    await scenario.run([{ do: 'take-over', ...takeOver }, kill(0, 2500), wait(5), lose(2), wait(150), publish(1)]);
    scenario.assertFinished();
    scenario.assertHandledOrTold();
  });

  it('a durable that others have had: a message that came behind one of theirs is not theirs, whatever is lost later', async () => {
    const scenario = new Scenario({ fates: [{ fails: 2, takes: 0 }] });
    scenario.server.maxMessages = 10;
    await scenario.connect();
    await scenario.subscribe({ startAt: 'first', durableName: 'd' });
    scenario.publish(1);
    await scenario.time.pass(50);
    const takeOver = { noticed: false, downtime: 0, before: 1, handled: 2, during: 2, after: 1, ackWait: 1000 };
    const meanwhile: Step[] = [wait(5), failover, lose(6), wait(1100), publish(6), wait(1), kill(2), failover];
    await scenario.run([{ do: 'take-over', ...takeOver }, ...meanwhile]);
    scenario.assertFinished();
    scenario.assertHandledOrTold();
  });
});
