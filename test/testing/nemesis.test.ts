import assert from 'node:assert/strict';
import { ResilientStan } from '../../src/index.js';
import {
  ContinuityChecker,
  Nemesis,
  planFaults,
  possibleFaults,
  StanCluster,
  waitFor,
  type ClusterOptions,
  type FaultKind,
  type Ordering,
  type PlannedFault,
  type TimelineEntry,
} from '../../src/testing/index.js';

function* first(count: number, plan: Iterable<PlannedFault>): Generator<PlannedFault> {
  for (const fault of plan) {
    if (count-- <= 0) return;
    yield fault;
  }
}

describe('testing: Nemesis', () => {
  /** One fault after the other, or over each other, and a client that must not mind. */
  async function survives(
    cluster: StanCluster,
    ordering: Ordering,
    plan: Iterable<PlannedFault>,
  ): Promise<TimelineEntry[]> {
    const stan = await ResilientStan.connect(cluster.urls, {
      ...cluster.connectOptions,
      clientId: `survivor-${ordering}`,
      publishing: { ordering },
    });
    try {
      const checker = new ContinuityChecker({ ordering });
      await checker.subscribe('plain', stan);
      await checker.subscribe('durable', stan, { durableName: 'd', startAt: 'first' });
      await checker.subscribe('group', stan, { queueGroup: 'q', ackWait: 1000 });
      checker.publish('p', stan, { rate: 100 });
      const nemesis = new Nemesis(cluster, { onFault: (name) => checker.fault(name) });
      await nemesis.run(plan);
      const verdict = await checker.finish();
      const told = nemesis.timeline.map(({ at, text }) => `${Math.round(at)} ${text}`).join('\n');
      assert.deepEqual(verdict.violations, [], told);
      assert.equal(verdict.faults.length, nemesis.begun);
      assert.ok(
        verdict.faults.every(({ until }) => until !== undefined),
        'every fault was mended',
      );
      return nemesis.timeline;
    } finally {
      await stan.close({ timeout: 1000 });
    }
  }

  const kindsOf = (timeline: readonly TimelineEntry[], event: TimelineEntry['event']): string[] =>
    timeline.filter((entry) => entry.event === event).map(({ kind }) => kind);

  for (const ordering of ['strict', 'pipelined'] as const) {
    it(`does every kind of fault to a cluster, and a client of it lives through them all (${ordering})`, async () => {
      await using cluster = await StanCluster.start({ nodes: 3, proxied: true, seed: 1 });
      const faults = possibleFaults({ mode: 'clustered', store: 'file', proxied: true, clients: false });
      const plan = planFaults({ seed: ordering === 'strict' ? 11 : 12, faults, gap: [100, 300], maxDuration: 800 });
      const timeline = await survives(cluster, ordering, first(faults.length, plan));
      assert.deepEqual([...kindsOf(timeline, 'begin'), ...kindsOf(timeline, 'skipped')].sort(), [...faults].sort());
      assert.deepEqual(kindsOf(timeline, 'mended').sort(), kindsOf(timeline, 'begin').sort());
      assert.ok(cluster.nodes.every((node) => node.running && !node.paused && node.proxy.toxics.length === 0));
    });
  }

  for (const options of [{ mode: 'fault-tolerant' }, { mode: 'single' }] satisfies ClusterOptions[]) {
    it(`does to a ${options.mode} one what it can have`, async () => {
      await using cluster = await StanCluster.start({ ...options, proxied: true, seed: 1 });
      const { mode, store, proxied } = cluster;
      const faults: FaultKind[] = possibleFaults({ mode, store, proxied, clients: false }).filter(
        // An active node that comes back takes its time: three of them will do here.
        (kind) => mode === 'single' || ['kill', 'pause', 'partition'].includes(kind),
      );
      const plan = planFaults({ seed: 3, faults, gap: [100, 200], maxDuration: 500 });
      const timeline = await survives(cluster, 'strict', first(faults.length, plan));
      assert.equal(kindsOf(timeline, 'mended').length + kindsOf(timeline, 'skipped').length, faults.length);
    });
  }

  it('kills clients, through whoever can', async () => {
    await using cluster = await StanCluster.start({ mode: 'single', store: 'memory' });
    const done: string[] = [];
    const client = {
      name: 'consumer',
      kill: async () => void done.push('kill'),
      start: async () => void done.push('start'),
    };
    const nemesis = new Nemesis(cluster, { clients: [client] });
    const plan = planFaults({ seed: 1, faults: ['client-kill'], gap: [1, 2], maxDuration: 20, overlap: 0 });
    await nemesis.run(first(2, plan));
    assert.deepEqual(done, ['kill', 'start', 'kill', 'start']);
    assert.deepEqual(nemesis.timeline[0]?.whom, ['consumer']);
    // Nobody to kill.
    const idle = new Nemesis(cluster);
    await idle.run(first(1, planFaults({ seed: 1, faults: ['client-kill'], gap: [1, 2] })));
    assert.deepEqual(
      idle.timeline.map(({ event, text }) => [event, text.replace(/ for \d+ ms/, '')]),
      [['skipped', '#1 client-kill of a client is skipped: there is no client left to kill']],
    );
  });

  it('mends what it broke when it is told to end', async () => {
    await using cluster = await StanCluster.start({ nodes: 3 });
    const end = new AbortController();
    const nemesis = new Nemesis(cluster, { signal: end.signal });
    const ran = nemesis.run(planFaults({ seed: 5, faults: ['pause'], gap: [0, 1], maxDuration: 60_000, overlap: 0 }));
    await waitFor(() => cluster.nodes.find((node) => node.paused), { timeout: 10_000, what: () => 'nobody is paused' });
    assert.equal(nemesis.current.length, 1);
    end.abort();
    await ran;
    assert.ok(cluster.nodes.every((node) => node.running && !node.paused));
    assert.equal(nemesis.current.length, 0);
    assert.equal(nemesis.begun, 1);
  });

  it('mends what it can, and tells, when something does not go as planned', async () => {
    await using cluster = await StanCluster.start({ mode: 'single', store: 'memory' });
    const broken = {
      name: 'consumer',
      kill: async () => {
        throw new Error('it does not die');
      },
      start: async () => {},
    };
    const nemesis = new Nemesis(cluster, { clients: [broken] });
    const plan = planFaults({ seed: 1, faults: ['client-kill', 'pause'], gap: [1, 2], maxDuration: 20 });
    await assert.rejects(nemesis.run(plan), /fault #\d client-kill of a client .*\(consumer\): it does not die/);
    assert.ok(cluster.nodes.every((node) => node.running && !node.paused));
    // And a plan that the cluster cannot have.
    await assert.rejects(
      new Nemesis(cluster).run(planFaults({ seed: 1, faults: ['reset'], gap: [1, 2] })),
      /fault 'reset' needs a cluster with \{ proxied: true \}/,
    );
  });
});
