import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { StanCluster, waitFor, type StanNode } from '../../src/testing/index.js';

/** Messages this node has got from another one over their route, by its own monitoring. */
async function heardFrom(node: StanNode, other: StanNode): Promise<number> {
  const routez = await node.monitor.routez();
  const route = routez?.routes.find(({ remote_name }) => remote_name === `test-cluster-${other.name}`);
  assert.ok(route, `${node.name} has no route to ${other.name}`);
  return route.in_msgs;
}

/** The role a node believes it has. */
async function role(node: StanNode): Promise<string | undefined> {
  return (await node.monitor.serverz())?.role;
}

function dial(url: string): Promise<string> {
  return new Promise((resolve) => {
    const { hostname, port } = new URL(url);
    const socket = connect(Number(port), hostname);
    socket.once('data', () => {
      socket.destroy();
      resolve('greeted');
    });
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'error'));
  });
}

describe('testing: StanCluster, proxied', () => {
  let cluster: StanCluster;
  before(async () => {
    cluster = await StanCluster.start({ nodes: 3, proxied: true });
  });
  after(() => cluster.stop());
  afterEach(async () => {
    await cluster.heal();
    await Promise.all(cluster.nodes.map((node) => node.start()));
    await cluster.settled();
  });

  async function roles(): Promise<{ leader: StanNode; followers: [StanNode, StanNode] }> {
    const leader = await cluster.leader();
    const [one, two] = cluster.nodes.filter((node) => node !== leader);
    assert.ok(one && two);
    return { leader, followers: [one, two] };
  }

  it('all traffic between the nodes goes through the proxies, and no node knows a way around', async () => {
    const pairs = cluster.nodes.flatMap((a) => cluster.nodes.filter((b) => b !== a).map((b) => cluster.route(a, b)));
    await waitFor(() => (pairs.reduce((n, proxy) => n + proxy.stats.connections, 0) === 3 ? true : undefined), {
      timeout: 5000,
      what: () => 'there is not one connection for each pair',
    });
    for (const node of cluster.nodes) {
      const varz = await node.monitor.get<{ connect_urls?: string[]; cluster: { urls: string[] } }>('/varz');
      const ports = cluster.nodes.map(({ ports: { route } }) => `127.0.0.1:${route}`);
      assert.ok(!varz?.cluster.urls.some((url) => ports.includes(url)));
      assert.equal((await node.monitor.routez())?.num_routes, 2);
    }
  });

  it('isolate: the routes really fall silent, the rest elects, and the isolated leader steps down', async () => {
    const { leader, followers } = await roles();
    await cluster.isolate(leader);
    const heard = await Promise.all(followers.map((node) => heardFrom(node, leader)));
    const next = await waitFor(
      async () => {
        const found = await cluster.findLeader();
        return found === leader ? undefined : found;
      },
      { timeout: 10_000, what: () => 'the others have no leader' },
    );
    assert.ok(followers.includes(next));
    await waitFor(async () => ((await role(leader)) === 'Candidate' ? true : undefined), {
      timeout: 10_000,
      what: () => 'the isolated leader does not notice',
    });
    // It asks for votes all the time; nobody has heard it, and its route is as it was.
    assert.deepEqual(await Promise.all(followers.map((node) => heardFrom(node, leader))), heard);
    assert.equal(await dial(leader.url), 'greeted', 'its clients still reach it');

    await cluster.heal();
    await cluster.settled();
    assert.ok((await heardFrom(next, leader)) > 0);
  });

  it('isolate: from its clients too, when asked to', async () => {
    const { followers } = await roles();
    const [one] = followers;
    const cut = await cluster.isolate(one, { clients: true });
    const answer = dial(one.url);
    assert.equal(
      await Promise.race([answer, new Promise((resolve) => setTimeout(() => resolve('silence'), 100))]),
      'silence',
    );
    cut.heal();
    assert.equal(await answer, 'greeted', 'who had dialled is greeted when the path is mended');
  });

  it('partition: the majority leads, the minority does not', async () => {
    const { leader, followers } = await roles();
    const [one, two] = followers;
    await cluster.partition([leader, one], [two]);
    await waitFor(async () => ((await role(two)) === 'Candidate' ? true : undefined), {
      timeout: 10_000,
      what: () => 'the minority does not notice',
    });
    // On a busy machine it may have gone from the one to the other of them.
    assert.ok([leader, one].includes(await cluster.leader()));
  });

  it('partition, one way: heard, but not hearing', async () => {
    const { leader, followers } = await roles();
    const [deaf, other] = followers;
    // The leader's words do not reach one follower; that one's own words reach everybody.
    await cluster.partition([leader], [deaf], { oneWay: true });
    await waitFor(async () => ((await role(deaf)) === 'Candidate' ? true : undefined), {
      timeout: 10_000,
      what: () => 'who hears no heartbeat does not ask for votes',
    });
    const before = await heardFrom(deaf, leader);
    const heardByLeader = await heardFrom(leader, deaf);
    await waitFor(async () => ((await heardFrom(leader, deaf)) > heardByLeader ? true : undefined), {
      timeout: 10_000,
      what: () => 'the leader hears nothing',
    });
    assert.equal(await heardFrom(deaf, leader), before, 'it hears nothing of the leader');
    assert.ok(await heardFrom(other, deaf));
  });

  it('one cut of several can be mended by itself', async () => {
    const { followers } = await roles();
    const [one, two] = followers;
    const first = await cluster.isolate(one);
    const second = await cluster.partition([one], [two]);
    first.heal();
    assert.equal(cluster.route(one, two).toxics.length, 1);
    second.heal();
    second.heal();
    assert.equal(cluster.route(one, two).toxics.length, 0);
  });

  it('a node that is down refuses its clients, also behind a proxy, and is reached again where it was', async () => {
    const { followers } = await roles();
    const [node] = followers;
    await node.kill();
    await waitFor(async () => ((await dial(node.url)) === 'ECONNREFUSED' ? true : undefined), {
      timeout: 5000,
      what: () => 'not refused',
    });
    await node.start();
    assert.equal(await dial(node.url), 'greeted');
  });

  it('toxics of a node concern its clients', async () => {
    const { leader } = await roles();
    using _slow = leader.proxy.add({ type: 'latency', latency: 50, stream: 'downstream' });
    const before = performance.now();
    await dial(leader.url);
    assert.ok(performance.now() - before >= 49);
  });

  it('refuses what makes no sense', async () => {
    const { leader, followers } = await roles();
    await assert.rejects(cluster.partition([leader], followers.concat(leader)), /node '.' cannot be on both sides/);
    assert.throws(() => cluster.route(leader, leader), /does not dial itself/);
    await using single = await StanCluster.start({ mode: 'single', store: 'memory' });
    const [alone] = single.nodes;
    assert.ok(alone);
    await assert.rejects(single.isolate(alone), /start the cluster with \{ proxied: true \}/);
    assert.throws(() => alone.proxy, /start the cluster with \{ proxied: true \}/);
    await assert.rejects(cluster.isolate(alone), /node 'a' is not a node of this cluster/);
  });
});
