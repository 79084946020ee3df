import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  checkFaultKinds,
  describeFault,
  FAULT_KINDS,
  planFaults,
  possibleFaults,
  type FaultPlanOptions,
  type PlannedFault,
} from '../../src/testing/index.js';

function plan(options: FaultPlanOptions, count: number): PlannedFault[] {
  const faults: PlannedFault[] = [];
  for (const fault of planFaults(options)) {
    if (faults.length === count) break;
    faults.push(fault);
  }
  return faults;
}

describe('testing: fault plans', () => {
  it('follow from their seed, and from nothing else', () => {
    fc.assert(
      fc.property(fc.nat(), (seed) => {
        assert.deepEqual(plan({ seed }, 50), plan({ seed }, 50));
        assert.notDeepEqual(plan({ seed }, 50), plan({ seed: seed + 1 }, 50));
      }),
    );
  });

  it('have each kind once before any comes again, within what was asked for', () => {
    const kinds = fc.uniqueArray(fc.constantFrom(...FAULT_KINDS), { minLength: 1 });
    fc.assert(
      fc.property(fc.nat(), kinds, fc.integer({ min: 1, max: 5000 }), (seed, faults, maxDuration) => {
        const planned = plan({ seed, faults, maxDuration, gap: [10, 20] }, faults.length * 3);
        for (let round = 0; round < 3; round++) {
          const some = planned.slice(round * faults.length, (round + 1) * faults.length);
          assert.deepEqual(some.map(({ kind }) => kind).sort(), [...faults].sort());
        }
        planned.forEach((fault, i) => {
          assert.equal(fault.id, i + 1);
          assert.ok(fault.duration >= 0 && fault.duration <= Math.max(maxDuration, 500), describeFault(fault));
          assert.ok(fault.gap >= 10 && fault.gap <= 20);
          assert.ok(fault.choice >= 0 && fault.choice < 1);
        });
      }),
    );
  });

  it('of the kinds that there were before others came, are what they were', () => {
    const old = FAULT_KINDS.slice(0, FAULT_KINDS.indexOf('client-kill') + 1);
    const told = plan({ seed: 42, faults: old }, 33).map(({ kind, target, duration, gap, overlaps }) =>
      [kind, target, duration, gap, overlaps].join(' '),
    );
    assert.deepEqual(
      [...told.slice(0, 4), ...told.slice(-2)],
      [
        'wipe follower 373 668 false',
        'kill follower 2482 304 false',
        'full-outage all 679 337 false',
        'pause leader 3178 936 false',
        'rolling-restart all 0 767 false',
        'kill leader 3452 1312 false',
      ],
    );
  });

  it('leave alone what nothing may overlap', () => {
    fc.assert(
      fc.property(fc.nat(), (seed) => {
        const planned = plan({ seed, overlap: 1 }, 60);
        planned.forEach((fault, i) => {
          const before = planned[i - 1];
          const alone = (kind: string) =>
            ['wipe', 'full-outage', 'rolling-restart', 'client-replace', 'host-sleep'].includes(kind);
          assert.equal(fault.overlaps, before !== undefined && !alone(fault.kind) && !alone(before.kind));
        });
        assert.ok(plan({ seed, overlap: 0 }, 60).every(({ overlaps }) => !overlaps));
      }),
    );
  });

  it('have only what a cluster can have', () => {
    const clustered = { mode: 'clustered', store: 'file', proxied: true, clients: true } as const;
    assert.deepEqual(possibleFaults(clustered), [...FAULT_KINDS]);
    assert.deepEqual(possibleFaults({ ...clustered, proxied: false, clients: false }), [
      ...['kill', 'stop', 'pause', 'rolling-restart', 'full-outage', 'wipe'],
    ]);
    assert.ok(!possibleFaults({ ...clustered, mode: 'single', store: 'memory' }).includes('group-kill'));
    assert.ok(!possibleFaults({ ...clustered, nodes: 2 }).includes('wipe'));
    assert.ok(!possibleFaults({ ...clustered, mode: 'fault-tolerant' }).includes('wipe'));
    assert.deepEqual(possibleFaults({ mode: 'single', store: 'memory', proxied: true, clients: false }), [
      ...['pause', 'black-hole', 'reset', 'slow'],
    ]);
  });

  it('refuse names that are none', () => {
    assert.throws(() => checkFaultKinds(['kill', 'pauze']), {
      message: "there is no fault 'pauze': did you mean 'pause'?",
    });
    assert.throws(() => checkFaultKinds(['earthquake']), /there are: kill, stop, pause/);
    assert.throws(() => checkFaultKinds([]), /no faults are named/);
    assert.deepEqual(checkFaultKinds(['stop', 'kill', 'stop']), ['stop', 'kill']);
  });

  it('can be read', () => {
    const base = { id: 7, gap: 0, choice: 0, overlaps: false } as const;
    const text = (fault: Partial<PlannedFault>) => describeFault({ ...base, ...fault } as PlannedFault);
    assert.equal(text({ kind: 'kill', target: 'leader', duration: 300 }), '#7 kill of the leader for 300 ms');
    assert.equal(
      text({ kind: 'partition', target: 'follower', duration: 9, direction: 'out', clients: true, overlaps: true }),
      '#7 partition of a follower for 9 ms (of what it sends) (its clients too) while others last',
    );
    assert.equal(
      text({ kind: 'slow', target: 'all', duration: 5, latency: 30, jitter: 3, rate: 60 }),
      '#7 slow of all for 5 ms (30 ± 3 ms each way) (60 KB/s)',
    );
    assert.equal(text({ kind: 'reset', target: 'all', duration: 0 }), '#7 reset of all');
    assert.equal(
      text({ kind: 'handler-fail', target: 'client', duration: 9, share: 0.07, times: 2 }),
      '#7 handler-fail of a client for 9 ms (7 % of the messages, 2 times)',
    );
    assert.equal(
      text({ kind: 'group-kill', target: 'leader', duration: 9, members: 2, lag: 30, returned: true }),
      '#7 group-kill of the leader for 9 ms (and 2 members of a group that came back 30 ms before)',
    );
  });
});
