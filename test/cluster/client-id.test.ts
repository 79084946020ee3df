/** Take-over of our own registration, and of nobody else's, when a path of a cluster dies. */
import assert from 'node:assert/strict';
import { ClientIdConflictError, type ResilientStan } from '../../src/index.js';
import { StanCluster, type StanNode } from '../../src/testing/index.js';
import { Clients, deferred, Recorder, uniqueName, until } from '../support/clients.js';

/** The server's own check of a mute predecessor, ms. */
const SERVERS_CHECK = 500;

describe('the registration of a client whose node dies', function () {
  this.timeout(60_000);
  const clients = new Clients();
  let cluster: StanCluster;

  before(async () => {
    cluster = await StanCluster.start({ nodes: 3, proxied: true });
  });
  after(() => cluster.stop());
  afterEach(async () => {
    await clients.closeAll();
    await cluster.heal();
    for (const node of cluster.nodes) await node.resume();
    await cluster.settled();
  });

  const nodeOf = (stan: ResilientStan): StanNode => {
    const node = cluster.nodes.find(({ url }) => url === stan.server);
    assert.ok(node, `attached to ${stan.server}`);
    return node;
  };
  /** Attached to a node that does not lead. */
  const onFollower = async (options: Parameters<Clients['connect']>[1] = {}): Promise<ResilientStan> => {
    const leader = await cluster.leader();
    const followers = cluster.urls.filter((url) => url !== leader.url);
    return await clients.connect([...followers, leader.url], { randomize: false, ...options });
  };

  it('a frozen node: the new session is registered in far less than the check of the server', async () => {
    const clientId = uniqueName('mine');
    const stan = await onFollower({ clientId });
    const recorder = new Recorder(stan);
    const frozen = nodeOf(stan);
    await frozen.pause();
    const sent = stan.publish('takeover', 'x');
    await recorder.until('reconnect');
    assert.equal((await sent).attempts, 2);
    assert.equal(recorder.of('connection_lost')[0]!.reason, 'path');
    const at = (event: string): number => recorder.seen.find((seen) => seen.event === event)!.at;
    const took = at('reconnect') - at('connection_lost');
    assert.ok(took < SERVERS_CHECK - 100, `it took ${Math.round(took)} ms from the loss to the new session`);
    assert.notEqual(nodeOf(stan), frozen);

    const leader = await cluster.leader();
    const listed = await leader.monitor.clientsz();
    assert.equal(listed!.clients.filter(({ id }) => id === clientId).length, 1);
  });

  it('a black hole on the way to it: the same', async () => {
    const stan = await onFollower();
    const recorder = new Recorder(stan);
    const node = nodeOf(stan);
    const hole = node.proxy.add({ type: 'timeout' });
    const sent = stan.publish('blackhole', 'x');
    await recorder.until('reconnect');
    assert.equal((await sent).attempts, 2);
    assert.equal(recorder.count('connection_lost'), 1);
    const at = (event: string): number => recorder.seen.find((seen) => seen.event === event)!.at;
    const took = at('reconnect') - at('connection_lost');
    assert.ok(took < SERVERS_CHECK - 100, `it took ${Math.round(took)} ms from the loss to the new session`);
    assert.notEqual(nodeOf(stan), node);
    hole.remove();
  });

  it('that another process took while we were asking our ConnectionLostHandler is left to it', async () => {
    const clientId = uniqueName('mine');
    const answer = deferred<'reconnect'>();
    const first = await onFollower({
      clientId,
      clientIdConflict: 'close',
      connectionLostHandler: () => answer.promise,
    });
    const recorder = new Recorder(first);
    const hole = nodeOf(first).proxy.add({ type: 'stall' });
    void first.publish('taken', 'x').catch(() => {});
    await recorder.until('connection_lost');
    assert.equal(recorder.of('connection_lost')[0]!.reason, 'path', 'another path had been found to work');

    const second = await clients.connect((await cluster.leader()).url, { clientId });
    const seen = new Recorder(second);
    answer.resolve('reconnect');
    assert.ok((await first.closed()) instanceof ClientIdConflictError);
    const got: string[] = [];
    await second.subscribe('taken', (message) => void got.push(message.string()));
    await second.publish('taken', 'mine');
    await until(
      () => got.includes('mine'),
      () => got.join(),
    );
    assert.equal(seen.count('connection_lost'), 0);
    hole.remove();
  });
});
