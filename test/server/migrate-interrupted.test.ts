/**
 * Ctrl-C in a migration, at every place where it waits for a server. A way to the servers falls silent just there, so that without the
 * signal the step would wait for as long as it has patience, which is five seconds at least.
 */
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { AbortedError, type ResilientStan } from '../../src/index.js';
import {
  copy,
  cut,
  durables,
  plan,
  planInPlace,
  streamName,
  verify,
  type MigrateOptions,
  type Report,
} from '../../src/migrate/index.js';
import { JetStreamCluster, StanCluster } from '../../src/testing/index.js';
import { Clients, uniqueName, until } from '../support/clients.js';
import { startCommand, type Running } from '../support/command.js';
import { JetStreamSide } from '../support/jetstream-side.js';
import { Relay } from '../support/relay.js';

/** Below every patience that a step has with servers, in ms. */
const SOON = 4500;

/** The monitoring of a server, which counts how often it is asked. */
async function countingMonitor(real: string): Promise<{ url: string; readonly count: number; close(): void }> {
  let count = 0;
  const front = createServer((request, response) => {
    count++;
    fetch(`${real}${request.url}`).then(
      async (answer) => response.end(await answer.text()),
      () => response.destroy(),
    );
  });
  await new Promise<void>((resolve) => front.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(front.address() as AddressInfo).port}`,
    get count() {
      return count;
    },
    close: () => void front.close(),
  };
}

const STEPS = { plan, planInPlace, copy, verify, durables, cut } as const;
type Step = keyof typeof STEPS;

describe('a migration that is interrupted', function () {
  this.timeout(60_000);
  const clients = new Clients();
  let cluster: StanCluster;
  let target: JetStreamCluster;
  let stan: ResilientStan;
  let toStan: Relay;
  let toTarget: Relay;
  let channel: string;
  let controller: AbortController;

  before(async () => {
    [cluster, target] = await Promise.all([
      StanCluster.start({ mode: 'single', store: 'memory' }),
      JetStreamCluster.start({ nodes: 1, config: { max_payload: 2000 } }),
    ]);
    stan = await clients.connect(cluster.urls);
    [toStan, toTarget] = await Promise.all([Relay.open(cluster.urls[0]!), Relay.open(target.urls[0]!)]);
  });
  after(async () => {
    toStan?.close();
    toTarget?.close();
    await clients.closeAll();
    await Promise.all([cluster?.stop(), target?.stop()]);
  });
  beforeEach(() => {
    channel = uniqueName('interrupted');
    controller = new AbortController();
  });
  afterEach(() => {
    toStan.pass();
    toTarget.pass();
  });

  const sides = (): MigrateOptions => ({
    from: toStan.place,
    monitor: cluster.nodes[0]!.monitor.url,
    to: toTarget.place,
    channels: [channel],
    signal: controller.signal,
  });

  /** A channel with a durable that has something pending, as the steps before `step` leave it. */
  async function prepare(step: Step): Promise<void> {
    for (let i = 0; i < 50; i++) await stan.publish(channel, `${i}`.padEnd(100));
    const worker = await clients.connect(cluster.urls, { clientId: uniqueName('worker') });
    let seen = 0;
    const options = { durableName: 'reader', startAt: 'first', manualAck: true } as const;
    const subscription = await worker.subscribe(
      channel,
      (message) => {
        seen++;
        if (message.sequence % 2 === 0) message.ack();
      },
      options,
    );
    await until(() => seen === 50, 'the worker does not work');
    await subscription.close();
    await worker.close();
    if (step === 'verify' || step === 'durables') assert.deepEqual((await copy(sides())).problems, []);
  }

  /** What a step ends with, soon after the abort: an AbortedError, or a report that says that it is not done. */
  async function endOf(running: Promise<Report>): Promise<'aborted' | string[]> {
    const settled = running.then(
      ({ ok, problems }) => {
        assert.equal(ok, false);
        return problems.map(({ code }) => code);
      },
      (error: unknown) => {
        assert.ok(error instanceof AbortedError, `not an AbortedError but: ${String(error)}`);
        return 'aborted' as const;
      },
    );
    let ended: 'aborted' | string[] | undefined;
    const noted = settled.then((end) => (ended = end));
    await Promise.race([noted, until(() => ended !== undefined, 'it does not end', SOON)]);
    // The official client gives up a connection that it makes after 5 s, and not before.
    await until(() => toStan.clients + toTarget.clients === 0, 'it is still connected', 8000);
    return await settled;
  }

  /** Where which step is interrupted, and whether it has something to report by then. */
  const places: [side: 'STAN' | 'JetStream', what: string, pattern: RegExp, steps: Step[], report?: string[]][] = [
    ['STAN', 'is connected to', /CONNECT/, ['plan', 'copy', 'verify', 'durables', 'cut']],
    ['STAN', 'is asked who leads', /_STAN\.discover/, ['plan', 'copy', 'verify', 'durables', 'cut']],
    ['STAN', 'is read', /PUB _STAN\.sub/, ['plan', 'verify', 'durables']],
    ['STAN', 'is read', /PUB _STAN\.sub/, ['copy'], ['interrupted']],
    ['JetStream', 'is connected to', /CONNECT/, ['plan', 'copy', 'verify', 'durables', 'cut']],
    ['JetStream', 'is asked whether it is there', /\$JS\.API\.INFO/, ['plan', 'copy', 'verify', 'durables', 'cut']],
    ['JetStream', 'is asked for the stream', /STREAM\.INFO/, ['plan', 'verify', 'durables']],
    ['JetStream', 'is asked for the stream', /STREAM\.INFO/, ['copy'], ['interrupted']],
    ['JetStream', 'is asked for subjects', /STREAM\.NAMES/, ['plan']],
    ['JetStream', 'makes the stream', /STREAM\.CREATE/, ['copy'], ['interrupted']],
    ['JetStream', 'stores', /PUB \$STANIMPORT/, ['copy'], ['interrupted']],
    ['JetStream', 'is asked for the last message', /MSG\.GET/, ['verify', 'durables']],
    ['JetStream', 'makes a consumer', /CONSUMER\.(DURABLE\.)?CREATE/, ['verify', 'durables']],
    ['JetStream', 'delivers', /CONSUMER\.MSG\.NEXT/, ['verify', 'durables']],
    ['JetStream', 'works off acknowledgements', /\+ACK/, ['durables']],
  ];
  for (const [side, what, pattern, steps, report = 'aborted'] of places) {
    for (const step of steps) {
      it(`${step}, while ${side} ${what}`, async () => {
        await prepare(step);
        const relay = side === 'STAN' ? toStan : toTarget;
        const silent = relay.silentAt(pattern);
        const running: Promise<Report> = STEPS[step](sides());
        running.catch(() => undefined);
        await Promise.race([silent, running.then(() => assert.fail('it has never come there'))]);
        controller.abort();
        assert.deepEqual(await endOf(running), report);
        // The same again, undisturbed.
        relay.pass();
        controller = new AbortController();
        const { problems } = await STEPS[step]({ ...sides(), ...(step === 'cut' && { quiet: 1 }) });
        assert.deepEqual(problems, []);
      });
    }
  }

  it('a copy that follows, while what it has sent is not answered', async () => {
    await prepare('copy');
    let copied = 0;
    const running = copy({ ...sides(), follow: true, onProgress: (progress) => (copied = progress.copied) });
    running.catch(() => undefined);
    await until(() => copied === 50, 'it does not follow');
    const silent = toTarget.silentAt(/PUB \$STANIMPORT/);
    await stan.publish(channel, 'one more');
    await silent;
    controller.abort();
    let lag: number | undefined;
    void running.then(({ channels }) => (lag = channels[0]!.lag));
    await until(() => lag !== undefined, 'it does not end', SOON);
    assert.equal(lag, 1);
    assert.deepEqual(
      (await running).problems.map(({ code }) => code),
      ['interrupted'],
    );
  });

  it('cut, while it waits for stragglers and JetStream is silent', async () => {
    await prepare('cut');
    let phase = '';
    const running = cut({ ...sides(), follow: true, onProgress: (progress) => ({ phase } = progress) });
    running.catch(() => undefined);
    await until(() => phase === 'stragglers', 'it does not come to the stragglers');
    const silent = toTarget.silentAt(/PUB /);
    await stan.publish(channel, 'late');
    await silent;
    controller.abort();
    const end = await endOf(running);
    assert.ok(end === 'aborted' || end.includes('not-appended'), String(end));
  });

  describe('where a cluster has no leader:', () => {
    let pair: StanCluster;
    let peers: JetStreamCluster;
    before(async () => {
      [pair, peers] = await Promise.all([StanCluster.start({ nodes: 2 }), JetStreamCluster.start({ nodes: 2 })]);
      await Promise.all([pair.nodes[1]!.kill(), peers.nodes[1]!.kill()]);
      await until(
        async () => (await pair.nodes[0]!.monitor.serverz())?.role !== 'Leader',
        'the one that is left leads',
      );
    });
    after(() => Promise.all([pair?.stop(), peers?.stop()]));

    for (const step of ['plan', 'copy', 'verify', 'durables', 'cut'] as const) {
      it(`${step}, while it looks for the one of STAN`, async () => {
        const { url: monitor } = pair.nodes[0]!.monitor;
        // It is asked again and again.
        const asked = await countingMonitor(monitor);
        const running: Promise<Report> = STEPS[step]({ ...sides(), from: pair.nodes[0]!.url, monitor: asked.url });
        running.catch(() => undefined);
        await until(() => asked.count > 5, 'it does not look');
        controller.abort();
        assert.equal(await endOf(running), 'aborted');
        asked.close();
      });

      it(`${step}, while it waits for the one of JetStream`, async () => {
        const relay = await Relay.open(peers.nodes[0]!.url);
        try {
          await prepare('copy');
          const running: Promise<Report> = STEPS[step]({ ...sides(), to: relay.place });
          running.catch(() => undefined);
          await relay.heard(/\$JS\.API\.INFO/);
          controller.abort();
          assert.equal(await endOf(running), 'aborted');
          await until(() => relay.clients === 0, 'it is still connected', SOON);
        } finally {
          relay.close();
        }
      });
    }
  });

  describe('by SIGSTOP, in the middle of durables, and goes on by SIGCONT:', () => {
    let side: JetStreamSide;
    before(async () => {
      side = await JetStreamSide.open(target.urls);
    });
    after(() => side?.close());

    /** Starts the command, and freezes it when it asks for what fits. */
    async function frozen(relay: Relay, what: RegExp): Promise<Running> {
      const heard = relay.heard(what);
      const { monitor } = sides();
      const args = ['--from', toStan.place, '--to', toTarget.place, '--monitor', monitor as string];
      const running = startCommand(['migrate', 'durables', ...args, '--channels', channel]);
      await Promise.race([heard, running.closed.then(({ stderr }) => assert.fail(stderr))]);
      running.child.kill('SIGSTOP');
      return running;
    }
    /** What the consumer delivers: the 25 messages that the worker has left, and no other. */
    async function deliversWhatIsPending(): Promise<void> {
      const [consumer] = await side.manager.consumers.list(streamName(channel)).next();
      const stored = await stan.lastSequence(channel);
      const odd = Array.from({ length: stored }, (_, i) => i + 1).filter((sequence) => sequence % 2 === 1);
      assert.deepEqual(
        (await side.drain(channel, consumer!.name)).map(({ sequence }) => sequence),
        odd,
      );
    }

    it('while it is attached to the durable: another run is refused meanwhile, and this one ends well', async () => {
      await prepare('durables');
      const running = await frozen(toStan, /_STAN\.sub[^]*reader/);
      const { problems } = await durables(sides());
      assert.deepEqual(
        problems.map(({ code }) => code),
        ['durable-online'],
      );
      running.child.kill('SIGCONT');
      const { code, stderr } = await running.closed;
      assert.equal(code, 0, stderr);
      await deliversWhatIsPending();
    });

    it('while it makes the consumer: another run makes it meanwhile, and it stays as that one has made it', async () => {
      await prepare('durables');
      const running = await frozen(toTarget, /CONSUMER\.MSG\.NEXT/);
      assert.deepEqual((await durables(sides())).problems, []);
      running.child.kill('SIGCONT');
      const { code, stderr } = await running.closed;
      if (code !== 0) assert.match(stderr, /run (it|this) again/i);
      assert.deepEqual(
        (await durables(sides())).durables.map(({ outcome, pending }) => [outcome, pending]),
        [['unchanged', 25]],
      );
      await deliversWhatIsPending();
    });
  });

  it('by Ctrl-C: the commands end with 130, and say nothing of it', async () => {
    await prepare('verify');
    const args = ['--from', toStan.place, '--to', toTarget.place, '--monitor', sides().monitor as string];
    for (const [command, relay, pattern] of [
      ['plan', toTarget, /CONNECT/],
      ['plan', toStan, /CONNECT/],
      ['copy', toTarget, /STREAM\.INFO/],
      ['verify', toStan, /PUB _STAN\.sub/],
      ['verify', toTarget, /CONSUMER\.MSG\.NEXT/],
      ['durables', toTarget, /CONSUMER\.MSG\.NEXT/],
      ['cut', toTarget, /STREAM\.INFO/],
    ] as const) {
      const silent = relay.silentAt(pattern);
      const running = startCommand(['migrate', command, ...args, '--channels', channel]);
      try {
        await Promise.race([silent, running.closed.then(({ stderr }) => assert.fail(stderr))]);
        running.child.kill('SIGINT');
        let code: number | null | undefined;
        void running.closed.then((ended) => (code = ended.code));
        await until(() => code !== undefined, `${command} does not end`, SOON);
        assert.equal(code, 130, `${command}: ${running.said.stderr}`);
      } finally {
        running.child.kill('SIGKILL');
        relay.pass();
      }
    }
  });
});
