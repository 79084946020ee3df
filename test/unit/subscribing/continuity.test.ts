/** The promise itself, against a model of the server: whatever happens, every message is handled, and once. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { ResolvedSubscribeOptions } from '../../../src/options.js';
import type { ResilientSubscription } from '../../../src/subscribing/subscription.js';
import { Scenario, steps, type Step } from './scenario.js';

const RUNS = Number(process.env['PROPERTY_RUNS'] ?? 150);

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
  { ago: 100_000 },
);

function property(
  name: string,
  options: Partial<ResolvedSubscribeOptions>,
  kinds: Step['do'][],
  behaviour: fc.Arbitrary<number[]>,
  check: (scenario: Scenario, subscription: ResilientSubscription) => void,
  members = 1,
): void {
  it(name, async () => {
    await fc.assert(
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
            await scenario.clock.advance(50);
          }
          await scenario.run(script);
          assert.deepEqual(scenario.errors, []);
          check(scenario, subscription);
        },
      ),
      { numRuns: RUNS, interruptAfterTimeLimit: 50_000, markInterruptAsFailure: false },
    );
  });
}

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
