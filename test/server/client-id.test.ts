/** Two clients with one ID: who holds it keeps it, unless he is dead or mute; and nobody closes another's. */
import assert from 'node:assert/strict';
import { ClientIdConflictError, type ConnectOptions, type Logger, type ResilientStan } from '../../src/index.js';
import { StanCluster, type AppliedToxic, type StanNode } from '../../src/testing/index.js';
import { Clients, readBack, Recorder, rejection, uniqueName, until } from '../support/clients.js';
import { restore } from '../support/one-server.js';

describe('a client ID', function () {
  this.timeout(30_000);
  const clients = new Clients();
  let cluster: StanCluster;
  let server: StanNode;
  let clientId: string;

  before(async () => {
    cluster = await StanCluster.start({ mode: 'single', proxied: true });
    server = cluster.nodes[0]!;
  });
  after(() => cluster.stop());
  beforeEach(() => {
    clientId = uniqueName('mine');
  });
  afterEach(() => restore(server, clients));

  /** Through the proxy. */
  const one = (options: ConnectOptions = {}): Promise<ResilientStan> =>
    clients.connect(cluster.urls, { clientId, ...options });
  /** Past it, as another process would. */
  const other = (options: ConnectOptions = {}): Promise<ResilientStan> =>
    clients.connect(`127.0.0.1:${server.ports.client}`, { clientId, ...options });

  /** The texts of the warnings, and of the lines for 'debug' that tell of an attempt that failed and is repeated. */
  function logs(): { logger: Logger; warned: string[]; failed: string[] } {
    const warned: string[] = [];
    const failed: string[] = [];
    const debug = (text: string): void => void (text.startsWith('attempt') && failed.push(text));
    return { logger: { debug, warn: (text) => void warned.push(text) }, warned, failed };
  }

  /** Its subscription and its publishes work, and have worked all the time. */
  async function unharmed(stan: ResilientStan, recorder: Recorder, work: () => Promise<void>): Promise<void> {
    const channel = uniqueName('work');
    const got: string[] = [];
    await stan.subscribe(channel, (message) => void got.push(message.string()));
    await stan.publish(channel, 'before');
    await work();
    await stan.publish(channel, 'after');
    await until(
      () => got.length === 2,
      () => `got ${got.join()}`,
    );
    assert.equal(stan.state, 'connected');
    assert.equal(stan.stats().losses, 0);
    assert.ok(!recorder.names.includes('connection_lost'), recorder.names.join(' '));
  }

  describe('that a live client holds', () => {
    it("is refused to another one: at once with 'close'", async () => {
      const first = await one();
      await unharmed(first, new Recorder(first), async () => {
        const said: string[] = [];
        const error = await rejection(
          other({
            clientIdConflict: 'close',
            initialConnect: { retries: Infinity },
            logger: { debug: (text) => said.push(text) },
          }),
          ClientIdConflictError,
          clientId,
        );
        assert.equal(error.code, 'ERR_STAN_CLIENT_ID_CONFLICT');
        assert.equal(error.clientId, clientId);
        assert.deepEqual(
          said.filter((text) => text.startsWith('attempt')),
          [],
        );
      });
    });

    it("is refused to another one: when its time is over with 'retry', and at once when it asks for a single attempt", async () => {
      const first = await one();
      await unharmed(first, new Recorder(first), async () => {
        const { logger, warned, failed } = logs();
        const initialConnect = { retries: 1, minTimeout: 1, maxTimeout: 2, maxRetryTime: 2000 };
        await rejection(other({ initialConnect, logger }), ClientIdConflictError);
        assert.ok(failed.length >= 2, `a conflict counts as a retry: ${failed.length} attempts`);
        assert.equal(warned.length, 1, warned.join('\n'));
        warned.length = failed.length = 0;
        await rejection(other({ initialConnect: { retries: 0 }, logger }), ClientIdConflictError);
        assert.equal(warned.length, 1);
        assert.equal(failed.length, 0, 'it was tried again');
      });
    });

    it('is waited for by default, as in a rolling deployment whose old process takes its time', async () => {
      const first = await one();
      const recorder = new Recorder(first);
      const { logger, warned, failed } = logs();
      const second = other({ logger });
      second.catch(() => undefined);
      // The default patience has four attempts for a cluster that is not there.
      await unharmed(first, recorder, () => until(() => failed.length >= 6, 'it does not go on trying'));
      assert.equal(warned.length, 1, warned.join('\n'));
      await first.close();
      const next = await second;
      assert.equal((await next.publish('work', 'mine now')).attempts, 1);
    });

    it("goes to who waits for it with 'retry' as soon as it is free", async () => {
      const first = await one();
      const recorder = new Recorder(first);
      const { logger, warned, failed } = logs();
      const second = other({ initialConnect: { retries: Infinity, minTimeout: 10, maxTimeout: 20 }, logger });
      await unharmed(first, recorder, () => until(() => failed.length >= 3, 'there was no conflict'));
      assert.equal(warned.length, 1, warned.join('\n'));
      await first.close();
      const next = await second;
      assert.equal((await next.publish('work', 'mine now')).attempts, 1);
    });

    it('goes to who comes when it is dead without a good-bye', async () => {
      const first = await one();
      await server.proxy.down();
      const second = await other({ clientIdConflict: 'close', initialConnect: { retries: 0 } });
      assert.equal(second.state, 'connected');
      assert.equal(first.state, 'reconnecting');
    });
  });

  describe('whose client is mute, and that another one takes', () => {
    /** The first one cut off, and the second one in its place. */
    async function taken(options: ConnectOptions = {}): Promise<{
      first: ResilientStan;
      seen: Recorder;
      second: ResilientStan;
      cut: AppliedToxic;
    }> {
      // It must not find out before it is reached again.
      const first = await one({ pings: { interval: 60_000 }, ...options });
      const seen = new Recorder(first);
      await first.subscribe('cut', () => {});
      const cut = server.proxy.add({ type: 'stall' });
      const second = await other({ clientIdConflict: 'close', initialConnect: { retries: 0 } });
      return { first, seen, second, cut };
    }

    it("is not taken back: with 'retry' the first one waits until it is free, and loses nothing", async () => {
      const { first, seen, second, cut } = await taken({ reconnect: { minTimeout: 10, maxTimeout: 20 } });
      const channel = uniqueName('kept');
      await unharmed(second, new Recorder(second), async () => {
        const kept = first.publish(channel, 'kept');
        cut.remove();
        await seen.until('client_id_conflict', 3);
        assert.equal(seen.count('connection_lost'), 1);
        assert.equal(seen.of('connection_lost')[0]!.reason, 'replaced');
        assert.ok(seen.of('client_id_conflict')[0]!.error instanceof ClientIdConflictError);
        assert.equal(first.state, 'reconnecting');
        assert.ok(first.health().lastError?.error instanceof ClientIdConflictError);
        await second.publish(channel, 'of the second');
        void kept;
      });
      await second.close();
      await seen.until('reconnect');
      await first.flush();
      assert.deepEqual(await readBack(cluster.urls, channel), ['of the second', 'kept']);
    });

    it("is not taken back: with 'close' the first one closes", async () => {
      const { first, seen, second, cut } = await taken({ clientIdConflict: 'close' });
      await unharmed(second, new Recorder(second), async () => {
        cut.remove();
        void first.publish('cut', 'asks').catch(() => {});
        const reason = await first.closed();
        assert.ok(reason instanceof ClientIdConflictError, String(reason));
        assert.equal(seen.count('client_id_conflict'), 0, 'the reason of the end says it');
      });
    });

    it('is not closed when the first one closes, which does not know', async () => {
      const { first, second, cut } = await taken();
      await unharmed(second, new Recorder(second), async () => {
        const closing = first.close({ timeout: 300 });
        await closing;
        cut.remove();
        // What the first one has sent arrives now. An answer from the server, sent after it, shows that it has.
        await second.publish('cut', 'x');
        await readBack(cluster.urls, 'cut');
        await until(async () => {
          const { stats } = server.proxy;
          return stats.connections === 0;
        }, 'the connections of the first one are still open');
        const listed = await server.monitor.clientsz();
        assert.ok(
          listed!.clients.some(({ id }) => id === clientId),
          'the second one was unregistered',
        );
      });
    });

    it('is not closed when the first one closes with its path open, and has not noticed yet', async () => {
      const { first, second, cut } = await taken();
      await unharmed(second, new Recorder(second), async () => {
        cut.remove();
        await first.close();
        const listed = await server.monitor.clientsz();
        assert.ok(
          listed!.clients.some(({ id }) => id === clientId),
          'the second one was unregistered',
        );
      });
    });
  });
});
