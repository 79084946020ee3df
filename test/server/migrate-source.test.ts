/**
 * What a migration believes of STAN's monitoring. A follower, and a server that has only just become the leader, say less than the
 * leader has. That moment cannot be hit with real servers, so here a real server's pages go through one that can be told to be behind.
 */
import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ResilientStan } from '../../src/index.js';
import { copy, verify } from '../../src/migrate/index.js';
import { MIGRATE_OPTIONS, readMigrateOptions } from '../../src/migrate/options.js';
import { Source } from '../../src/migrate/source.js';
import { OptionReader } from '../../src/option-reader.js';
import { StanCluster } from '../../src/testing/index.js';

const MIGRATE_NAMES = { known: MIGRATE_OPTIONS, hints: {} };

/** What a server says of itself beside its figures. */
type As = 'leader' | 'follower' | 'restarted';

describe('the figures of a migration', function () {
  this.timeout(60_000);

  let cluster: StanCluster;
  let stan: ResilientStan;
  let front: Server;
  let options: { from: string[]; monitor: string; channels: string[] };
  /** What the next answers are: how many messages behind, and what the server says of itself afterwards. The last one stays. */
  let script: { behind: number; afterwards: As }[];
  /** How many of the answers to questions for a channel were behind. */
  let stale = 0;
  /** How many of the next questions get no answer, as of a server that is restarted. */
  let away = 0;
  /** The cluster that the server says it is of. Undefined: its own. */
  let otherCluster: string | undefined;
  /** How often channels were asked for. */
  let questions = 0;

  before(async () => {
    cluster = await StanCluster.start({ mode: 'single', jetstream: true });
    stan = await ResilientStan.connect(cluster.urls);
    await Promise.all(Array.from({ length: 100 }, (_, i) => stan.publish('orders', `${i}`)));
    const real = cluster.nodes[0]!.monitor.url;
    let as: As = 'leader';
    const answer = async (path: string): Promise<unknown> => {
      const page = (await (await fetch(`${real}${path}`)).json()) as Record<string, unknown>;
      if (path.startsWith('/streaming/serverz')) {
        const role = as === 'follower' ? 'Follower' : 'Leader';
        if (as === 'restarted') page['server_id'] = 'another';
        as = 'leader';
        return { ...page, state: 'CLUSTERED', role, ...(otherCluster !== undefined && { cluster_id: otherCluster }) };
      }
      if (path.startsWith('/streaming/channelsz')) questions++;
      if (!path.includes('channel=')) return page;
      const step = script.length > 1 ? script.shift()! : script[0]!;
      as = step.afterwards;
      if (step.behind > 0) stale++;
      const [last, count] = [page['last_seq'] as number, page['msgs'] as number];
      return { ...page, last_seq: last - step.behind, msgs: count - step.behind };
    };
    front = createServer((request, response) => {
      if (away > 0) {
        away--;
        request.destroy();
        return;
      }
      void answer(request.url!).then((page) => response.end(JSON.stringify(page)));
    });
    await new Promise<void>((resolve) => front.listen(0, '127.0.0.1', resolve));
    const monitor = `http://127.0.0.1:${(front.address() as AddressInfo).port}`;
    options = { from: cluster.urls, monitor, channels: ['orders'] };
  });
  after(async () => {
    front?.close();
    await stan?.close();
    await cluster?.stop();
  });

  it('of many channels at once are asked for together, and none is older than its question', async () => {
    script = [{ behind: 0, afterwards: 'leader' }];
    const names = Array.from({ length: 40 }, (_, i) => `together.${i}`);
    await Promise.all(names.map((name) => stan.publish(name, 'one')));
    using resolved = readMigrateOptions(new OptionReader({ ...options, channels: names }, 'options', MIGRATE_NAMES));
    await using source = await Source.open(resolved);
    await source.channels();
    const lastOf = async (name: string): Promise<number> => (await source.channel(name))!.last;
    /** Publishes one message to each, and asks for all of them. What is sent twice, because its answer was late, counts twice. */
    const areFresh = async (): Promise<void> => {
      const published = await Promise.all(
        names.map((name) => stan.publish(name, 'text').then(() => stan.lastSequence(name))),
      );
      const told = await Promise.all(names.map(lastOf));
      assert.ok(
        told.every((last, i) => last >= published[i]!),
        `${told.join()} for ${published.join()}`,
      );
    };
    await lastOf(names[0]!);
    questions = 0;
    await areFresh();
    assert.ok(questions <= 3, `${questions} questions`);
    // Also those that are asked while others are on their way.
    const before = Promise.all(names.map(lastOf));
    await areFresh();
    await before;
  });

  it('are asked for again when nobody answers for a moment, and not when another cluster answers', async () => {
    script = [{ behind: 0, afterwards: 'leader' }];
    using resolved = readMigrateOptions(new OptionReader(options, 'options', MIGRATE_NAMES));
    await using source = await Source.open(resolved);
    const count = async (): Promise<number> => (await source.channel('orders'))!.last;
    const before = await count();
    away = 6;
    assert.deepEqual([await count(), away], [before, 0]);
    away = 6;
    assert.equal((await source.channels({ figures: false })).channels.length, 1);
    away = 1;
    await assert.rejects(Source.open(resolved), /no streaming server answers at its monitoring port/);
    otherCluster = 'another';
    // The server that leads is to be found anew.
    away = 1;
    await assert.rejects(count(), { name: 'MigrationSourceError', message: /is of cluster 'another'/ });
    otherCluster = undefined;
  });

  for (const afterwards of ['follower', 'restarted'] as const) {
    it(`are asked for again when the server that gave them is ${afterwards === 'follower' ? 'a follower' : 'another one'} by then`, async () => {
      script = [
        { behind: 30, afterwards },
        { behind: 20, afterwards },
        { behind: 0, afterwards: 'leader' },
      ];
      stale = 0;
      const report = await copy(options);
      assert.deepEqual(report.problems, []);
      assert.deepEqual([report.channels[0]!.last, stale], [100, 2]);
      // The stream has more than such a server says: this is no STAN that has lost messages.
      script = [
        { behind: 30, afterwards },
        { behind: 0, afterwards: 'leader' },
      ];
      assert.deepEqual((await copy(options)).problems, []);
      script = [
        { behind: 30, afterwards },
        { behind: 0, afterwards: 'leader' },
      ];
      assert.equal((await verify(options)).compared, 100);
    });
  }
});
