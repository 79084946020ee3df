import assert from 'node:assert/strict';
import fc from 'fast-check';
import { History, type Outcome } from '../../src/testing/continuity/history.js';
import { Column } from '../../src/testing/continuity/column.js';
import { decodeValue, encodeValue } from '../../src/testing/continuity/value.js';
import type { SubscriptionKind, SubscriptionVerdict, Verdict } from '../../src/testing/continuity/verdict.js';
import { randomFrom } from '../../src/testing/random.js';

interface Delivery {
  value: string;
  sequence: number;
}

interface Run {
  /** By publisher: how each of its attempts ended. */
  outcomes: Record<string, Outcome[]>;
  deliveries: Delivery[];
}

/**
 * A run in which nothing goes wrong: the messages of a few publishers, interleaved. Some were acknowledged, some
 * unknown (there or not), some rejected (not there).
 */
const goodRun: fc.Arbitrary<Run> = fc
  .record({
    counts: fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 3 }),
    seed: fc.nat(),
    trouble: fc.double({ min: 0, max: 0.4, noNaN: true }),
  })
  .map(({ counts, seed, trouble }) => {
    const random = randomFrom(seed);
    const outcomes: Record<string, Outcome[]> = {};
    const queues = counts.map((count, p) => {
      const name = `p${p}`;
      outcomes[name] = Array.from({ length: count }, () =>
        random() < trouble
          ? (['unknown', 'rejected', 'not-sent', 'abandoned'] as const)[Math.floor(random() * 4)]!
          : 'acknowledged',
      );
      return outcomes[name].flatMap((outcome, counter) => {
        const stored = outcome === 'acknowledged' || (['unknown', 'abandoned'].includes(outcome) && random() < 0.5);
        return stored ? [`${name}-${counter}`] : [];
      });
    });
    const deliveries: Delivery[] = [];
    for (let left = queues.filter((q) => q.length > 0); left.length > 0; left = left.filter((q) => q.length > 0)) {
      const queue = left[Math.floor(random() * left.length)]!;
      deliveries.push({ value: queue.shift()!, sequence: deliveries.length + 1 });
    }
    return { outcomes, deliveries };
  });

/** Runs it through the checker: everything is published, then delivered. */
function verdictOf(run: Run, kind: SubscriptionKind = 'plain'): Verdict {
  const history = new History();
  const subscription = history.subscription('s', { kind });
  let now = 0;
  for (const [name, outcomes] of Object.entries(run.outcomes)) {
    const publisher = history.publisher(name);
    for (const outcome of outcomes) publisher.settle(publisher.attempt(now++), outcome, now++);
  }
  for (const { value, sequence } of run.deliveries) subscription.receive({ data: Buffer.from(value), sequence }, now++);
  return history.judge(now, { ordering: 'strict', rejections: true });
}

const only = (verdict: Verdict): SubscriptionVerdict => verdict.subscriptions[0]!;

/** A good run, and the index of one of its deliveries. */
const withIndex = goodRun
  .filter((run) => run.deliveries.length > 0)
  .chain((run) => fc.record({ run: fc.constant(run), at: fc.nat(run.deliveries.length - 1) }));

const outcomeOf = (run: Run, value: string): Outcome => {
  const { publisher, counter } = decodeValue(Buffer.from(value))!;
  return run.outcomes[publisher]![counter]!;
};

