/**
 * A NATS server without streaming at the other end, and streaming servers that are connected to such a one. The servers are
 * real, if Go has the sources to build a plain one from; else their part is left out, and the scripted peers are left.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { ConnectError, ResilientStan, type ConnectOptions } from '../../src/index.js';
import { resolveServer, StanCluster } from '../../src/testing/index.js';
import { Clients, readBack, Recorder, rejection, until } from '../support/clients.js';
import { Peer, type PeerConnection } from '../support/peer.js';
import { buildPlainNats, PlainNats } from '../support/plain-nats.js';
import type { ServerProcess } from '../support/server-process.js';

const once: ConnectOptions = { initialConnect: { retries: 0 } };
/** As a released server says of itself that has no streaming server built in. */
const released = { version: '2.10.7', git_commit: 'fa8464d', headers: true };

describe('a plain NATS server', function () {
  this.timeout(60_000);
  const clients = new Clients();
  afterEach(() => clients.closeAll());

  describe('that is real', () => {
    let why: string | undefined;
    let streaming: string;

    before(async function () {
      this.timeout(300_000);
      why = await buildPlainNats();
      if (why !== undefined) {
        console.warn(`no plain NATS server could be built: ${why}`);
        this.skip();
      }
      streaming = await resolveServer();
    });

    /** A streaming server that has no NATS server built in, but is connected to this one. */
    const attach = (nats: PlainNats, node?: string, ...more: string[]): ServerProcess => {
      const common = [
        '-cid',
        'test-cluster',
        '-ns',
        nats.url,
        '-store',
        'file',
        '-dir',
        join(nats.dir, `store-${node}`),
      ];
      if (node === undefined) return nats.launch(streaming, ...common, ...more);
      const raft = ['-cluster_log_path', join(nats.dir, `raft-${node}`), '-cluster_peers', 'a,b,c'];
      return nats.launch(streaming, ...common, '-clustered', '-cluster_node_id', node, ...raft);
    };

    it('is named, and the default patience is not used up', async () => {
      await using nats = await PlainNats.start();
      const said: string[] = [];
      const connecting = ResilientStan.connect(nats.url, { logger: { warn: (text) => said.push(text) } });
      const error = await rejection(
        connecting,
        ConnectError,
        "no NATS Streaming server with cluster ID 'test-cluster' is there",
        `${nats.url} (a plain NATS server, version 2.9.24)`,
      );
      assert.deepEqual(error.failures[0]!.plain, { version: '2.9.24', jetStream: false });
      assert.equal(said.length, 1, 'the first attempt is not told');
    });

    it('with JetStream is named as such, beside a server that is not there', async () => {
      await using nats = await PlainNats.start('-js');
      // The patience of an attempt is longer than the test.
      const patient = { ...once, connectTimeout: 100_000 };
      const dead = 'nats://127.0.0.1:1';
      const error = await rejection(
        ResilientStan.connect([dead, nats.url], patient),
        ConnectError,
        `${nats.url} (a plain NATS server, version 2.9.24, with JetStream`,
        `${dead} (connection refused`,
      );
      assert.deepEqual(error.failures.map(({ plain }) => plain?.jetStream).sort(), [true, undefined]);
    });

    it('does not matter where another server of the list leads', async () => {
      await using nats = await PlainNats.start();
      await using cluster = await StanCluster.start({ mode: 'single', store: 'memory' });
      const stan = await clients.connect([nats.url, ...cluster.urls], { randomize: false });
      assert.equal(stan.server, cluster.urls[0]);
    });

    it('becomes good when a streaming server is connected to it: a client that was made before is up then', async () => {
      await using nats = await PlainNats.start();
      await using stan = ResilientStan.create(nats.url);
      const reasons: string[] = [];
      stan.on('connecting', ({ error }) => reasons.push(error.message));
      const published = stan.publish('boot', 'early');
      await until(() => reasons.length >= 5, 'it does not go on trying');
      for (const reason of reasons) assert.match(reason, /a plain NATS server/);
      attach(nats);
      await stan.connected();
      await published;
    });

    it('whose streaming server starts anew does not end a client that was connected, nor one that is ready to wait', async () => {
      await using nats = await PlainNats.start();
      const first = attach(nats);
      const stan = await clients.connect(nats.url);
      const recorder = new Recorder(stan);
      await stan.publish('boot', 'before');
      await first.kill();
      const failed: string[] = [];
      const debug = (text: string): void => void (text.startsWith('attempt') && failed.push(text));
      const said: string[] = [];
      const connecting = clients.connect(nats.url, {
        initialConnect: { retries: 4, minTimeout: 1, maxTimeout: 5 },
        logger: { debug, warn: (text) => said.push(text) },
      });
      connecting.catch(() => undefined);
      const during = stan.publish('boot', 'meanwhile');
      // Each attempt ends early here, so there are more of them in the time of five.
      await until(() => failed.length >= 7, 'it does not go on trying', 15_000);
      assert.match(said[0]!, /not connected yet, trying again: no NATS Streaming server .*a plain NATS server/);
      await recorder.until('reconnecting', 2);
      attach(nats);
      await Promise.all([connecting, during]);
      assert.equal(stan.state, 'connected');
      assert.deepEqual(await readBack(nats.url, 'boot'), ['before', 'meanwhile']);
    });

    it('whose streaming server is replaced by its standby goes on with all clients', async () => {
      await using nats = await PlainNats.start();
      const active = attach(nats, undefined, '-ft_group', 'ft');
      const stan = await clients.connect(nats.url);
      const standby = attach(nats, undefined, '-ft_group', 'ft');
      await standby.logs(/Starting in standby mode/);
      await stan.publish('orders', 'before');
      await active.kill();
      const during = stan.publish('orders', 'meanwhile');
      const other = await clients.connect(nats.url, { initialConnect: { retries: 20 } });
      await during;
      await other.publish('orders', 'after');
      assert.deepEqual((await readBack(nats.url, 'orders')).sort(), ['after', 'before', 'meanwhile']);
    });

    it('that a cluster without a leader is connected to is not taken for plain', async () => {
      await using nats = await PlainNats.start('-js');
      // One node of three elects nobody.
      const alone = attach(nats, 'a');
      await alone.logs(/Cluster known peers/);
      await alone.logs(/\[INF\] STREAM: ----/);
      const patience = { ...once, connectTimeout: 1500 };
      const error = await rejection(
        ResilientStan.connect(nats.url, patience),
        ConnectError,
        "no leader of cluster 'test-cluster' answered",
      );
      assert.equal(error.failures[0]!.plain, undefined);
      // Of another cluster there is nobody.
      const other = await rejection(
        ResilientStan.connect(nats.url, { ...patience, clusterId: 'another' }),
        ConnectError,
        'are the URL and the cluster ID right?',
      );
      assert.ok(other.failures[0]!.plain);
      const connecting = clients.connect(nats.url, { initialConnect: { retries: Infinity } });
      attach(nats, 'b');
      const stan = await connecting;
      assert.equal((await stan.publish('orders', 'x')).attempts, 1);
      assert.doesNotMatch(alone.log, /Invalid join request/, 'the question has left a trace');
    });
  });

  // Scripted: no real server claims these things.
  describe('that is scripted', () => {
    const patience = { ...once, connectTimeout: 1000 };

    it('and tells of nobody is plain only if it also has the signs', async () => {
      for (const [info, isPlain] of [
        [released, true],
        [{ version: '2.11.0', headers: true }, true],
        [{ version: '2.9.24', jetstream: true, headers: true }, true],
        // As the one that is built into NATS Streaming 0.25.6.
        [{ version: '2.9.24', headers: true }, false],
        [{ version: '2.1.9', git_commit: 'abc1234' }, false],
      ] as const) {
        await using peer = await Peer.listen({ leads: false, info });
        tellsOfNobody(peer);
        const error = await rejection(ResilientStan.connect(peer.url, patience), ConnectError);
        assert.equal(error.failures[0]!.plain !== undefined, isPlain, JSON.stringify(info));
        assert.equal(peer.dials, isPlain ? 2 : 1, 'a connection to ask is made only where the signs are');
      }
    });

    it('is not plain if it says nothing of nobody, forbids to ask, or hangs up', async () => {
      const ways: ((peer: Peer) => void)[] = [
        () => undefined,
        (peer) => {
          peer.take = (connection, subject) => {
            if (wantsToHearOfNobody(connection))
              connection.raw(`-ERR 'Permissions Violation for Publish to "${subject}"'\r\n`);
          };
        },
        (peer) => {
          peer.take = (connection) => {
            if (wantsToHearOfNobody(connection)) connection.end();
          };
        },
      ];
      for (const way of ways) {
        await using peer = await Peer.listen({ leads: false, info: released });
        way(peer);
        const error = await rejection(ResilientStan.connect(peer.url, patience), ConnectError);
        assert.equal(peer.dials, 2, 'it was not asked');
        assert.match(error.message, /no leader of cluster 'test-cluster' answered/);
      }
    });

    it('does not disturb a leader that answers late', async () => {
      await using peer = await Peer.listen({ leads: false, info: released });
      const connecting = clients.connect(peer.url, { ...once, connectTimeout: 20_000 });
      // It has been asked, and says nothing.
      await until(() => peer.dials === 2, 'it was not asked');
      peer.leads = true;
      assert.equal((await connecting).state, 'connected');
    });
  });
});

const wantsToHearOfNobody = ({ connects }: PeerConnection): boolean =>
  connects.some(({ line }) => line.includes('"no_responders":true'));

/** The peer says at each request that nobody listens, to who wants to hear it. */
function tellsOfNobody(peer: Peer): void {
  peer.take = (connection, _subject, reply) => {
    if (wantsToHearOfNobody(connection) && reply !== '')
      connection.raw(`HMSG ${reply} 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n`);
  };
}
