import assert from 'node:assert/strict';
import fc from 'fast-check';
import { FAST_RAFT, nodeConfig, nodeName, renderConfig, type NodeConfig } from '../../src/testing/config.js';
import { addressInUse, FRESH, LineRing, readLine } from '../../src/testing/server-log.js';

const base: NodeConfig = {
  name: 'a',
  mode: 'clustered',
  clusterId: 'test-cluster',
  store: 'file',
  ports: { client: 4221, monitor: 8221, route: 6221 },
  routes: ['127.0.0.1:6222', '127.0.0.1:6223'],
  peers: ['a', 'b', 'c'],
  storeDir: '/x/a/store',
  raftDir: '/x/a/raft',
  raft: FAST_RAFT,
};

describe('testing: configuration', () => {
  it('of a clustered node', () => {
    assert.equal(
      renderConfig(nodeConfig(base)),
      `server_name: "test-cluster-a"
listen: "127.0.0.1:4221"
http: "127.0.0.1:8221"
cluster: {
  name: "test-cluster"
  listen: "127.0.0.1:6221"
  routes: ["nats://127.0.0.1:6222", "nats://127.0.0.1:6223"]
}
streaming: {
  id: "test-cluster"
  store: "file"
  dir: "/x/a/store"
  cluster: {
    node_id: "a"
    peers: ["a", "b", "c"]
    log_path: "/x/a/raft"
    raft_heartbeat_timeout: "200ms"
    raft_election_timeout: "200ms"
    raft_lease_timeout: "100ms"
    raft_commit_timeout: "20ms"
  }
}
`,
    );
  });

  it('tells a node that is alone in its cluster to begin one', () => {
    assert.match(renderConfig(nodeConfig({ ...base, routes: [], peers: ['a'] })), /bootstrap: true/);
  });

  it("leaves Raft at the server's defaults when asked to", () => {
    assert.doesNotMatch(renderConfig(nodeConfig({ ...base, raft: undefined })), /raft_/);
  });

  it('of a fault-tolerant node has a group and no Raft', () => {
    const text = renderConfig(nodeConfig({ ...base, mode: 'fault-tolerant' }));
    assert.match(text, /ft_group: "test-cluster"/);
    assert.match(text, /routes: \[/);
    assert.doesNotMatch(text, /node_id/);
  });

  it('of a single server has neither, and no directory when in memory', () => {
    const text = renderConfig(nodeConfig({ ...base, mode: 'single', store: 'memory' }));
    assert.doesNotMatch(text, /cluster: |ft_group|dir:/);
  });

  it('takes more from the user, and lets it win', () => {
    const config = nodeConfig({
      ...base,
      extra: [{ max_payload: 10 }, { streaming: { dir: '/y', hb_interval: '1s' } }],
    });
    const text = renderConfig(config);
    assert.match(text, /max_payload: 10\n/);
    assert.match(text, / {2}dir: "\/y"\n/);
    assert.match(text, / {2}hb_interval: "1s"\n/);
    assert.match(text, / {2}id: "test-cluster"\n/);
  });

  it('has a different name for every node', () => {
    const names = Array.from({ length: 60 }, (_, i) => nodeName(i));
    assert.equal(new Set(names).size, 60);
    assert.deepEqual(names.slice(0, 3), ['a', 'b', 'c']);
  });
});

describe("testing: a server's log", () => {
  const line = (text: string) => `[77] 2026/01/01 00:00:00.000000 [INF] ${text}`;
  const read = (...texts: string[]) => texts.map(line).reduce(readLine, FRESH);

  it('tells when it accepts and when it serves', () => {
    assert.deepEqual(read('Starting nats-server'), FRESH);
    assert.equal(read('Server is ready').accepting, true);
    assert.equal(read('Server is ready').serving, false);
    assert.equal(read('Server is ready', 'STREAM: Streaming Server is ready').serving, true);
  });

  it('tells when a leader is promoted, not only elected, and when it is one no more', () => {
    const became = 'STREAM: server became leader, performing leader promotion actions';
    const ready = 'STREAM: Streaming Server is ready';
    const lost = 'STREAM: server lost leadership, performing leader stepdown actions';
    assert.equal(read(became).serving, false);
    assert.equal(read(became, ready).serving, true);
    assert.equal(read(became, ready, lost).serving, false);
    assert.equal(read(became, ready, lost, became).serving, false);
    assert.equal(read(became, ready, lost, became, ready).serving, true);
  });

  it('tells who stands by', () => {
    const standby = read('STREAM: Starting in standby mode');
    assert.deepEqual([standby.standby, standby.serving], [true, false]);
    const active = [line('STREAM: Server is active'), line('STREAM: Streaming Server is ready')].reduce(
      readLine,
      standby,
    );
    assert.deepEqual([active.standby, active.serving], [false, true]);
  });

  it('keeps the first fatal word', () => {
    const state = ['[1] 2026/01/01 [FTL] STREAM: Failed to start: it is late', '[1] 2026/01/01 [FTL] and so on'].reduce(
      readLine,
      FRESH,
    );
    assert.equal(state.fatal, 'STREAM: Failed to start: it is late');
  });

  it('names the address somebody else has', () => {
    assert.equal(
      addressInUse('Error listening on port: 127.0.0.1:4, "listen tcp 127.0.0.1:4: bind: address already in use"'),
      '127.0.0.1:4',
    );
    assert.equal(addressInUse('something else'), undefined);
  });

  it('is kept up to a limit: the last lines, in order', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9 }), fc.array(fc.string()), fc.nat(40), (capacity, lines, from) => {
        const ring = new LineRing(capacity);
        for (const text of lines) ring.push(text);
        assert.equal(ring.count, lines.length);
        assert.deepEqual(ring.lines(), lines.slice(-capacity));
        assert.deepEqual(ring.lines(from), lines.slice(Math.max(from, lines.length - capacity)));
      }),
    );
  });
});
