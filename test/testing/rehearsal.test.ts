/** A complete move of a live system, in place and with faults: short here; `resilient-stan migrate rehearse` does it for longer. */
import assert from 'node:assert/strict';
import { rehearseMigration, resolveServer } from '../../src/testing/index.js';

describe('testing: the rehearsal of a migration', function () {
  this.timeout(240_000);

  before(async function () {
    this.timeout(15 * 60_000); // the first time, the server is built
    await resolveServer({ program: 'nats-server' });
  });

  it('moves a live system in place, with faults, and loses nothing', async () => {
    const lines: string[] = [];
    const report = await rehearseMigration({ time: 1500, seed: 7, onEvent: (line) => lines.push(line) });
    const { verdict, ...rest } = report;
    assert.deepEqual(report.problems, [], JSON.stringify({ rest, lines }, null, 2));
    assert.equal(report.ok, true);
    assert.deepEqual(report.versions, { stan: '0.25.6', jetstream: '2.15.2' });
    assert.equal(report.stragglers, 0);
    // All of STAN was compared, and there is more behind it that was published natively.
    assert.equal(report.compared, report.cutAt);
    const [screen, books, workers] = verdict.subscriptions;
    assert.deepEqual(
      verdict.subscriptions.map(({ name, kind }) => [name, kind]),
      [
        ['screen', 'plain'],
        ['books', 'durable'],
        ['workers', 'durable-queue'],
      ],
    );
    assert.ok(screen!.received > report.cutAt, 'it read JetStream, too');
    assert.equal(books!.received, screen!.received);
    assert.equal(workers!.received, screen!.received);
    assert.equal(screen!.repeated, 0, 'the plain reader is at the same place on both sides');
    assert.ok(report.faults.length >= 2, report.faults.join());
    // They are told, and not judged: how long is a matter of the machine.
    assert.ok(report.pauses.publishers > 0);
    assert.deepEqual(Object.keys(report.pauses.consumers), ['screen', 'books', 'workers']);
  });

  it('refuses what it cannot do', async () => {
    const rehearse = (options: object) => rehearseMigration(options);
    await assert.rejects(rehearse({ nodes: 2 }), /nodes must be 1, or 3 and more/);
    await assert.rejects(rehearse({ duration: 3 }), /there is no option 'duration': it is called 'time'/);
  });
});
