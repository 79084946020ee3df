/** A complete move of a live system, in place and with faults: short here; `resilient-stan migrate rehearse` does it for longer. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import {
  rehearseMigration,
  resolveServer,
  type RehearsalOptions,
  type RehearsalReport,
} from '../../src/testing/index.js';

describe('testing: the rehearsal of a migration', function () {
  this.timeout(240_000);

  before(async function () {
    this.timeout(15 * 60_000); // the first time, the server is built
    await resolveServer({ program: 'nats-server' });
  });

  it('moves a live system in place, with faults, and loses nothing', async () => {
    const lines: string[] = [];
    const report = await rehearseMigration({ time: 3000, seed: 7, onEvent: (line) => lines.push(line) });
    const { verdict, ...rest } = report;
    const all = JSON.stringify({ rest, lines }, null, 2);
    assert.deepEqual(report.problems, [], all);
    assert.equal(report.ok, true);
    assert.deepEqual(report.versions, { stan: '0.25.6', jetstream: '2.15.2' });
    assert.equal(report.fence, 'mappings');
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
    assert.ok(report.faults.length >= 1);
    // They are told, and not judged: how long is a matter of the machine.
    assert.ok(report.pauses.publishers > 0);
    assert.deepEqual(Object.keys(report.pauses.consumers), ['screen', 'books', 'workers']);
    // It is the way of docs/leaving.md, with its commands.
    const commands = lines.flatMap((line) => /\$ (.*?)( #|$)/.exec(line)?.[1] ?? []);
    assert.deepEqual(
      commands,
      [
        'resilient-stan migrate plan --in-place',
        'resilient-stan migrate plan',
        'resilient-stan migrate copy --follow',
        'resilient-stan migrate verify',
        'resilient-stan migrate durables --durables books/books',
        'resilient-stan migrate durables --durables workers/work',
        'resilient-stan migrate cut --quiet 1s',
        ...Array.from({ length: 3 }, () => 'nats-streaming-server --signal reload'),
        'resilient-stan migrate verify',
        'resilient-stan migrate finish',
      ],
      all,
    );
    assert.match(all, /the fence keeps it out: \\"no responders\\"/);
  });

  /** A short rehearsal with one server on each side, and somebody who does something to the target when a line comes. */
  async function meddle(
    when: string,
    what: (nats: NatsConnection) => Promise<unknown>,
  ): Promise<{ report: RehearsalReport | undefined; error: unknown }> {
    let target = '';
    let done: Promise<unknown> | undefined;
    const act = async (): Promise<void> => {
      const nats = await connect({ servers: target });
      try {
        await what(nats);
      } finally {
        await nats.close();
      }
    };
    const options: RehearsalOptions = { inPlace: false, nodes: 1, time: 500, faults: false };
    const outcome = await rehearseMigration({
      ...options,
      onEvent: (line) => {
        target ||= /--to nats:\/\/(\S+)/.exec(line)?.[1] ?? '';
        if (line.includes(when)) done ??= act();
      },
    }).then(
      (report) => ({ report, error: undefined }),
      (error: unknown) => ({ report: undefined, error }),
    );
    assert.ok(done !== undefined, `nobody said '${when}'`);
    await done;
    return outcome;
  }

  it('sees what is lost from a stream, and what is in it twice', async () => {
    const { report } = await meddle('the publishers are started', async (nats) => {
      const manager = await jetstreamManager(nats);
      const third = await manager.streams.getMessage('orders', { seq: 3 });
      await jetstream(nats).publish('orders', third!.data);
      await manager.streams.deleteMessage('orders', 4);
    });
    assert.equal(report?.ok, false);
    assert.deepEqual(report.problems.map(({ code }) => code).sort(), ['different', 'doubled']);
    const text = report.problems.map(({ message }) => message).join('\n');
    assert.match(text, /channel 'orders' and stream 'orders' differ in 1 of the messages: 4 \(missing\)/);
    assert.match(text, /stream 'orders' has message 3 once more, as message \d+, and STAN has it once/);
  });

  it('ends when the copy ends, and says why', async () => {
    const { error } = await meddle('the fence keeps it out', (nats) =>
      jetstream(nats).publish('$STANIMPORT.orders', 'nobody should do that'),
    );
    assert.match(String(error), /the copy ended before it was told to: .*message \d+ of stream 'orders'/s);
  });

  it('ends when it is aborted, wherever it is, and leaves no server and no directory', async () => {
    const servers = (): string[] =>
      execFileSync('ps', ['-eo', 'ppid,args'], { encoding: 'utf8' })
        .split('\n')
        .filter((line) => Number.parseInt(line, 10) === process.pid && line.includes('nats-'));
    const directories = async (): Promise<Set<string>> =>
      new Set((await readdir(tmpdir())).filter((name) => name.startsWith('resilient-stan-')));
    for (const when of ['booting a cluster', 'server b: the lines are in its file', 'kill of']) {
      const stop = new AbortController();
      const lines: string[] = [];
      let own: string | undefined;
      const onEvent = (line: string): void => {
        lines.push(line);
        own ??= /store_dir: ".*(resilient-stan-\w+)/.exec(line)?.[1];
        if (line.includes(when)) stop.abort();
      };
      await assert.rejects(
        rehearseMigration({ seed: 7, onEvent, signal: stop.signal }),
        { code: 'ERR_STAN_ABORTED' },
        lines.join('\n'),
      );
      assert.deepEqual(servers(), [], `after '${when}'`);
      const after = await directories();
      // Other tests run at the same time, and have directories of their own.
      if (own !== undefined) assert.equal(after.has(own), false, `after '${when}'`);
    }
  });

  it('refuses what it cannot do', async () => {
    const rehearse = (options: object) => rehearseMigration(options);
    await assert.rejects(rehearse({ nodes: 2 }), /nodes must be 1, or 3 and more/);
    await assert.rejects(rehearse({ version: '2.9.24' }), /version must be 2\.10 or later, not 2\.9\.24/);
    await assert.rejects(rehearse({ duration: 3 }), /there is no option 'duration': it is called 'time'/);
  });
});
