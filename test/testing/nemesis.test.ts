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
  type KillableClient,
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
      /** For each fault how many servers were dead when its last blow had fallen. */
      const dead = new Map<string, number>();
      const nemesis = new Nemesis(cluster, {
        onFault: (name) => checker.fault(name),
        onEvent: ({ event, kind }) => {
          if (event === 'struck') dead.set(kind, cluster.nodes.filter(({ running }) => !running).length);
        },
      });
      await nemesis.run(plan);
      const verdict = await checker.finish();
      for (const [kind, count] of dead) {
        const least = { kill: 1, stop: 1, wipe: 1, 'rolling-restart': 1, 'full-outage': cluster.nodes.length }[kind];
        assert.ok(count >= (least ?? 0), `${kind}: ${count} dead`);
      }
      assert.deepEqual(kindsOf(nemesis.timeline, 'struck').sort(), kindsOf(nemesis.timeline, 'begin').sort());
      assert.ok(verdict.faults.every(({ at, struck, until }) => struck >= at && struck <= until!));
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
      [['skipped', '#1 client-kill of a client is skipped: there is no client left for a client-kill']],
    );
  });

  /** Clients that write down what is done to them. */
  function cast(done: string[], faults: readonly FaultKind[], names = ['one', 'two']): Required<KillableClient>[] {
    return names.map((name) => {
      const note = async (what: string) => void done.push(`${what} ${name}`);
      return {
        ...{ name, faults },
        kill: () => note('kill'),
        start: () => note('start'),
        pause: () => note('pause'),
        resume: () => note('resume'),
        replace: async () => {
          await note('replace');
          return () => note('leave');
        },
        failHandlers: ({ share, times }) => void done.push(`fail ${name} ${share} ${times}`),
      };
    });
  }

  const one = async (
    cluster: StanCluster,
    fault: Partial<PlannedFault>,
    clients: KillableClient[],
  ): Promise<Nemesis> => {
    const nemesis = new Nemesis(cluster, { clients });
    const base = { id: 1, target: 'client', duration: 5, gap: 0, overlaps: false, choice: 0.9 };
    await nemesis.run([{ ...base, ...fault } as PlannedFault]);
    return nemesis;
  };

  it('freezes clients, has them replaced, and lets their handlers fail', async () => {
    await using cluster = await StanCluster.start({ mode: 'single', store: 'memory' });
    const done: string[] = [];
    const clients = cast(done, ['client-pause', 'client-replace', 'handler-fail']);
    await one(cluster, { kind: 'client-pause' }, clients);
    assert.deepEqual(done.splice(0), ['pause two', 'resume two']);
    await one(cluster, { kind: 'client-replace', choice: 0 }, clients);
    assert.deepEqual(done.splice(0), ['pause one', 'replace one', 'leave one', 'resume one']);
    await one(cluster, { kind: 'handler-fail', share: 0.2, times: 2 }, clients);
    assert.deepEqual(done.splice(0), ['fail two 0.2 2', 'fail two 0 2']);
    // Not to those that it may not befall, and not to those that cannot.
    const plain = { name: 'plain', kill: async () => {}, start: async () => {}, faults: ['client-pause'] as const };
    for (const client of [plain, ...cast(done, ['handler-fail'], ['other'])]) {
      const { timeline } = await one(cluster, { kind: 'client-pause' }, [client]);
      assert.deepEqual(timeline.map(({ event }) => event), ['skipped']); // prettier-ignore
    }
    assert.deepEqual(done, []);
  });

  it('thaws a client also when nobody could take over from it', async () => {
    await using cluster = await StanCluster.start({ mode: 'single', store: 'memory' });
    const done: string[] = [];
    const [client] = cast(done, ['client-replace'], ['one']);
    client!.replace = () => Promise.reject(new Error('nobody is there'));
    await assert.rejects(one(cluster, { kind: 'client-replace' }, [client!]), /nobody is there/);
    assert.deepEqual(done, ['pause one', 'resume one']);
  });

  it('lets a whole host sleep, servers and clients', async () => {
    await using cluster = await StanCluster.start({ mode: 'single', store: 'memory' });
    const done: string[] = [];
    const [client] = cast(done, [], ['one']);
    const [node] = cluster.nodes;
    client!.resume = async () => void done.push(node!.paused ? 'server frozen' : 'server thawed');
    const { timeline } = await one(cluster, { kind: 'host-sleep', target: 'all' }, [client!]);
    assert.equal(done[0], 'pause one');
    assert.match(done[1]!, /^server/);
    assert.equal(node!.paused, false);
    assert.deepEqual([timeline[0]?.whom, timeline[0]?.target], [['a', 'one'], 'all']);
    assert.equal(timeline[0]?.text, '#1 host-sleep of all for 5 ms: everybody');
  });

  it('kills members of a group with the leader, before or after they came back', async () => {
    await using cluster = await StanCluster.start({ mode: 'single' });
    const [node] = cluster.nodes;
    const done: string[] = [];
    const clients = cast(done, ['group-kill'], ['one', 'two', 'three']);
    for (const client of clients) {
      client.start = async () => void done.push(`start ${client.name}, life ${node!.lives}`);
    }
    const fault = { kind: 'group-kill', target: 'leader', lag: 1, members: 2 } as const;
    const { timeline } = await one(cluster, { ...fault, returned: false, choice: 0 }, clients);
    assert.deepEqual(done.splice(0), ['kill one', 'kill two', 'start one, life 2', 'start two, life 2']);
    assert.deepEqual(timeline[0]?.whom, ['a', 'one', 'two']);
    await one(cluster, { ...fault, returned: true }, clients);
    assert.deepEqual(done.splice(0), ['kill three', 'kill one', 'start three, life 2', 'start one, life 2']);
    assert.equal(node!.lives, 3);
    const { begun } = await one(cluster, { ...fault, returned: false }, []);
    assert.equal(begun, 0);
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