describe('testing: the continuity checker', () => {
  it('finds nothing in a run in which nothing is wrong', () => {
    fc.assert(
      fc.property(goodRun, (run) => {
        const verdict = verdictOf(run);
        assert.deepEqual(verdict.violations, []);
        assert.equal(verdict.clean, true);
        const s = only(verdict);
        assert.equal(s.received, run.deliveries.length);
        assert.equal(
          s.recovered,
          run.deliveries.filter(({ value }) => outcomeOf(run, value) !== 'acknowledged').length,
        );
      }),
    );
  });

  describe('finds, by mutation:', () => {
    it('a dropped message', () => {
      fc.assert(
        fc.property(withIndex, ({ run, at }) => {
          const [dropped] = run.deliveries.slice(at, at + 1);
          const verdict = verdictOf({ ...run, deliveries: run.deliveries.filter((_, i) => i !== at) });
          const { lost, examples } = only(verdict);
          if (outcomeOf(run, dropped!.value) === 'acknowledged') {
            assert.equal(lost.total, 1);
            assert.deepEqual(examples.lost, [dropped!.value]);
            assert.equal(verdict.clean, false);
          } else {
            assert.equal(lost.total, 0);
          }
        }),
      );
    });

    it('one that was handled twice', () => {
      fc.assert(
        fc.property(withIndex, fc.nat(), ({ run, at }, later) => {
          const twice = run.deliveries[at]!;
          const deliveries = [...run.deliveries];
          deliveries.splice(at + 1 + (later % (deliveries.length - at)), 0, twice);
          const verdict = verdictOf({ ...run, deliveries });
          assert.equal(only(verdict).handledTwice, 1);
          assert.match(only(verdict).examples.handledTwice![0]!, new RegExp(`^${twice.value} at sequence`));
          assert.match(verdict.violations.join(), /1 messages handled twice/);
          assert.equal(only(verdict).duplicated, 0);
          // A group may do that.
          assert.equal(verdictOf({ ...run, deliveries }, 'queue').clean, true);
        }),
      );
    });

    it('one that is stored twice, which is no violation', () => {
      fc.assert(
        fc.property(withIndex, ({ run, at }) => {
          const again = { value: run.deliveries[at]!.value, sequence: run.deliveries.length + 1 };
          const verdict = verdictOf({ ...run, deliveries: [...run.deliveries, again] });
          assert.equal(only(verdict).duplicated, 1);
          assert.equal(verdict.clean, true);
        }),
      );
    });

    it('two that arrived in the wrong order', () => {
      fc.assert(
        fc.property(
          withIndex.filter(({ run, at }) => at + 1 < run.deliveries.length),
          ({ run, at }) => {
            const deliveries = [...run.deliveries];
            [deliveries[at], deliveries[at + 1]] = [deliveries[at + 1]!, deliveries[at]!];
            const verdict = verdictOf({ ...run, deliveries });
            assert.equal(only(verdict).outOfSequence, 1);
            assert.equal(verdict.clean, false);
            assert.equal(verdictOf({ ...run, deliveries }, 'durable-queue').clean, true, 'a group has no order');
          },
        ),
      );
    });

    it('two of one publisher that were stored in the wrong order', () => {
      fc.assert(
        fc.property(
          withIndex.filter(({ run, at }) => {
            const [one, two] = run.deliveries.slice(at, at + 2);
            return two !== undefined && one!.value.split('-')[0] === two.value.split('-')[0];
          }),
          ({ run, at }) => {
            const deliveries = run.deliveries.map((delivery) => ({ ...delivery }));
            const [one, two] = [deliveries[at]!, deliveries[at + 1]!];
            [one.value, two.value] = [two.value, one.value];
            const verdict = verdictOf({ ...run, deliveries });
            assert.equal(only(verdict).reordered, 1);
            assert.equal(only(verdict).outOfSequence, 0);
            assert.equal(verdict.clean, false);
          },
        ),
      );
    });

    it('an altered one: into nonsense, into something never published, into another', () => {
      fc.assert(
        fc.property(
          withIndex,
          fc.constantFrom('zzz', 'p0-999', 'p9-0', 'p0-1x', 'p0-01', ''),
          ({ run, at }, nonsense) => {
            const original = run.deliveries[at]!;
            const altered = run.deliveries.map((d, i) => (i === at ? { ...d, value: nonsense } : d));
            const verdict = verdictOf({ ...run, deliveries: altered });
            assert.equal(only(verdict).aliens, 1);
            assert.equal(verdict.clean, false);
            assert.equal(only(verdict).lost.total, outcomeOf(run, original.value) === 'acknowledged' ? 1 : 0);
          },
        ),
      );
      fc.assert(
        fc.property(withIndex, fc.nat(), ({ run, at }, other) => {
          const original = run.deliveries[at]!;
          const into = run.deliveries[other % run.deliveries.length]!;
          fc.pre(into !== original && outcomeOf(run, original.value) === 'acknowledged');
          const altered = run.deliveries.map((d, i) => (i === at ? { ...d, value: into.value } : d));
          const verdict = verdictOf({ ...run, deliveries: altered });
          assert.deepEqual(only(verdict).examples.lost, [original.value]);
          assert.equal(only(verdict).duplicated, 1);
          assert.equal(verdict.clean, false);
        }),
      );
    });

    it('a ghost: reported as not stored, and there', () => {
      for (const outcome of ['not-sent', 'rejected'] as const) {
        const verdict = verdictOf({ outcomes: { p: [outcome] }, deliveries: [{ value: 'p-0', sequence: 1 }] });
        assert.equal(only(verdict).ghosts, 1);
        assert.match(verdict.violations.join(), /reported as not stored \(p-0\)/);
      }
    });

    it('a publish that never settles, one that settles twice, one that fails', () => {
      const history = new History();
      const publisher = history.publisher('p');
      publisher.settle(publisher.attempt(0), 'acknowledged', 1);
      publisher.settle(0, 'acknowledged', 2);
      publisher.attempt(3);
      publisher.settle(publisher.attempt(4), 'unknown', 5);
      const verdict = history.judge(6);
      assert.deepEqual(verdict.violations, [
        "publisher 'p': 1 publishes never settled",
        "publisher 'p': 1 publishes settled more than once",
        "publisher 'p': 1 publishes failed",
      ]);
      assert.equal(history.judge(6, { rejections: true }).violations.length, 2);
      assert.throws(() => publisher.settle(99, 'acknowledged', 7), /never attempted 99/);
    });
  });

  it('tells where the lost ones were', () => {
    const verdict = verdictOf({
      outcomes: { p: Array<Outcome>(10).fill('acknowledged'), q: ['acknowledged'] },
      deliveries: [2, 3, 5, 7].map((counter, i) => ({ value: `p-${counter}`, sequence: i + 1 })),
    });
    // 0 and 1; 4 and 6; 8, 9 and the only one of q.
    assert.deepEqual(only(verdict).lost, { total: 7, prefix: 2, middle: 2, tail: 3 });
    assert.equal(only(verdict).examples.lost?.length, 5, 'not all of them');
  });

  it('owes a new subscription nothing of before', () => {
    const history = new History();
    const old = history.publisher('old');
    old.settle(old.attempt(0), 'acknowledged', 0);
    const pending = old.attempt(0);
    const subscription = history.subscription('s', { kind: 'plain', from: 'ready' });
    subscription.ready();
    old.settle(pending, 'acknowledged', 1);
    assert.equal(history.owed, 0);
    assert.equal(history.judge(2).clean, true, 'neither what was there nor what was under way');
    old.settle(old.attempt(2), 'acknowledged', 2);
    const late = history.publisher('late');
    late.settle(late.attempt(3), 'acknowledged', 3);
    assert.equal(history.owed, 2);
    assert.deepEqual(history.judge(4).subscriptions[0]?.examples.lost, ['old-2', 'late-0']);
    subscription.receive({ data: Buffer.from('old-1'), sequence: 6 }, 5); // it may have it all the same
    subscription.receive({ data: Buffer.from('old-2'), sequence: 7 }, 5);
    subscription.receive({ data: Buffer.from('late-0'), sequence: 8 }, 5);
    assert.equal(history.owed, 0);
    assert.equal(history.judge(6).clean, true);
  });

  it('knows lives: what a killed one had in hand may come again', () => {
    const history = new History();
    const publisher = history.publisher('p');
    const subscription = history.subscription('s', { kind: 'durable' });
    publisher.settle(publisher.attempt(0), 'acknowledged', 0);
    subscription.receive({ data: Buffer.from('p-0'), sequence: 1, life: 1 }, 1);
    subscription.receive({ data: Buffer.from('p-0'), sequence: 1, life: 2 }, 2);
    assert.equal(history.judge(3).clean, true);
    assert.equal(only(history.judge(3)).repeated, 1);
    subscription.receive({ data: Buffer.from('p-0'), sequence: 1, life: 2 }, 3);
    assert.equal(only(history.judge(3)).handledTwice, 1);
    publisher.attempt(4);
    publisher.abandon(5);
    const verdict = history.judge(6);
    assert.deepEqual([verdict.publishers[0]?.abandoned, verdict.publishers[0]?.unsettled], [1, 0]);
  });

  describe('where messages may be gone', () => {
    interface Limited {
      /** How many messages there are, at sequences 1, 2, 3 … */
      count: number;
      retention: number | undefined;
      /** What nobody is handed but the one who tells where things are. */
      missing: readonly number[];
      gaps: readonly (readonly [from: number, to: number])[];
      /** Somebody else has seen everything. Default true. */
      witness?: boolean;
      kind?: SubscriptionKind;
    }

    /** All are published and acknowledged; then it is told its gaps, then the rest is delivered, in their order. */
    function limited({ count, retention, missing, gaps, witness = true, kind = 'plain' }: Limited): History {
      const history = new History({ retention });
      const publisher = history.publisher('p');
      const subscription = history.subscription('s', { kind });
      for (let i = 0; i < count; i++) publisher.settle(publisher.attempt(i), 'acknowledged', i);
      const delivery = (sequence: number) => ({ data: Buffer.from(`p-${sequence - 1}`), sequence, life: 1 });
      const other = witness ? history.subscription('witness', { kind: 'plain' }) : undefined;
      for (let sequence = 1; sequence <= count; sequence++) other?.receive(delivery(sequence), 1000);
      for (const [from, to] of gaps) subscription.gap({ from, to, life: 1 }, 1001);
      for (let sequence = 1; sequence <= count; sequence++) {
        if (!missing.includes(sequence)) subscription.receive(delivery(sequence), 1002);
      }
      return history;
    }

    const verdictOn = (run: Limited): { s: SubscriptionVerdict; violations: string[]; owed: number } => {
      const history = limited(run);
      const { subscriptions, violations } = history.judge(2000);
      return { s: subscriptions.find(({ name }) => name === 's')!, violations, owed: history.owed };
    };

    it('what is told to be gone is not lost, if somebody has seen it or not', () => {
      for (const witness of [true, false]) {
        const { s, violations, owed } = verdictOn({ count: 9, retention: 3, missing: [3, 4], gaps: [[3, 4]], witness });
        assert.deepEqual([s.lost.total, s.gone, s.told, s.falseGaps, s.untold], [0, 2, 2, 0, 0]);
        assert.deepEqual(violations, []);
        assert.equal(owed, 0);
      }
    });

    it('what is gone and not told is lost', () => {
      for (const witness of [true, false]) {
        const { s, violations, owed } = verdictOn({ count: 9, retention: 3, missing: [3, 4], gaps: [[3, 3]], witness });
        assert.deepEqual([s.lost.total, s.gone, s.untold], [1, 1, 0]);
        assert.equal(violations.length, 1);
        assert.match(violations[0]!, /^subscription 's': 1 acknowledged messages lost/);
        assert.equal(owed, 1);
      }
    });

    describe('dropped while no process had it', () => {
      /**
       * One message each ms, and the youngest ten are kept. The process ends at 50, or is cut off before; the next one
       * begins at 80, and is handed what is there.
       */
      const absent = (more: { cutOff?: number; witness?: boolean; missing?: number[]; living?: boolean }) => {
        const { cutOff = 50, witness = true, missing = [], living = false } = more;
        const history = new History({ retention: 10 });
        const publisher = history.publisher('p');
        const subscription = history.subscription('s', { kind: 'durable' });
        const other = history.subscription('witness', { kind: 'plain' });
        const data = (sequence: number): Buffer => Buffer.from(`p-${sequence}`);
        subscription.began(1, 0);
        for (let at = 0; at < 100; at++) {
          // There is no sequence 0.
          publisher.settle(publisher.attempt(at), at === 0 ? 'rejected' : 'acknowledged', at + 0.5);
          if (at === 0) continue;
          if (at === 50 && living) subscription.began(2, at);
          if (at === cutOff) subscription.cutOff(1, at);
          if (at === 50) subscription.ended(1, at);
          if (at === 80) {
            subscription.began(3, at);
            for (let sequence = 70; sequence < 80; sequence++) {
              subscription.receive({ data: data(sequence), sequence, life: 3 }, at);
            }
          }
          if (witness || at < cutOff || at >= 70) other.receive({ data: data(at), sequence: at }, at + 0.7);
          if (at < cutOff || at >= 80) {
            const life = at < 50 ? 1 : 3;
            if (!missing.includes(at)) subscription.receive({ data: data(at), sequence: at, life }, at + 0.7);
          }
        }
        return history.judge(200).subscriptions.find(({ name }) => name === 's')!;
      };

      it('is not lost, and does not have to be told', () => {
        for (const witness of [true, false]) {
          const s = absent({ witness });
          assert.deepEqual([s.unattended, s.lost.total, s.untold], [20, 0, 0], `witness: ${witness}`);
        }
      });

      it('or while the one that ended was cut off', () => {
        const s = absent({ cutOff: 30 });
        assert.deepEqual([s.unattended, s.lost.total, s.untold], [40, 0, 0]);
      });

      it('what was dropped before that, or after, is lost', () => {
        const s = absent({ missing: [20, 38, 90] });
        assert.deepEqual([s.unattended, s.lost.total, s.untold], [20, 3, 0]);
        assert.deepEqual(s.examples.lost, ['p-20', 'p-38', 'p-90']);
      });

      it('and nobody has seen, excuses only what may have been stored then', () => {
        const history = new History({ retention: 5 });
        const publisher = history.publisher('p');
        const durable = history.subscription('s', { kind: 'durable' });
        const other = history.subscription('witness', { kind: 'plain' });
        durable.began(1, 0);
        durable.ended(1, 10);
        const publish = (at: number, outcome: Outcome, sequence?: number): void => {
          const counter = publisher.attempt(at);
          publisher.settle(counter, outcome, at + 1);
          if (sequence === undefined) return;
          other.receive({ data: Buffer.from(`p-${counter}`), sequence }, at + 2);
        };
        // 1 to 3 are stored, and dropped by 6 to 8, while nobody is there; nobody knows of them.
        for (let i = 0; i < 3; i++) publish(20 + i, 'abandoned');
        for (let i = 4; i <= 12; i++) publish(30 + i, 'acknowledged', i);
        durable.began(2, 60);
        for (let i = 8; i <= 12; i++) {
          durable.receive({ data: Buffer.from(`p-${i - 1}`), sequence: i, life: 2 }, 61);
        }
        // The server has lost these.
        publish(100, 'acknowledged');
        publish(101, 'acknowledged');
        const s = history.judge(200).subscriptions.find(({ name }) => name === 's')!;
        assert.deepEqual([s.unattended, s.lost.total], [4, 2]); // 4 to 7 were dropped by 9 to 12
      });

      it('and what a handler failed on, if the process was killed before the message was due again', () => {
        const judge = (killedAt: number): readonly [number | undefined, number | undefined, number | undefined] => {
          const history = new History({ retention: 10 });
          const publisher = history.publisher('p');
          const durable = history.subscription('s', { kind: 'durable', ackWait: 30 });
          const other = history.subscription('witness', { kind: 'plain' });
          durable.began(1, 0);
          const attempts = 3000;
          for (let at = 1; at < attempts; at++) {
            const counter = publisher.attempt(at);
            publisher.settle(counter, 'acknowledged', at + 0.5);
            const delivery = { data: Buffer.from(`p-${counter}`), sequence: at };
            other.receive(delivery, at + 0.6);
            if (at === killedAt) durable.ended(1, at);
            if (at === killedAt + 1) durable.began(2, at);
            // 20 fails, and is dropped at 30. 21 does not come.
            if (at === 20) durable.threw({ ...delivery, life: 1 }, at + 0.7);
            else if (at !== 21 && at !== killedAt)
              durable.receive({ ...delivery, life: at < killedAt ? 1 : 2 }, at + 0.7);
            else if (at === killedAt) durable.receive({ ...delivery, life: 1 }, at - 0.1);
          }
          const s = history.judge(attempts).subscriptions.find(({ name }) => name === 's');
          return [s?.unattended, s?.lost.total, s?.untold];
        };
        assert.deepEqual(judge(40), [1, 1, 0]);
        assert.deepEqual(judge(2000), [0, 2, 0], 'it had the time to tell');
      });

      it('of a group with members elsewhere, no more than was on its way to one that had left', () => {
        const history = new History({ retention: 10 });
        const publisher = history.publisher('p');
        const group = history.subscription('s', { kind: 'durable-queue' });
        const other = history.subscription('witness', { kind: 'plain' });
        for (let at = 1; at < 100; at++) {
          const counter = publisher.attempt(at);
          publisher.settle(counter, 'acknowledged', at + 0.5);
          const delivery = { data: Buffer.from(`p-${counter}`), sequence: at };
          other.receive(delivery, at + 0.6);
          if (![20, 35, 40, 41, 70].includes(at)) group.receive(delivery, at + 0.7);
        }
        group.exposed({ what: 'dropped', from: 45, to: 60, most: 2 });
        const s = history.judge(200).subscriptions.find(({ name }) => name === 's')!;
        assert.deepEqual([s.serverLost, s.lost.total, s.untold], [2, 3, 0]);
        assert.deepEqual(s.examples.serverLost, ['p-34', 'p-39']); // dropped at 45 and 50
      });

      it('and so is what was dropped while another process had it', () => {
        const s = absent({ living: true });
        assert.deepEqual([s.unattended, s.lost.total, s.untold], [0, 20, 0]);
      });
    });

    it('a gap beside what is missing excuses nothing', () => {
      const { s, violations } = verdictOn({ count: 9, retention: 3, missing: [3], gaps: [[4, 4]] });
      assert.deepEqual([s.lost.total, s.gone, s.falseGaps], [1, 0, 1]);
      assert.deepEqual(s.examples.lost, ['p-2']);
      assert.deepEqual(s.examples.falseGaps, ['sequence 4']);
      assert.equal(violations.length, 2);
    });

    it('where the channel keeps everything, a gap excuses nothing', () => {
      const { s, violations } = verdictOn({ count: 9, retention: undefined, missing: [3, 4], gaps: [[3, 4]] });
      assert.deepEqual([s.lost.total, s.gone, s.told], [2, 0, 2]);
      assert.equal(violations.length, 1);
    });

    it('told to be gone, and handed over before or after: a false gap', () => {
      for (const when of ['before', 'after'] as const) {
        const history = limited({ count: 3, retention: 1, missing: [1, 2, 3], gaps: [] });
        const subscription = history.subscription('s');
        const receive = (life: number) =>
          [1, 2, 3].forEach((sequence) => subscription.receive({ data: Buffer.from(`p-${sequence - 1}`), sequence, life }, 1)); // prettier-ignore
        if (when === 'before') receive(1);
        subscription.gap({ from: 1, to: 2, life: 1 }, 1003);
        if (when === 'after') receive(1);
        const { subscriptions, violations } = history.judge(2000);
        assert.equal(subscriptions[0]?.falseGaps, 2);
        assert.deepEqual(violations, ["subscription 's': 2 sequences were told to be gone and were there (sequence 1, sequence 2)"]); // prettier-ignore
        assert.equal(history.owed, 0, 'handed over it is, once');
      }
    });

    it('a life that is told what the one before it had handled was told the truth', () => {
      const history = limited({ count: 3, retention: 1, missing: [], gaps: [] });
      const subscription = history.subscription('s');
      subscription.gap({ from: 2, to: 2, life: 2 }, 1003);
      assert.deepEqual(history.judge(2000).violations, []);
      // The frozen one before it may have it still in hand. A life after it may not be handed it.
      subscription.receive({ data: Buffer.from('p-1'), sequence: 2, life: 0 }, 1004);
      assert.equal(history.judge(2000).subscriptions[0]?.falseGaps, 1);
    });

    it('told to be gone before it can be: a false gap, though nobody is handed it', () => {
      const history = new History({ retention: 3 });
      const publisher = history.publisher('p');
      const subscription = history.subscription('s', { kind: 'plain' });
      const publish = (at: number) => publisher.settle(publisher.attempt(at), 'acknowledged', at);
      for (let at = 1; at <= 5; at++) publish(at);
      subscription.receive({ data: Buffer.from('p-0'), sequence: 1 }, 6);
      subscription.gap({ from: 2, to: 3 }, 6); // of 5 messages the last three are kept: 3 was there
      publish(7);
      for (const sequence of [4, 5, 6]) {
        subscription.receive({ data: Buffer.from(`p-${sequence - 1}`), sequence }, 8);
      }
      const { subscriptions, violations } = history.judge(9);
      assert.deepEqual([subscriptions[0]?.falseGaps, subscriptions[0]?.examples.falseGaps], [1, ['sequence 3']]);
      assert.equal(violations.length, 1);
    });

    it('told too early to two of different processes, with the same end: the server had no more', () => {
      for (const [name, life, end, falseGaps] of [
        ['other', 2, 3, 0],
        ['other', 1, 3, 1], // the same process has looked
        ['other', 2, 2, 1], // it has found another end
      ] as const) {
        const history = new History({ retention: 3 });
        const publisher = history.publisher('p');
        const s = history.subscription('s', { kind: 'plain' });
        const publish = (at: number) => publisher.settle(publisher.attempt(at), 'acknowledged', at);
        for (let at = 1; at <= 5; at++) publish(at);
        s.gap({ from: 1, to: 3, life: 1 }, 6); // of 5 messages the last three are to be kept: 3 is one of them
        history.subscription(name, { kind: 'plain' }).gap({ from: 1, to: end, life }, 6);
        publish(7);
        for (const sequence of [4, 5, 6]) s.receive({ data: Buffer.from(`p-${sequence - 1}`), sequence, life: 1 }, 8);
        const verdict = history.judge(9).subscriptions.find((one) => one.name === 's');
        assert.equal(verdict?.falseGaps, falseGaps, `life ${life}, end ${end}`);
      }
    });

    it('told twice, by the same life', () => {
      const { s, violations } = verdictOn({ count: 9, retention: 3, missing: [3, 4, 5], gaps: [[3, 4], [4, 5]] }); // prettier-ignore
      assert.deepEqual([s.gone, s.told, s.toldTwice], [3, 3, 1]);
      assert.deepEqual(violations, ["subscription 's': 1 sequences were told twice to be gone"]);
      const history = limited({ count: 9, retention: 3, missing: [3], gaps: [[3, 3]] });
      history.subscription('s').gap({ from: 3, to: 3, life: 2 }, 1003);
      assert.deepEqual(history.judge(2000).violations, [], 'another life cannot know');
    });

    it('a copy that is neither handed over nor told', () => {
      const history = limited({ count: 3, retention: 2, missing: [], gaps: [] });
      history.subscription('witness').receive({ data: Buffer.from('p-2'), sequence: 4 }, 1003);
      history.subscription('witness').receive({ data: Buffer.from('p-2'), sequence: 5 }, 1003);
      history.subscription('s').receive({ data: Buffer.from('p-2'), sequence: 5 }, 1003);
      assert.deepEqual(history.judge(2000).violations, [
        "subscription 's': 1 sequences neither arrived nor were told to be gone (sequence 4)",
      ]);
    });

    it('any cut, told exactly, is clean; told one short or one too many, it is not', () => {
      const cut = fc.record({
        count: fc.integer({ min: 2, max: 30 }),
        from: fc.integer({ min: 1, max: 30 }),
        length: fc.integer({ min: 1, max: 10 }),
        witness: fc.boolean(),
        kind: fc.constantFrom<SubscriptionKind>('plain', 'durable', 'queue', 'durable-queue'),
      });
      fc.assert(
        fc.property(cut, ({ count, from, length, witness, kind }) => {
          const to = from + length - 1;
          fc.pre(to < count);
          const missing = Array.from({ length }, (_, i) => from + i);
          const run = { count, retention: 1, missing, witness, kind };
          const right = verdictOn({ ...run, gaps: [[from, to]] });
          assert.deepEqual([right.violations, right.s.gone, right.owed], [[], length, 0]);
          const short = verdictOn({ ...run, gaps: [[from, to - 1]] });
          assert.deepEqual([short.s.lost.total, short.owed], [1, 1]);
          const long = verdictOn({ ...run, gaps: [[from, to + 1]] });
          assert.deepEqual([long.s.lost.total, long.s.falseGaps], [0, 1]);
        }),
      );
    });

    it('is not to be with less than one message', () => {
      assert.throws(() => new History({ retention: 0 }), { code: 'ERR_STAN_INVALID_ARGUMENT' });
    });
  });

  describe('of handlers that fail', () => {
    const messages = (count: number) => {
      const history = new History();
      const publisher = history.publisher('p');
      const subscription = history.subscription('s', { kind: 'durable' });
      for (let i = 0; i < count; i++) publisher.settle(publisher.attempt(i), 'acknowledged', i);
      const of = (counter: number, life = 1) => ({ data: Buffer.from(`p-${counter}`), sequence: counter + 1, life });
      return { history, subscription, of };
    };
    const judged = (history: History) => history.judge(100, { ordering: 'strict' });

    it('demands that they are called again, until they are through, at whatever place', () => {
      const { history, subscription, of } = messages(3);
      subscription.threw(of(0), 1);
      subscription.receive(of(1), 2);
      subscription.receive(of(2), 3);
      assert.deepEqual(judged(history).violations, [
        "subscription 's': 1 acknowledged messages lost: 0 at the start, 1 in the middle, 0 at the end (p-0)",
      ]);
      subscription.threw(of(0), 4);
      subscription.receive(of(0), 5);
      assert.deepEqual(judged(history).violations, []);
      assert.equal(only(judged(history)).threw, 2);
    });

    it('demands the first call at its place', () => {
      const { history, subscription, of } = messages(2);
      subscription.receive(of(1), 1);
      subscription.threw(of(0), 2);
      subscription.receive(of(0), 3);
      assert.deepEqual([only(judged(history)).outOfSequence, only(judged(history)).reordered], [1, 1]);
    });

    it('demands no call after the one that was through', () => {
      const { history, subscription, of } = messages(1);
      subscription.threw(of(0), 1);
      subscription.receive(of(0), 2);
      subscription.threw(of(0), 3);
      assert.equal(only(judged(history)).handledTwice, 1);
      subscription.threw(of(0, 2), 4);
      assert.equal(only(judged(history)).handledTwice, 1, 'of a later life it may be');
      subscription.threw({ data: Buffer.from('zzz'), sequence: 9, life: 1 }, 5);
      assert.equal(only(judged(history)).aliens, 1);
    });
  });

  describe('of lives that take over', () => {
    /** 1 is frozen; 2 takes over at 10, handles what comes at 11, and leaves, or not; 1 goes on. */
    const takeover = ({
      published,
      leaves,
      kind = 'durable',
    }: {
      published: number;
      leaves: boolean;
      kind?: SubscriptionKind;
    }) => {
      // prettier-ignore
      const history = new History();
      const publisher = history.publisher('p');
      const subscription = history.subscription('s', { kind });
      subscription.began(1, 0);
      subscription.began(1, 50);
      if (published > 10) subscription.began(2, 10);
      publisher.settle(publisher.attempt(published), 'acknowledged', published);
      if (published <= 10) subscription.began(2, 10);
      const data = Buffer.from('p-0');
      subscription.receive({ data, sequence: 1, life: 2 }, 12);
      if (leaves) subscription.left(2);
      subscription.receive({ data, sequence: 1, life: 1 }, 20);
      return history.judge(30);
    };

    it('finds what was published after a takeover, and handled by both', () => {
      const verdict = takeover({ published: 11, leaves: true });
      assert.deepEqual(verdict.violations, ["subscription 's': 1 messages handled again after a takeover (p-0 at sequence 1)"]); // prettier-ignore
      assert.equal(only(verdict).repeated, 1);
    });

    it('allows what may have been on its way to both, what was not acknowledged, and groups', () => {
      for (const verdict of [
        takeover({ published: 9, leaves: true }),
        takeover({ published: 11, leaves: false }),
        takeover({ published: 11, leaves: true, kind: 'durable-queue' }),
      ]) {
        assert.deepEqual(verdict.violations, []);
        assert.equal(only(verdict).repeated, 1);
      }
    });
  });

  it('counts by itself what the server may lose of a group, and no more than that', () => {
    const history = new History();
    const publisher = history.publisher('p');
    const group = history.subscription('s', { kind: 'durable-queue' });
    for (let at = 0; at < 10; at++) publisher.settle(publisher.attempt(at), 'acknowledged', at);
    group.exposed({ from: 4, to: 6, most: 2 });
    for (const counter of [0, 1, 2, 6, 7, 8, 9]) {
      group.receive({ data: Buffer.from(`p-${counter}`), sequence: counter + 1 }, 20);
    }
    const [s] = history.judge(30).subscriptions;
    assert.deepEqual([s?.serverLost, s?.lost.total], [2, 1]); // 4 and 5; 3 was published before
    assert.deepEqual([s?.examples.serverLost, s?.examples.lost], [['p-4', 'p-5'], ['p-3']]);
    assert.equal(history.owed, 3, 'it may come yet');
    group.receive({ data: Buffer.from('p-3'), sequence: 4 }, 31);
    assert.deepEqual(history.judge(32).violations, []);
    // Three in the time of it are one too many.
    const more = new History();
    const other = more.publisher('p');
    more.subscription('s', { kind: 'durable-queue' }).exposed({ from: 0, to: 9, most: 2 });
    for (let at = 0; at < 3; at++) other.settle(other.attempt(at), 'acknowledged', at);
    assert.match(more.judge(30).violations.join(), /: 1 acknowledged messages lost: .* \(p-2\)$/);
  });

  it('and what it may lose of a durable that another process has had, it may send late', () => {
    const history = new History();
    const publisher = history.publisher('p');
    const durable = history.subscription('s', { kind: 'durable' });
    for (let at = 0; at < 10; at++) publisher.settle(publisher.attempt(at), 'acknowledged', at);
    durable.exposed({ from: 4, to: 6, most: 9 });
    for (const counter of [0, 2, 1, 3, 6, 4, 5, 7, 8, 9]) {
      durable.receive({ data: Buffer.from(`p-${counter}`), sequence: counter + 1 }, 20);
    }
    const [s] = history.judge(30).subscriptions;
    assert.deepEqual([s?.outOfSequence, s?.reordered], [1, 1]);
    assert.deepEqual([s?.examples.outOfSequence, s?.examples.reordered], [['sequence 2 after 3'], ['p-1 after 2']]);
  });

  it('calls nothing lost in an interrupted run that may still come, and what is far behind', () => {
    const history = new History();
    const publisher = history.publisher('p');
    const s = history.subscription('s', { kind: 'plain' });
    const publish = (at: number): number => {
      const counter = publisher.attempt(at);
      publisher.settle(counter, 'acknowledged', at + 1);
      return counter;
    };
    publish(0); // never comes
    const second = publish(10);
    s.receive({ data: Buffer.from(`p-${second}`), sequence: 2 }, 20);
    publish(100); // has not come
    publisher.attempt(110);
    const at = (now: number, interrupted: boolean) => {
      const { violations, subscriptions } = history.judge(now, { interrupted });
      return [subscriptions[0]!.lost.total, subscriptions[0]!.underWay, violations.length];
    };
    assert.deepEqual(at(1000, false), [2, 0, 2]);
    assert.deepEqual(at(1000, true), [0, 2, 0]);
    assert.deepEqual(at(40_000, true), [1, 1, 1], 'for half a minute it has been past the first one');
  });

  it('knows a channel that began again', () => {
    const verdict = verdictOf({
      outcomes: { p: Array<Outcome>(4).fill('acknowledged') },
      deliveries: [
        { value: 'p-0', sequence: 1 },
        { value: 'p-1', sequence: 2 },
        { value: 'p-2', sequence: 1 },
        { value: 'p-3', sequence: 2 },
      ],
    });
    assert.equal(only(verdict).resets, 1);
    assert.equal(verdict.clean, true);
  });

  it('measures stalls only while something is owed, and faults to what was published after them', () => {
    const history = new History();
    const publisher = history.publisher('p');
    const subscription = history.subscription('s', { kind: 'plain' });
    subscription.ready(0);
    const publish = (at: number, acknowledged: number, delivered: number) => {
      const counter = publisher.attempt(at);
      publisher.settle(counter, 'acknowledged', acknowledged);
      subscription.receive({ data: Buffer.from(`p-${counter}`), sequence: counter + 1 }, delivered);
    };
    publish(1000, 1010, 1015);
    publish(9000, 9020, 9030); // the long silence before it was nobody's fault
    const inFlight = publisher.attempt(9990);
    const fault = history.fault('kill a', 10_000);
    publisher.settle(inFlight, 'acknowledged', 10_001); // was through already
    subscription.receive({ data: Buffer.from('p-2'), sequence: 3 }, 10_002);
    publish(10_100, 10_400, 10_450);
    fault.mended(11_000);
    fault.mended(99_000);
    history.fault('the last', 20_000);
    const verdict = history.judge(30_000);
    assert.deepEqual(verdict.publishers[0]?.longestStall, { ms: 300, at: 10_400 });
    assert.deepEqual(verdict.subscriptions[0]?.longestStall, { ms: 350, at: 10_450 });
    const [first, last] = verdict.faults;
    assert.deepEqual(first, {
      name: 'kill a',
      at: 10_000,
      struck: 10_000,
      until: 11_000,
      toNextAck: 400,
      ackStall: 300,
      toNextDelivery: { s: 450 },
      deliveryStall: { s: 350 },
    });
    assert.deepEqual(last, {
      name: 'the last',
      at: 20_000,
      struck: 20_000,
      until: undefined,
      toNextAck: undefined,
      ackStall: 0,
      toNextDelivery: { s: undefined },
      deliveryStall: { s: 0 },
    });
    publisher.attempt(30_000);
    assert.deepEqual(history.judge(35_000).publishers[0]?.longestStall, { ms: 5000, at: 35_000 });
    assert.deepEqual(history.judge(35_000).subscriptions[0]?.longestStall, { ms: 5000, at: 35_000 });
    // What is still waited for counts, from the fault on.
    const { ackStall, deliveryStall } = history.judge(35_000).faults[1]!;
    assert.deepEqual([ackStall, deliveryStall], [5000, { s: 5000 }]);
    publisher.settle(4, 'unknown', 36_000); // nobody waits for it any more
    assert.deepEqual(history.judge(40_000).subscriptions[0]?.longestStall, { ms: 6000, at: 36_000 });
  });

  it('tells how long a fault was felt, by each, until something of after it has come', () => {
    const history = new History();
    const [one, two] = [history.publisher('one'), history.publisher('two')];
    const step = (publisher: typeof one, at: number, acknowledged: number) =>
      publisher.settle(publisher.attempt(at), 'acknowledged', acknowledged);
    const queued = one.attempt(90);
    const fault = history.fault('cut one off', 100);
    step(two, 110, 115); // felt nothing
    fault.mended(500);
    one.settle(queued, 'acknowledged', 900); // published before: the wait is still the fault's
    step(one, 910, 1500);
    step(one, 2000, 9000); // another story
    const [told] = history.judge(10_000).faults;
    assert.equal(told?.toNextAck, 15);
    assert.equal(told.ackStall, 800);

    // Where many wait in a queue, its end is not waited for: what is long after a fault is not its doing.
    const busy = new History();
    const publisher = busy.publisher('busy');
    const waiting = Array.from({ length: 4 }, () => publisher.attempt(0));
    busy.fault('a moment', 10).mended(11);
    const [first, second, third, fourth] = waiting;
    publisher.settle(first!, 'acknowledged', 300);
    publisher.settle(second!, 'acknowledged', 1200);
    publisher.settle(third!, 'acknowledged', 5000);
    assert.equal(busy.judge(5000).faults[0]?.ackStall, 900);
    publisher.settle(fourth!, 'acknowledged', 9000);
    assert.equal(busy.judge(9000).faults[0]?.ackStall, 900);
    assert.equal(busy.judge(9000).faults[0]?.toNextAck, undefined);
    publisher.settle(publisher.attempt(9100), 'acknowledged', 9110);
    assert.equal(busy.judge(9110).faults[0]?.toNextAck, 9100);
  });

  it('a fault that takes its time is followed by what was published after its last blow', () => {
    const history = new History();
    const publisher = history.publisher('p');
    const subscription = history.subscription('s', { kind: 'plain' });
    subscription.ready(0);
    const publish = (at: number, acknowledged: number, delivered: number) => {
      const counter = publisher.attempt(at);
      publisher.settle(counter, 'acknowledged', acknowledged);
      subscription.receive({ data: Buffer.from(`p-${counter}`), sequence: counter + 1 }, delivered);
    };
    const fault = history.fault('rolling restart', 1000);
    publish(1001, 1010, 1012); // the server is still shutting down
    const between = publisher.attempt(2000);
    fault.struck(2500); // the second one is down
    publish(2600, 2650, 2660);
    fault.struck(3000); // and the last one
    publisher.settle(between, 'acknowledged', 3100); // was published before
    const toNext = () => history.judge(20_000).faults.map((told) => [told.at, told.struck, told.toNextAck, told.toNextDelivery['s']]); // prettier-ignore
    assert.deepEqual(toNext(), [[1000, 3000, undefined, undefined]]);
    publish(3200, 4000, 4050);
    fault.mended(5000);
    fault.struck(9000); // too late
    publish(9500, 9510, 9520);
    assert.deepEqual(toNext(), [[1000, 3000, 1000, 1050]]);
  });

  it('only an acknowledgement ends the wait for one: a rejection does not, and the death of the process does', () => {
    const history = new History();
    const publisher = history.publisher('p');
    publisher.settle(publisher.attempt(0), 'acknowledged', 5);
    const fault = history.fault('kill', 100);
    // One at a time, and each is rejected after a second.
    for (let at = 1000; at < 6000; at += 1000) publisher.settle(publisher.attempt(at), 'not-sent', at + 990);
    assert.deepEqual(
      history.judge(9000).publishers[0]?.longestStall,
      { ms: 4990, at: 5990 },
      'nobody waits since then',
    );
    assert.equal(history.judge(9000).faults[0]?.ackStall, 4990);
    publisher.settle(publisher.attempt(6000), 'acknowledged', 6200);
    fault.mended(6100);
    assert.deepEqual(history.judge(9000).publishers[0]?.longestStall, { ms: 5200, at: 6200 });
    assert.equal(history.judge(9000).faults[0]?.ackStall, 5200);
    publisher.attempt(10_000);
    publisher.abandon(10_100);
    publisher.settle(publisher.attempt(90_000), 'acknowledged', 90_010);
    assert.equal(history.judge(99_000).publishers[0]?.longestStall.ms, 5200);
  });

  it('counts what is owed as it goes, and comes to what the verdict finds', () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant('attempt' as const), p: fc.nat(1) }),
      fc.record({
        do: fc.constant('settle' as const),
        p: fc.nat(1),
        which: fc.nat(),
        outcome: fc.constantFrom<Outcome>('acknowledged', 'unknown', 'not-sent', 'abandoned'),
      }),
      fc.record({ do: fc.constant('deliver' as const), p: fc.nat(1), which: fc.nat() }),
      fc.record({ do: fc.constant('ready' as const) }),
      fc.record({ do: fc.constant('fault' as const), late: fc.boolean() }),
      fc.record({ do: fc.constant('struck' as const) }),
      fc.record({ do: fc.constant('threw' as const), p: fc.nat(1), which: fc.nat() }),
      fc.record({ do: fc.constant('gap' as const), from: fc.nat(40), length: fc.nat(5), life: fc.nat(1) }),
      fc.record({ do: fc.constant('seen' as const), which: fc.nat(), sequence: fc.nat(40) }),
    );
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 60 }),
        fc.constantFrom<'all' | 'ready'>('all', 'ready'),
        fc.constantFrom(undefined, 3),
        (steps, from, retention) => {
          const history = new History({ retention });
          const other = history.subscription('other', { kind: 'queue' });
          let told = false;
          const subscription = history.subscription('s', { kind: 'plain', from });
          const pending: number[][] = [[], []];
          const struck: ((at: number) => void)[] = [];
          let now = 0;
          let sequence = 0;
          for (const act of steps) {
            now++;
            if (act.do === 'attempt') {
              pending[act.p]!.push(history.publisher(`p${act.p}`).attempt(now));
            } else if (act.do === 'settle' && pending[act.p]!.length > 0) {
              const [counter] = pending[act.p]!.splice(act.which % pending[act.p]!.length, 1);
              history.publisher(`p${act.p}`).settle(counter!, act.outcome, now);
            } else if (act.do === 'deliver' && history.publisher(`p${act.p}`).next > 0) {
              const counter = act.which % history.publisher(`p${act.p}`).next;
              subscription.receive({ data: Buffer.from(`p${act.p}-${counter}`), sequence: ++sequence }, now);
            } else if (act.do === 'ready') {
              subscription.ready(now);
            } else if (act.do === 'fault') {
              const fault = history.fault('f', now);
              if (act.late) struck.push((at) => fault.struck(at));
            } else if (act.do === 'struck') {
              struck.shift()?.(now);
            } else if (act.do === 'threw' && history.publisher(`p${act.p}`).next > 0) {
              const counter = act.which % history.publisher(`p${act.p}`).next;
              subscription.threw({ data: Buffer.from(`p${act.p}-${counter}`), sequence: sequence + 1 }, now);
            } else if (act.do === 'gap') {
              told = true;
              subscription.gap({ from: act.from + 1, to: act.from + 1 + act.length, life: act.life }, now);
            } else if (act.do === 'seen' && history.publisher('p0').next > 0) {
              const counter = act.which % history.publisher('p0').next;
              other.receive({ data: Buffer.from(`p0-${counter}`), sequence: act.sequence + 1 }, now);
            }
            const verdict = history.judge(now);
            // One that is to see only what comes after its being ready is owed nothing before, and may lose it.
            const s = verdict.subscriptions.find(({ name }) => name === 's')!;
            const owed = subscription.owed;
            if (told && retention !== undefined) assert.ok(owed <= s.lost.total, `${owed} > ${s.lost.total}`);
            else assert.equal(owed, s.lost.total);
            assert.equal(other.owed, verdict.subscriptions.find(({ name }) => name === 'other')!.lost.total);
            assert.ok(s.gone <= s.told || s.resets > 0);
            assert.equal(history.pending, pending[0]!.length + pending[1]!.length);
            for (const fault of verdict.faults) {
              assert.ok((fault.toNextAck ?? 0) >= 0 && (fault.toNextDelivery['s'] ?? 0) >= 0);
            }
          }
        },
      ),
      { numRuns: 1000 },
    );
  });

  it('writes and reads its values, whole or not at all', () => {
    fc.assert(
      fc.property(
        fc.stringMatching(/^[A-Za-z0-9_.-]{1,20}$/),
        fc.nat(),
        fc.nat(200),
        fc.nat(),
        (publisher, counter, size, at) => {
          const text = encodeValue({ publisher, counter }, size);
          assert.equal(text.length, Math.max(size, `${publisher}-${counter}`.length));
          assert.deepEqual(decodeValue(Buffer.from(text)), { publisher, counter });
          // Any one byte changed in the padding is found.
          const start = `${publisher}-${counter}`.length;
          if (text.length > start) {
            const data = Buffer.from(text);
            const index = start + (at % (text.length - start));
            data[index] = data[index]! ^ 1;
            assert.equal(decodeValue(data), undefined);
          }
        },
      ),
    );
    assert.throws(() => new History().publisher('a b'), { code: 'ERR_STAN_INVALID_ARGUMENT' });
    assert.throws(() => new History().subscription('s'), /there is no subscription 's'/);
  });

  it('keeps columns of any length', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(2 ** 31), fc.nat(255))), (entries) => {
        const column = new Column(Uint8Array);
        const model = new Map<number, number>();
        for (const [index, value] of entries) {
          column.set(index, value);
          model.set(index, value);
        }
        for (const [index] of entries) assert.equal(column.get(index), model.get(index));
        assert.equal(column.get(2 ** 40), 0);
        column.clear();
        for (const [index] of entries) assert.equal(column.get(index), 0);
      }),
    );
  });
});
