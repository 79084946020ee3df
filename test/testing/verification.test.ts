import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { readArguments } from '../../src/cli/verify/arguments.js';
import { InvalidArgumentError } from '../../src/errors.js';
import {
  FAULT_KINDS,
  isClean,
  StanCluster,
  verify,
  type Exposure,
  type VerifyOptions,
} from '../../src/testing/index.js';
import type { ReportProcess, ResourceSample } from '../../src/testing/report/data.js';
import { castOf, durablesOf, type CastOptions } from '../../src/testing/verification/cast.js';
import { ExposureWatch } from '../../src/testing/verification/exposure.js';
import { Failing } from '../../src/testing/verification/failing.js';
import { growth } from '../../src/testing/verification/growth.js';
import { Merge } from '../../src/testing/verification/merge.js';
import { checkVerifyOptions } from '../../src/testing/verification/options.js';
import type { WorkerEvent } from '../../src/testing/verification/protocol.js';
import type { ProcessPlan } from '../../src/testing/verification/process-plan.js';
import { Recorder } from '../../src/testing/verification/recorder.js';
import { SeriesRecorder } from '../../src/testing/verification/series.js';

const FAULTY = fileURLToPath(new URL('./fixtures/faulty-client.mjs', import.meta.url));

describe('testing: verification', () => {
  describe('merge', () => {
    it('makes one story out of several, in the order of the clock, and loses nothing', () => {
      // Each source tells in its own order; how they interleave, and when they are asked, is chance.
      const source = fc.array(fc.nat(20), { maxLength: 20 });
      const sources = fc.array(source, { minLength: 1, maxLength: 4 });
      fc.assert(
        fc.property(sources, fc.infiniteStream(fc.nat(3)), (gaps, choices) => {
          const left = gaps.map((row, name) => {
            let at = 0;
            return row.map((gap, i) => ({ at: (at += gap), name, i }));
          });
          const merge = new Merge<{ at: number; name: number; i: number }>();
          const told: { at: number; name: number; i: number }[] = [];
          while (left.some((row) => row.length > 0)) {
            const row = left[choices.next().value! % left.length]!;
            const next = row.shift();
            if (next) merge.push(next);
            // What is still to come bounds what is complete.
            const complete = Math.min(...left.filter((r) => r.length > 0).map((r) => r[0]!.at - 1));
            if (choices.next().value === 0) told.push(...merge.take(complete));
          }
          told.push(...merge.take(Infinity));
          assert.equal(told.length, gaps.flat().length);
          told.forEach((event, i) => assert.ok(i === 0 || told[i - 1]!.at <= event.at));
          for (const [name] of gaps.entries()) {
            const own = told.filter((event) => event.name === name).map((event) => event.i);
            assert.deepEqual(own, [...own.keys()]);
          }
        }),
      );
    });
  });

  it('series: counts where things happened, the median and the slowest of each bucket', () => {
    const series = new SeriesRecorder(100);
    for (const [at, took] of [[10, 5], [20, 1], [99, 9], [150, 4], [30, 70], [420, 2]] as const) series.acknowledged(at, took); // prettier-ignore
    series.failed(250);
    series.delivered(110, 3);
    const { acknowledged, failed, delivered, ackLatency, deliveryLatency } = series.result(500);
    assert.deepEqual(acknowledged, [4, 1, 0, 0, 1]);
    assert.deepEqual(failed, [0, 0, 1, 0, 0]);
    assert.deepEqual(delivered, [0, 1, 0, 0, 0]);
    assert.deepEqual(ackLatency.p50, [5, 4, null, null, 2]);
    assert.deepEqual(ackLatency.max, [70, 4, null, null, 2]);
    assert.deepEqual(deliveryLatency.max, [null, 3, null, null, null]);
  });

  describe('recorder', () => {
    const PLANS: ProcessPlan[] = [
      { name: 'p', role: 'publisher', subscriptions: [] },
      { name: 's', role: 'subscriber', subscriptions: [{ name: 'durable', kind: 'durable' }] },
    ];

    function story(...events: [process: string, life: number, event: WorkerEvent][]): Recorder {
      const recorder = new Recorder(PLANS, { interval: 100 });
      for (const [process, life, event] of events) recorder.apply({ at: event[1], process, life, event });
      return recorder;
    }

    it('knows from the story what the report says', () => {
      const recorder = story(
        ['p', 1, ['ready', 0, 'some client', '1.0']],
        ['s', 1, ['ready', 0, 'some client', '1.0']],
        ['p', 1, ['attempt', 10, 0]],
        ['s', 1, ['delivered', 14, 'durable', 1, 'p-0']],
        ['p', 1, ['acknowledged', 15, 0]],
      );
      const start = { id: 7, kind: 'kill', whom: ['b'], text: 'kill of the leader: b', everybody: false } as const;
      recorder.apply({ at: 20, fault: start });
      recorder.apply({ at: 21, process: 's', life: 1, event: ['news', 21, 'loss', 'disconnect'] });
      assert.equal(recorder.connected, 1);
      recorder.apply({ at: 30, process: 'p', life: 1, event: ['attempt', 30, 1] });
      recorder.apply({ at: 90, process: 's', life: 1, event: ['news', 90, 'reconnect', null] });
      recorder.apply({ at: 95, process: 'p', life: 1, event: ['acknowledged', 95, 1] });
      recorder.apply({ at: 97, process: 's', life: 1, event: ['delivered', 97, 'durable', 2, 'p-1'] });
      recorder.apply({ at: 99, mended: 7 });
      const verdict = recorder.history.judge(100);
      assert.ok(verdict.clean);
      assert.deepEqual(recorder.faults(verdict.faults), [
        {
          ...{ kind: 'kill', name: 'kill of the leader: b', label: 'kill b', at: 20, until: 99 },
          ...{ toNextAck: 75, toNextDelivery: { durable: 77 } },
        },
      ]);
      assert.deepEqual(
        recorder.marks.map(({ at, process, kind }) => [at, process, kind]),
        [
          [0, 'p', 'connected'],
          [0, 's', 'connected'],
          [21, 's', 'loss'],
          [90, 's', 'reconnect'],
        ],
      );
      const counters = { attempted: 2, acknowledged: 2, failed: 0, delivered: 2, losses: 1, reconnects: 1 };
      assert.deepEqual(recorder.counters, counters);
      assert.deepEqual(recorder.client, { name: 'some client', version: '1.0' });
      assert.deepEqual(recorder.series.result(100).deliveryLatency.max, [67]);
    });

    it('the next acknowledgement after a fault is that of the pulse, where the publisher has a backlog', () => {
      const recorder = story(['p', 1, ['attempt', 1, 0]], ['p', 1, ['attempt', 2, 1]]);
      const start = { kind: 'kill', whom: ['b'], text: 'kill of the leader: b', everybody: false } as const;
      recorder.apply({ at: 10, fault: { ...start, id: 1 } });
      const tell = (event: WorkerEvent) => recorder.apply({ at: event[1], process: 'p', life: 1, event });
      tell(['attempt', 20, 2]);
      tell(['pulse', 30, 25]); // sent before the fault
      tell(['acknowledged', 40, 0]);
      tell(['pulse', 60, 45]);
      recorder.apply({ at: 70, fault: { ...start, id: 2 } });
      tell(['acknowledged', 80, 1]);
      tell(['acknowledged', 900, 2]);
      const faults = recorder.faults(recorder.history.judge(1000).faults);
      assert.deepEqual(faults.map(({ toNextAck }) => toNextAck), [50, undefined]); // prettier-ignore
    });

    it('the pulse that follows a fault is sent after its last blow, whichever of two strikes last', () => {
      const recorder = story(['p', 1, ['attempt', 1, 0]]);
      const start = { kind: 'kill', whom: ['b'], text: 'kill of the leader: b', everybody: false } as const;
      const pulse = (at: number, took: number) =>
        recorder.apply({ at, process: 'p', life: 1, event: ['pulse', at, took] });
      recorder.apply({ at: 10, fault: { ...start, id: 1, kind: 'stop' } });
      recorder.apply({ at: 12, fault: { ...start, id: 2 } });
      recorder.apply({ at: 13, struck: 2 });
      pulse(20, 5); // the first server still answers
      recorder.apply({ at: 100, struck: 1 });
      pulse(130, 40); // sent before that
      pulse(400, 290);
      recorder.apply({ at: 500, mended: 1 });
      const faults = recorder.faults(recorder.history.judge(1000).faults);
      assert.deepEqual(faults.map(({ toNextAck }) => toNextAck), [300, 7]); // prettier-ignore
    });

    it('knows the rate that was reached where nothing was broken', () => {
      const recorder = story();
      const tell = (event: WorkerEvent) => recorder.apply({ at: event[1], process: 'p', life: 1, event });
      // A hundred a second are published, and fifty acknowledged; in the fault there are none.
      recorder.apply({ at: 4000, fault: { id: 1, kind: 'kill', whom: ['b'], text: 'kill', everybody: false } });
      recorder.apply({ at: 6000, mended: 1 });
      for (let i = 0; i < 1000; i++) tell(['attempt', i * 10, i]);
      for (let i = 0; i < 500; i++) if (i * 20 < 4000 || i * 20 > 6000) tell(['acknowledged', i * 20, i]);
      assert.equal(recorder.reachedRate(10_000), 50);
      assert.equal(recorder.reachedRate(3500), undefined, 'too short');
    });

    it('a killed publisher abandons what it had not heard of, and its next life goes on with the next number', () => {
      const recorder = story(
        ['p', 1, ['attempt', 1, 0]],
        ['p', 1, ['attempt', 2, 1]],
        ['p', 1, ['acknowledged', 3, 0]],
      );
      recorder.apply({ at: 4, process: 'p', end: 'killed' });
      assert.equal(recorder.next('p'), 2);
      assert.equal(recorder.history.judge(5).publishers[0]?.abandoned, 1);
      assert.deepEqual(recorder.incidents, []);
    });

    it('what a later life of a durable handles again is repeated, and within one life it is handled twice', () => {
      const recorder = story(['p', 1, ['attempt', 1, 0]], ['p', 1, ['acknowledged', 2, 0]], ['s', 1, ['delivered', 3, 'durable', 1, 'p-0']], ['s', 2, ['delivered', 5, 'durable', 1, 'p-0']]); // prettier-ignore
      assert.equal(recorder.history.judge(6).subscriptions[0]?.repeated, 1);
      assert.ok(recorder.history.judge(6).clean);
      recorder.apply({ at: 7, process: 's', life: 2, event: ['delivered', 7, 'durable', 1, 'p-0'] });
      assert.equal(recorder.history.judge(8).subscriptions[0]?.handledTwice, 1);
    });

    it('what a handler fails for has to come again, and what is told to be gone is gone, where it may be', () => {
      const recorder = new Recorder(PLANS, { interval: 100, retention: 1 });
      const happened: [process: string, event: WorkerEvent][] = [
        ['p', ['attempt', 1, 0]],
        ['p', ['acknowledged', 2, 0]],
        ['p', ['attempt', 3, 1]],
        ['p', ['acknowledged', 4, 1]],
        ['s', ['threw', 5, 'durable', 1, 'p-0']],
      ];
      for (const [process, event] of happened) recorder.apply({ at: event[1], process, life: 1, event });
      recorder.apply({ at: 6, process: 's', life: 1, event: ['delivered', 6, 'durable', 2, 'p-1'] });
      assert.equal(recorder.history.judge(7).subscriptions[0]?.lost.total, 1);
      recorder.apply({ at: 8, process: 's', life: 1, event: ['gap', 8, 'durable', 1, 1] });
      const [s] = recorder.history.judge(9).subscriptions;
      assert.deepEqual([s?.lost.total, s?.gone, s?.threw], [0, 1, 1]);
      assert.deepEqual(recorder.marks.at(-1), { at: 8, process: 's', kind: 'gap', text: 'durable: sequences 1 to 1' });
    });

    it('what one that stood in has handled, and left in good order, is not handled again by the one it stood in for', () => {
      const recorder = new Recorder([...PLANS, { name: 'x', role: 'subscriber', subscriptions: [], standIn: true }], { interval: 100 }); // prettier-ignore
      const tell = (process: string, event: WorkerEvent) => recorder.apply({ at: event[1], process, life: 1, event });
      tell('s', ['ready', 0, 'some client', null]);
      tell('p', ['attempt', 1, 0]);
      tell('p', ['acknowledged', 2, 0]);
      tell('x', ['ready', 3, 'some client', null]);
      tell('x', ['delivered', 4, 'durable', 1, 'p-0']);
      tell('p', ['attempt', 5, 1]);
      tell('p', ['acknowledged', 6, 1]);
      tell('x', ['delivered', 7, 'durable', 2, 'p-1']);
      assert.equal(recorder.connected, 1, 'who stands in is one too many');
      tell('x', ['closed', 8]);
      tell('s', ['delivered', 9, 'durable', 1, 'p-0']); // it was on its way to both
      assert.deepEqual(recorder.history.judge(10).violations, []);
      tell('s', ['delivered', 11, 'durable', 2, 'p-1']);
      assert.match(
        recorder.history.judge(12).violations.join(),
        /'durable': 1 messages handled again after a takeover/,
      );
    });

    it('what the server itself may lose of a group is what was on its way to a member, when it left and the leader died', () => {
      const group = [{ name: 'g', kind: 'durable-queue', maxInFlight: 1 }] as const;
      const run = ({ died, members = 2 }: { died: number; members?: number }) => {
        const recorder = new Recorder(
          [PLANS[0]!, ...['m', 'n'].slice(0, members).map((name) => ({ name, role: 'subscriber' as const, subscriptions: group }))], // prettier-ignore
          { interval: 100 },
        );
        const tell = (process: string, event: WorkerEvent) => recorder.apply({ at: event[1], process, life: 1, event });
        recorder.apply({ at: 0, leader: 'a' });
        tell('p', ['attempt', 900, 0]);
        tell('p', ['acknowledged', 901, 0]);
        recorder.apply({ at: 1000, process: 'm', end: 'killed' });
        recorder.apply({ at: died, leader: undefined });
        recorder.apply({ at: died + 500, leader: 'b' });
        const [s] = recorder.history.judge(20_000).subscriptions;
        return [s?.serverLost, s?.lost.total];
      };
      assert.deepEqual(run({ died: 2500 }), [1, 0]);
      assert.deepEqual(run({ died: 9000 }), [0, 1], 'by then everybody knew');
      assert.deepEqual(run({ died: 2500, members: 1 }), [0, 1], 'there was nobody else to give it to');
    });

    it('a life that died before it was there has had its messages, and is over', () => {
      const recorder = new Recorder(
        [PLANS[0]!, { name: 's', role: 'subscriber', subscriptions: [{ name: 'durable', kind: 'durable' }] }],
        { interval: 100, retention: 5 },
      );
      const tell = (process: string, life: number, event: WorkerEvent) =>
        recorder.apply({ at: event[1], process, life, event });
      tell('p', 1, ['attempt', 1, 0]);
      tell('p', 1, ['acknowledged', 2, 0]);
      tell('s', 1, ['delivered', 3, 'durable', 1, 'p-0']);
      recorder.apply({ at: 4, process: 's', end: 'killed' });
      for (let i = 1; i <= 12; i++) {
        tell('p', 1, ['attempt', 10 * i, i]);
        tell('p', 1, ['acknowledged', 10 * i + 1, i]);
      }
      tell('s', 2, ['ready', 200, 'some client', null]);
      for (let i = 8; i <= 12; i++) tell('s', 2, ['delivered', 200 + i, 'durable', i + 1, `p-${i}`]);
      const [s] = recorder.history.judge(300).subscriptions;
      assert.deepEqual([s?.unattended, s?.lost.total], [7, 0]);
    });

    describe('of a group with members in two processes', () => {
      const group = [{ name: 'g', kind: 'durable-queue', maxInFlight: 1 }] as const;
      const members = ['m', 'n'].map((name) => ({ name, role: 'subscriber' as const, subscriptions: group }));
      const twoMembers = (retention?: number) => {
        const witness = [{ name: 'witness', kind: 'plain' }] as const;
        const plans = [PLANS[0]!, ...members, { name: 'w', role: 'subscriber' as const, subscriptions: witness }];
        const recorder = new Recorder(plans, { interval: 100, retention });
        const tell = (process: string, event: WorkerEvent) => recorder.apply({ at: event[1], process, life: 1, event });
        const publish = (counter: number, at: number) => {
          tell('p', ['attempt', at, counter]);
          tell('p', ['acknowledged', at + 1, counter]);
        };
        const verdict = () => {
          const [s] = recorder.history.judge(20_000).subscriptions;
          return [s?.serverLost, s?.lost.total];
        };
        return { recorder, tell, publish, verdict };
      };

      it('a member that is lost because the leader dies was back before, and has left before that', () => {
        const { recorder, tell, publish, verdict } = twoMembers();
        recorder.apply({ at: 0, leader: 'a' });
        publish(0, 900);
        tell('m', ['news', 1000, 'loss', null]);
        tell('m', ['news', 4000, 'reconnect', null]);
        tell('m', ['news', 4500, 'loss', null]);
        recorder.apply({ at: 4600, leader: undefined });
        assert.deepEqual(verdict(), [1, 0]);
      });

      it('what the channel drops before the member that had it is back, nobody can get', () => {
        for (const [back, expected] of [
          [4000, [1, 0]],
          [1000, [0, 1]],
        ] as const) {
          const { tell, publish, verdict } = twoMembers(1);
          publish(0, 900);
          tell('w', ['delivered', 902, 'witness', 1, 'p-0']);
          tell('m', ['news', 950, 'loss', null]);
          if (back < 3000) tell('m', ['news', back, 'reconnect', null]);
          publish(1, 3000);
          for (const [who, what] of [
            ['w', 'witness'],
            ['n', 'g'],
          ] as const) {
            tell(who, ['delivered', 3001, what, 2, 'p-1']);
          }
          if (back > 3000) tell('m', ['news', back, 'reconnect', null]);
          assert.deepEqual(verdict(), expected, `back at ${back}`);
        }
      });
    });

    it('the idle ones that do not answer, and those that are handed something twice, are incidents', () => {
      const recorder = story(['s', 1, ['roll-call', 1, 20, 18, 3]], ['s', 1, ['roll-call', 2, 20, 20, 0]]);
      assert.deepEqual(recorder.incidents, [
        "process 's': of 20 idle subscriptions 2 did not get the message at the end",
        "process 's': of 20 idle subscriptions some were handed messages again that they had handled: 3",
      ]);
    });

    it('a subscription that had everything, and then nothing for a while, has a stall', () => {
      const recorder = story(
        ['s', 1, ['ready', 0, 'some client', null]],
        ['p', 1, ['attempt', 10, 0]],
        ['p', 1, ['acknowledged', 11, 0]],
        ['s', 1, ['delivered', 12, 'durable', 1, 'p-0']],
        ['p', 1, ['attempt', 100, 1]],
        ['p', 1, ['acknowledged', 101, 1]],
        ['s', 1, ['delivered', 900, 'durable', 2, 'p-1']],
      );
      assert.deepEqual(recorder.history.judge(1000).subscriptions[0]?.longestStall, { ms: 800, at: 900 });
    });

    it('a process that ends by itself, and a client that closes by itself, are incidents', () => {
      const recorder = story(['s', 1, ['news', 1, 'closed', 'connection_lost']]);
      recorder.apply({ at: 2, process: 'p', end: 'died', text: 'exit code 3' });
      assert.deepEqual(recorder.incidents, [
        "process 's': its client closed by itself: connection_lost",
        "process 'p': it ended by itself: exit code 3",
      ]);
    });
  });

  describe('exposure', () => {
    const watchOf = (
      limited: boolean,
      ...happened: [what: 'left' | 'back' | 'lost' | 'lease' | 'leads', at: number][]
    ) => {
      const exposures: Exposure[] = [];
      const members = new Map([['m', [{ group: 'g', most: 5 }]]]);
      const exposure = new ExposureWatch({
        members,
        durables: new Map(),
        limited,
        ackWait: 5000,
        expose: (_group, one) => exposures.push(one),
      });
      exposure.leads('a', 0);
      for (const [what, at] of happened) {
        if (what === 'left') exposure.left('m', at);
        else if (what === 'back') exposure.cameBack('m', at);
        else if (what === 'leads') exposure.leads('a', at);
        else exposure.leads(undefined, at);
        if (what === 'lost') exposure.leads(`the next at ${at}`, at + 1);
      }
      // What the leader had just given to another member, `ackWait` after it was stored, has a test of its own.
      const losses = happened.map(([, at]) => at);
      const others = exposures.filter(({ to }) => !losses.includes(to + 4000));
      return others.map(({ what, ...exposed }) => {
        assert.equal(what, limited ? 'dropped' : 'stored');
        return exposed;
      });
    };
    const watch = (...happened: [what: 'left' | 'back' | 'lost', at: number][]) => watchOf(false, ...happened);

    it('is there when the leader is lost soon after a member left, or came back', () => {
      assert.deepEqual(watch(['left', 10_000], ['lost', 11_000]), [{ from: 8000, to: 11_000, most: 5 }]);
      assert.deepEqual(watch(['left', 10_000], ['back', 15_000], ['lost', 16_000]), [
        { from: 8000, to: 16_000, most: 5 },
      ]);
    });

    it('is not there when it is lost later, or before', () => {
      assert.deepEqual(watch(['left', 10_000], ['lost', 12_001]), []);
      assert.deepEqual(watch(['lost', 9000], ['left', 10_000], ['back', 10_500]), []);
      assert.deepEqual(watch(['back', 0], ['lost', 1]), [], 'it came for the first time');
    });

    it('is one for each departure, however often leaders are lost', () => {
      const lost = watch(['left', 10_000], ['lost', 10_500], ['lost', 11_500]);
      assert.deepEqual(lost, [
        { from: 8000, to: 11_500, most: 5 },
        { from: 8501, to: 11_500, most: 5 }, // the second has led for a moment only
      ]);
      const twice = watch(['left', 10_000], ['lost', 10_500], ['back', 11_000], ['left', 20_000], ['lost', 20_500]);
      assert.equal(twice.length, 2);
    });

    it('is there for a member that was back when the leader died, and left because of that', () => {
      const lost = watch(['left', 10_000], ['back', 15_000], ['left', 16_000], ['lost', 16_100]);
      assert.deepEqual(
        lost.map(({ from }) => from),
        [8000, 14_000],
      );
    });

    it('is there for all members when a leader loses its lease for a moment', () => {
      assert.deepEqual(watchOf(false, ['lease', 10_000], ['leads', 10_800]), [{ from: 8000, to: 10_800, most: 5 }]);
      assert.deepEqual(watchOf(false, ['lost', 10_000], ['leads', 13_000]), [], 'another one has led meanwhile');
      assert.deepEqual(watchOf(false, ['lease', 10_000], ['leads', 10_200]), [], 'a poll without an answer');
      assert.deepEqual(watchOf(false, ['lease', 10_000], ['leads', 25_000]), [], 'it was down');
    });

    it('is there for all members when a leader has led for a moment only', () => {
      const exposed: Exposure[] = [];
      const members = new Map([['m', [{ group: 'g', most: 5 }]]]);
      const expose = (_group: string, one: Exposure) => void exposed.push(one);
      const watch = new ExposureWatch({ members, durables: new Map(), limited: false, ackWait: 5000, expose });
      for (const [leader, at] of [['a', 0], [undefined, 10_000], ['b', 11_000], [undefined, 11_200], ['c', 12_000], [undefined, 15_000]] as const) watch.leads(leader, at); // prettier-ignore
      assert.deepEqual(
        exposed.filter(({ to }) => to === 11_200),
        [{ what: 'stored', from: 9000, to: 11_200, most: 5 }],
      );
    });

    it('is there for what a leader gave to another member after ackWait, and died', () => {
      const exposed: Exposure[] = [];
      const members = new Map([['m', [{ group: 'g', most: 5 }]]]);
      const expose = (_group: string, one: Exposure) => void exposed.push(one);
      const watch = new ExposureWatch({ members, durables: new Map(), limited: false, ackWait: 5000, expose });
      for (const [leader, at] of [['a', 0], [undefined, 20_000]] as const) watch.leads(leader, at); // prettier-ignore
      assert.deepEqual(exposed, [{ what: 'stored', from: 13_000, to: 16_000, most: 5 }]);
    });

    it('is there for a durable that another process has had, until it is back for longer than followers may not know', () => {
      const exposed: [string, Exposure][] = [];
      const durables = new Map([['s', [{ group: 'durable', most: 9 }]]]);
      const expose = (group: string, one: Exposure) => void exposed.push([group, one]);
      const watch = new ExposureWatch({ members: new Map(), durables, limited: false, ackWait: 5000, expose });
      const lost = (at: number): void => {
        watch.leads(undefined, at);
        watch.leads(`the next at ${at}`, at + 1);
      };
      watch.leads('a', 0);
      lost(5000);
      watch.tookOver('s', 10_000);
      lost(12_000);
      watch.cameBack('s', 20_000);
      watch.left('s', 20_500);
      watch.cameBack('s', 21_000);
      lost(22_500);
      lost(23_001);
      lost(30_000);
      assert.deepEqual(exposed, [['durable', { what: 'stored', from: 8000, to: 22_500, most: 9 }]]);
    });

    it('is there for one that a handler has failed on, and the channel drops before it is sent again', () => {
      const exposed: [string, Exposure][] = [];
      const members = new Map([['m', [{ group: 'g', most: 5 }]]]);
      for (const limited of [true, false]) {
        const expose = (group: string, one: Exposure) => void exposed.push([group, one]);
        const watch = new ExposureWatch({ members, durables: new Map(), limited, ackWait: 5000, expose });
        watch.failed('m', 'g', 10_000);
        watch.failed('m', 'another', 10_000);
        watch.failed('n', 'g', 10_000);
      }
      assert.deepEqual(exposed, [['g', { what: 'dropped', from: 10_000, to: 16_000, most: 1 }]]);
    });

    it('is there, where the channel is limited, for what is dropped until the member is back', () => {
      assert.deepEqual(watchOf(true, ['left', 10_000]), [{ from: 8000, to: Infinity, most: 5 }]);
      assert.deepEqual(watchOf(true, ['left', 10_000], ['left', 11_000], ['back', 12_000]), [
        { from: 8000, to: 13_000, most: 5 },
      ]);
    });
  });

  describe('failing handlers', () => {
    it('fail for a share of the messages, each as often as it is to, and then no more', () => {
      const options = fc.record({ times: fc.integer({ min: 1, max: 3 }), choice: fc.double({ min: 0, max: 0.999, noNaN: true }) }); // prettier-ignore
      fc.assert(
        fc.property(options, ({ times, choice }) => {
          const failing = new Failing();
          const other = new Failing();
          failing.begin({ share: 0.2, times, choice });
          other.begin({ share: 0.2, times, choice });
          const chosen = Array.from({ length: 500 }, (_, i) => i + 1).filter((sequence) => failing.next('s', sequence));
          assert.ok(chosen.length > 50 && chosen.length < 170, `${chosen.length} of 500`);
          assert.ok(
            chosen.every((sequence) => other.next('another', sequence)),
            'the seed decides which',
          );
          failing.begin({ share: 0, times, choice });
          assert.equal(failing.next('s', 1001), false);
          for (const sequence of chosen) {
            for (let time = 1; time < times; time++) assert.equal(failing.next('s', sequence), true);
            assert.equal(failing.next('s', sequence), false);
          }
        }),
        { numRuns: 30 },
      );
    });
  });

  describe('the cast', () => {
    const castFor = (over: Partial<CastOptions> = {}) => castOf({ groupMembers: 1, faults: FAULT_KINDS, subscriptions: 0, ...over }); // prettier-ignore

    it('has for every fault of clients somebody whom it may befall, and only where there is the fault a group to kill', () => {
      const cast = castFor({ subscriptions: 10 });
      for (const kind of ['client-kill', 'client-pause', 'client-replace', 'handler-fail', 'group-kill'] as const) {
        assert.ok(cast.some(({ faults }) => faults.includes(kind)), kind); // prettier-ignore
      }
      assert.equal(cast.filter(({ faults }) => faults.includes('group-kill')).length, 2);
      assert.deepEqual(
        castFor({ faults: ['kill'] }).map(({ name }) => name),
        ['publisher-1', 'publisher-2', 'subscriber-1', 'subscriber-2', 'subscriber-3'],
      );
    });

    it('has only durables killed, and only durables taken over', () => {
      for (const groupMembers of [1, 2]) {
        for (const cast of castFor({ groupMembers })) {
          const durables = durablesOf(cast).map(({ name }) => name);
          assert.ok(durables.every((name) => /durable|killed-group/.test(name)));
          const killed = cast.faults.some((kind) => kind === 'client-kill' || kind === 'group-kill');
          if (killed) assert.deepEqual(durables, cast.subscriptions.map(({ name }) => name)); // prettier-ignore
        }
      }
    });
  });

  describe('growth', () => {
    const process = (of: (i: number) => Partial<ResourceSample>, lives = 1): ReportProcess => ({
      ...{ name: 'x', role: 'publisher', parts: [], lives },
      samples: Array.from({ length: 100 * lives }, (_, i) => ({
        ...{ at: i * 2000, life: 1 + Math.floor(i / 100), heap: 9e6, rss: 6e7, handles: 5, listeners: 12 },
        ...of(i % 100),
      })),
    });

    it('is none in what is flat, noisy, or warming up', () => {
      assert.deepEqual(growth(process(() => ({}))), []);
      assert.deepEqual(growth(process((i) => ({ heap: 9e6 + (i % 7) * 3e5, handles: 5 + (i % 3) }))), []);
      assert.deepEqual(growth(process((i) => ({ heap: i < 30 ? 5e6 + i * 1e5 : 9e6 }))), []);
      assert.deepEqual(growth(process((i) => ({ handles: i % 40 === 0 ? 60 : 5 }))), []);
      // Reconnects in two of three samples, at the end.
      assert.deepEqual(growth(process((i) => ({ handles: i > 60 && i % 3 > 0 ? 30 + (i % 20) : 5 }))), []);
      assert.deepEqual(growth({ ...process(() => ({})), samples: [] }), []);
    });

    it('is no growth that an outage of the first third had fewer listeners, for want of a session', () => {
      assert.deepEqual(growth(process((i) => ({ listeners: i % 9 === 3 && i < 40 ? 17 : 29 }))), []);
    });

    it('is told, in each life by itself', () => {
      assert.match(
        growth(process((i) => ({ heap: 9e6 + i * 1e5 })))[0]!,
        /'x' \(life 1\): its heap grew from 1\d\.\d MB to 1\d\.\d MB/,
      );
      assert.match(growth(process((i) => ({ handles: 5 + Math.floor(i / 5) })))[0]!, /number of handles grew/);
      assert.match(growth(process((i) => ({ listeners: 12 + i })))[0]!, /number of listeners grew/);
      assert.equal(growth(process((i) => ({ listeners: 12 + i }), 2)).length, 2);
    });
  });

  describe('options', () => {
    for (const [options, ...words] of [
      [{ faults: ['kil'] }, "no fault 'kil'", "did you mean 'kill'?"],
      [{ minutes: 2 }, "it is called 'publishFor'"],
      [{ ordring: 'strict' }, "did you mean 'ordering'?"],
      [{ ordering: 'strikt' }, "did you mean 'strict'?"],
      [{ mode: 'cluster' }, "did you mean 'clustered'?"],
      [{ mode: 'single', faults: ['wipe'] }, "'wipe' is not possible in single mode"],
      [{ mode: 'fault-tolerant', faults: ['wipe'] }, "'wipe' is not possible in fault-tolerant mode"],
      [{ servers: 'nats://a:1', faults: ['kill'] }, "'faults' has no meaning with servers of your own"],
      [{ servers: 'nats://a:1', nodes: 3 }, "'nodes' has no meaning"],
      [{ servers: 'nats://a:1', publishFor: Infinity }, 'must have an end'],
      [{ servers: 'ftp://a:1' }, 'ftp'],
      [{ clusterId: 'x' }, "'clusterId' goes with servers of your own"],
      [{ connectOptions: { user: 'x', pass: 'y' } }, "'connectOptions' goes with servers of your own"],
      [{ servers: 'nats://a:1', connectOptions: { user: 'x' } }, "'pass'"],
      [{ servers: 'nats://a:1', connectOptions: { creds: 'x' } }, "did you mean 'userCreds'?"],
      [{ servers: 'nats://a:1', connectOptions: { tls: { ca: '/no/certificate' } } }, "'tls.ca'"],
      [{ raftTimeout: 1e6 }, "'raftTimeout'"],
      [{ rate: 0 }, "'rate'"],
      [{ maxMessages: 0 }, "'maxMessages'"],
      [{ subscriptions: 1e6 }, "'subscriptions'"],
      [{ mode: 'single', faults: ['group-kil'] }, "did you mean 'group-kill'?"],
      [{ seed: -1 }, "'seed'"],
    ] as [object, ...string[]][]) {
      it(`refuses ${JSON.stringify(options)}`, () => {
        assert.throws(
          () => checkVerifyOptions(options),
          (error: Error) => {
            assert.ok(error instanceof InvalidArgumentError);
            for (const word of words) assert.ok(error.message.includes(word), error.message);
            return true;
          },
        );
      });
    }

    it('the replay is a command line that means the same', () => {
      const options: VerifyOptions = {
        ...{
          publishFor: 90_000,
          faultCount: 3,
          seed: 4,
          ordering: 'strict',
          faults: ['kill', 'pause'],
          nodes: 5,
          mode: 'clustered',
        },
        ...{
          maxFaultDuration: 1500,
          raftTimeout: 300,
          groupMembers: 2,
          rate: 10,
          size: 100,
          maxMessages: 500,
          subscriptions: 2000,
          client: '/x/y.mjs',
        },
      };
      const { replay } = checkVerifyOptions(options);
      const words = replay.split(' ').slice(3);
      const values: Record<string, string> = {};
      for (let i = 0; i < words.length; i += 2) values[words[i]!.slice(2)] = words[i + 1]!;
      const again = readArguments(values).options;
      assert.deepEqual({ ...options, servers: undefined, clusterId: undefined }, again);
    });

    it('credentials of servers do not get into the replay', () => {
      const { replay } = checkVerifyOptions({ servers: 'nats://user:secret@a:4222', publishFor: 1000 });
      assert.match(replay, /--servers nats:\/\/a:4222/);
      assert.doesNotMatch(replay, /secret/);
    });
  });

  describe('of a client that breaks a promise', function () {
    this.timeout(120_000);
    let cluster: StanCluster;
    let dir: string;
    before(async () => {
      dir = await mkdtemp(join(tmpdir(), 'resilient-stan-test-'));
      cluster = await StanCluster.start({ mode: 'single', store: 'memory' });
    });
    after(async () => {
      await cluster.stop();
      await rm(dir, { recursive: true, force: true });
      delete process.env.FAULTY;
    });

    const run = (faulty: string, over: VerifyOptions = {}) => {
      process.env.FAULTY = faulty;
      const logDir = join(dir, faulty.replaceAll(/\W+/g, '-'));
      return verify({ servers: cluster.urls, publishFor: 1, settleTimeout: 200, client: FAULTY, logDir, ...over });
    };

    const assertFound = (violations: readonly string[], ...words: readonly RegExp[]): void => {
      for (const word of words) assert.ok(violations.some((violation) => word.test(violation)), `${word} in:\n${violations.join('\n')}`); // prettier-ignore
    };

    it('everything it breaks in delivering is found', async () => {
      const data = await run('drops, doubles, swaps, alters');
      assert.ok(!isClean(data));
      assertFound(
        data.verdict.violations,
        ...[/plain.*lost/, /plain.*handled twice/, /plain.*out of sequence/, /plain.*nobody published/],
      );
      assert.equal(data.client.name, 'faulty (drops, doubles, swaps, alters)');
    });

    it('everything it breaks in publishing is found', async () => {
      const data = await run('says it was stored, says it was not sent, never settles');
      assert.ok(!isClean(data));
      assertFound(
        data.verdict.violations,
        ...[/plain.*lost/, /plain.*reported as not stored/, /publisher-1.*never settled/, /publisher-1.*failed/],
      );
    });

    it('one that is too slow for the rate is waited for while it goes on, and that it fell behind is said', async () => {
      const data = await run('is slow', { publishFor: 4000, settleTimeout: 1500 });
      assert.deepEqual(data.verdict.violations, []);
      assert.ok(isClean(data));
      const settling = data.duration - data.publishedUntil!;
      assert.ok(settling > 1500, `it had settled after ${settling} ms`);
      assert.ok(data.reachedRate! < 170, `${data.reachedRate} a second`);
    });

    it('a gap that is told of what is there is found', async () => {
      const data = await run('invents gaps');
      assertFound(data.verdict.violations, /durable-killed.*told to be gone and were there/);
    });

    it('an idle subscription that is forgotten is found', async () => {
      const over = { subscriptions: 100, settleTimeout: 3000 };
      const data = await run('forgets subscriptions', over);
      assert.deepEqual(data.incidents, [
        "process 'crowd': of 100 idle subscriptions 2 did not get the message at the end",
      ]);
      assert.deepEqual((await run('forgets nothing', over)).incidents, []);
    });

    it('the logs of what was not clean are kept, and those of what was are not', async () => {
      assert.deepEqual(
        (await readdir(join(dir, 'drops-doubles-swaps-alters'))).sort(),
        ['publisher-1', 'publisher-2', 'subscriber-1', 'subscriber-2', 'subscriber-3'].map((name) => `${name}.log`),
      );
      assert.match(await readFile(join(dir, 'drops-doubles-swaps-alters', 'subscriber-1.log'), 'utf8'), /connected to/);
      const data = await run('not at all');
      assert.deepEqual(data.verdict.violations, []);
      assert.ok(isClean(data), data.incidents.join());
      assert.ok(!existsSync(join(dir, 'not-at-all')), 'there is no empty directory');
    });

    it('an adapter that is none, and one that cannot be loaded, are told before anything is started', async () => {
      const none = join(dir, 'none.mjs');
      await writeFile(none, 'export const adapter = 1;\n');
      for (const [client, words] of [
        [none, /is no adapter: its default export must be/],
        [join(dir, 'nowhere.mjs'), /cannot be loaded/],
      ] as const) {
        await assert.rejects(
          verify({ client, publishFor: 1 }),
          (error: Error) => error instanceof InvalidArgumentError && words.test(error.message),
        );
      }
    });
  });
});
