import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { connect } from 'node:net';
import { StanCluster, waitFor } from '../../src/testing/index.js';

/** The greeting of a NATS server at this URL. */
function greeting(url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url);
    const socket = connect(Number(port), hostname);
    socket.once('data', (data) => {
      socket.destroy();
      resolve(data.toString().slice(0, 5));
    });
    socket.once('error', reject);
  });
}

describe('testing: StanCluster, three nodes', () => {
  let cluster: StanCluster;

  before(async () => {
    cluster = await StanCluster.start({ nodes: 3 });
  });
  after(() => cluster.stop());

  it('serves at all its URLs, with one leader and two followers', async () => {
    assert.equal(cluster.urls.length, 3);
    for (const url of cluster.urls) assert.equal(await greeting(url), 'INFO ');
    // Asked for until it is so: on a busy machine an election may be going on.
    await waitFor(
      async () => {
        const roles = await Promise.all(cluster.nodes.map(async (node) => (await node.monitor.serverz())?.role));
        return roles.sort().join() === 'Follower,Follower,Leader' || undefined;
      },
      { timeout: 10_000, what: () => 'there is not one leader with two followers' },
    );
    const leader = await cluster.leader();
    assert.equal((await leader.monitor.serverz({ timeout: 5000 }))?.cluster_id, 'test-cluster');
  });

  it('has another leader after a kill, and the killed node comes back on its ports and with its store', async () => {
    const old = await cluster.leader();
    const { pid, url } = old;
    await old.kill();
    assert.equal(old.running, false);
    assert.equal(old.pid, undefined);
    assert.equal(old.lastExit?.signal, 'SIGKILL');
    assert.equal(old.lastExit?.asked, true);
    await assert.rejects(greeting(url), /ECONNREFUSED/);
    const next = await cluster.leader();
    assert.notEqual(next, old);

    await old.start();
    await cluster.settled();
    assert.notEqual(old.pid, pid);
    assert.equal(old.lives, 2);
    assert.equal(await greeting(url), 'INFO ');
  });

  it('does not take a frozen leader for one', async () => {
    const old = await cluster.leader();
    await old.pause();
    assert.equal(old.paused, true);
    assert.equal(old.running, true);
    assert.notEqual(await cluster.leader(), old);
    await old.resume();
    await cluster.settled();
    assert.equal(old.paused, false);
  });

  it('stops a node gently, also a frozen one', async () => {
    const node = await cluster.leader();
    await node.pause();
    await node.stop();
    assert.equal(node.lastExit?.signal, null);
    assert.ok(
      node.log().some((line) => line.includes('Server Exiting')),
      'it had the time to say good-bye',
    );
    await node.start();
    await cluster.settled();
  });

  it('fills up a wiped node again', async () => {
    const node = cluster.nodes.find((n) => !n.serving);
    assert.ok(node);
    await assert.rejects(node.wipe(), /runs: stop or kill it before wipe/);
    await node.kill();
    await node.wipe();
    assert.equal(existsSync(`${node.dir}/raft`), false);
    await node.start();
    await cluster.settled();
  });

  it('tells of a death nobody asked for', async () => {
    const node = cluster.nodes[0];
    assert.ok(node?.pid);
    process.kill(node.pid, 'SIGKILL');
    await waitFor(() => (node.running ? undefined : true), { timeout: 5000, what: () => 'the node still runs' });
    assert.equal(node.lastExit?.asked, false);
    assert.match(node.log().at(-1) ?? '', /ended: SIGKILL \(nobody asked for it\)/);
    await node.start();
    await cluster.settled();
  });

  it('times out, with the state of each node, when nobody leads', async () => {
    await Promise.all(cluster.nodes.slice(1).map((node) => node.kill()));
    await waitFor(async () => ((await cluster.findLeader()) ? undefined : true), {
      timeout: 10_000,
      what: () => 'a leader is left',
    });
    await assert.rejects(cluster.leader({ timeout: 100 }), /no node leads\. a: running, b: down, c: down/);
    await Promise.all(cluster.nodes.map((node) => node.start()));
    await cluster.settled();
  });
});

describe('testing: StanCluster, one node', () => {
  it('leads itself, and again after a kill', async () => {
    await using cluster = await StanCluster.start({ nodes: 1 });
    const [node] = cluster.nodes;
    assert.equal(await cluster.leader(), node);
    await node!.kill();
    await node!.start();
    assert.equal(await cluster.leader(), node);
  });
});
