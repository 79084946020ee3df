/** What can fail, and how it is made to fail. Each is carried out on real servers. */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  ResilientStan,
  type ConnectOptions,
  type ResilientStanError,
  type StanStats,
  type SubscribeOptions,
} from '../../src/index.js';
import { Proxy, StanCluster, waitFor, type ClusterOptions, type StanNode } from '../../src/testing/index.js';
import { SmallDisk } from './small-disk.js';
import { Transcript, type Line } from './transcript.js';

/** What came of a scenario. */
export interface Outcome {
  lines: Line[];
  /** Counters that have risen. */
  stats: Partial<StanStats>;
}

export interface Scenario {
  id: string;
  /** What fails, in the words of the page. */
  title: string;
  run(lab: Lab): Promise<Outcome>;
}

const CHANNEL = 'orders';
const PATIENCE = 60_000;

/** Servers that scenarios can share, and what is to be closed at the end of each. */
export class Lab {
  #cluster: StanCluster | undefined;
  readonly #closing: (() => Promise<unknown>)[] = [];

  /** Three nodes with proxies before them and between them, started once. */
  async cluster(): Promise<StanCluster> {
    // Slower elections than in other tests, so that a busy machine alone does not bring any about.
    const raft = { heartbeat: 1000, election: 1000, lease: 500 };
    this.#cluster ??= await StanCluster.start({ nodes: 3, proxied: true, raft });
    await this.#cluster.settled({ timeout: PATIENCE });
    return this.#cluster;
  }

  /** Servers of one scenario only. */
  async own(options: ClusterOptions): Promise<StanCluster> {
    const cluster = await StanCluster.start(options);
    this.closing(() => cluster.stop());
    return cluster;
  }

  /** A way of one client to the first server, which can be cut while others go on. */
  async proxy(cluster: StanCluster): Promise<Proxy> {
    const proxy = await Proxy.listen({ target: { port: Number(new URL(cluster.urls[0]!).port) } });
    this.closing(() => proxy.close());
    return proxy;
  }

  closing(close: () => Promise<unknown>): void {
    this.#closing.unshift(close);
  }

  /** Ends what a scenario has opened, and mends what it has broken. */
  async tidy(): Promise<void> {
    for (const close of this.#closing.splice(0)) await close();
    const cluster = this.#cluster;
    if (cluster === undefined) return;
    await cluster.heal();
    for (const node of cluster.nodes) {
      node.proxy.clear();
      if (node.paused) await node.resume();
      if (!node.running) await node.start();
    }
  }

  async stop(): Promise<void> {
    await this.tidy();
    await this.#cluster?.stop();
  }
}

interface Case {
  cluster: StanCluster;
  stan: ResilientStan;
  transcript: Transcript;
}

interface Settings {
  connect?: ConnectOptions;
  subscribe?: SubscribeOptions;
  handler?: (text: string) => void | Promise<void>;
  /** ms between two publishes; 0: none. Default 50. */
  pace?: number;
  /** Bytes of a message. Default: no more than needed. */
  size?: number;
  /** Which node to be attached to. Default: any. */
  attached?: StanNode;
  /** A proxy to go through, and no other way. Default: none. */
  through?: Proxy;
}

/** A client that publishes to a channel and hears it, before anything fails; then `failing` lets it fail. */
async function watched(
  lab: Lab,
  cluster: StanCluster,
  settings: Settings,
  failing: (it: Case) => Promise<void>,
): Promise<Outcome> {
  const { pace = 50, attached, through } = settings;
  const transcript = new Transcript((text) => named(cluster, text, through));
  const channel = CHANNEL;
  const urls = through === undefined ? (attached?.url ?? cluster.urls) : `nats://127.0.0.1:${through.port}`;
  const stan = await ResilientStan.connect(urls, {
    ...cluster.connectOptions,
    discover: through === undefined,
    clientId: 'orders-1',
    logger: transcript.logger,
    ...settings.connect,
  });
  lab.closing(() => stan.close({ timeout: 5000 }));
  transcript.watch(stan);
  const subscription = await stan.subscribe(
    channel,
    async (message) => await settings.handler?.(message.string()),
    settings.subscribe ?? {},
  );
  transcript.watchSubscription(subscription);
  let published = 0;
  const publish = (): void =>
    void stan.publish(channel, `message ${++published}`.padEnd(settings.size ?? 0)).catch(() => {});
  const timer = pace > 0 ? setInterval(publish, pace) : undefined;
  try {
    if (pace > 0) {
      await waitFor(() => (stan.stats().delivered >= 20 ? true : undefined), {
        timeout: PATIENCE,
        what: () => 'traffic',
      });
    }
    const before = stan.stats();
    await failing({ cluster, stan, transcript });
    clearInterval(timer);
    await stan.flush({ timeout: PATIENCE }).catch(() => {});
    const after = stan.stats();
    const stats: Partial<StanStats> = {};
    for (const name of SHOWN) if (after[name] !== before[name]) stats[name] = after[name] - before[name];
    return { lines: transcript.lines.slice(), stats };
  } finally {
    clearInterval(timer);
    transcript.stop();
  }
}

/** Counters that say something of a failure. What flows in any case does not. */
const SHOWN = [
  'rejected',
  'resent',
  'duplicatesDropped',
  'fetched',
  'handlerErrors',
  'gaps',
  'resets',
  'deadLetters',
  'overdue',
  'losses',
  'reconnects',
] as const satisfies readonly (keyof StanStats)[];

/** Names in the place of addresses that are others in each run. */
function named(cluster: StanCluster, text: string, through?: Proxy): string {
  if (through !== undefined) text = text.replaceAll(`127.0.0.1:${through.port}`, 'a:4222');
  return cluster.nodes.reduce((all, { url }, index) => {
    const address = url.replace(/^nats:\/\//, '');
    return all.replaceAll(address, `${'abc'[index]}:4222`);
  }, text);
}

const seen = async ({ transcript }: Case, event: string, times = 1): Promise<void> => {
  await waitFor(
    () =>
      transcript.lines.filter(({ kind, name }) => kind === 'event' && name === event).length >= times
        ? true
        : undefined,
    {
      timeout: PATIENCE,
      interval: 10,
      what: () => `'${event}': ${transcript.lines.map(({ text }) => text).join('; ')}`,
    },
  );
};

/** All that was published is acknowledged, and the client is well. */
const well = async ({ stan }: Case): Promise<void> => {
  await waitFor(() => (stan.health().healthy && stan.stats().inFlight < 20 ? true : undefined), {
    timeout: PATIENCE,
    what: () => 'a healthy client',
  });
  await sleep(1000);
};

async function others(cluster: StanCluster): Promise<{ leader: StanNode; followers: StanNode[] }> {
  const leader = await cluster.leader({ timeout: PATIENCE });
  return { leader, followers: cluster.nodes.filter((node) => node !== leader) };
}

export const SCENARIOS: readonly Scenario[] = [
  {
    id: 'attached-node-dies',
    title: 'The node dies that the client is attached to; the leader lives',
    async run(lab) {
      const cluster = await lab.cluster();
      const node = (await others(cluster)).followers[0]!;
      return await watched(lab, cluster, { attached: node }, async (it) => {
        it.transcript.begin('kill -9 of the node');
        await node.kill();
        await seen(it, 'reconnect');
        await well(it);
      });
    },
  },
  {
    id: 'leader-dies',
    title: 'The leader dies; the client is attached to another node',
    async run(lab) {
      const cluster = await lab.cluster();
      const { leader, followers } = await others(cluster);
      return await watched(lab, cluster, { attached: followers[0]! }, async (it) => {
        it.transcript.begin('kill -9 of the leader');
        await leader.kill();
        await seen(it, 'resubscribe');
        await well(it);
      });
    },
  },
  {
    id: 'attached-leader-dies',
    title: 'The leader dies, and the client is attached to it',
    async run(lab) {
      const cluster = await lab.cluster();
      const { leader } = await others(cluster);
      return await watched(lab, cluster, { attached: leader }, async (it) => {
        it.transcript.begin('kill -9 of the leader');
        await leader.kill();
        await seen(it, 'reconnect');
        await well(it);
      });
    },
  },
  {
    id: 'other-node-dies',
    title: 'A node dies that is neither the leader nor the one that the client is attached to',
    async run(lab) {
      const cluster = await lab.cluster();
      const { leader, followers } = await others(cluster);
      return await watched(lab, cluster, { attached: leader }, async (it) => {
        it.transcript.begin('kill -9 of another node');
        await followers[0]!.kill();
        await sleep(2000);
        await well(it);
      });
    },
  },
  {
    id: 'cluster-down',
    title: 'The whole cluster is down for 5 s',
    async run(lab) {
      const cluster = await lab.cluster();
      return await watched(lab, cluster, {}, async (it) => {
        it.transcript.begin('kill -9 of all nodes');
        await Promise.all(cluster.nodes.map((node) => node.kill()));
        await sleep(5000);
        it.transcript.done('all are started again');
        await Promise.all(cluster.nodes.map((node) => node.start()));
        await seen(it, 'reconnect');
        await well(it);
      });
    },
  },
  {
    id: 'no-quorum',
    title: 'Two of three nodes are down for 8 s, so that there is no leader; the attached node lives',
    async run(lab) {
      const cluster = await lab.cluster();
      const { leader, followers } = await others(cluster);
      const attached = followers[0]!;
      return await watched(lab, cluster, { attached }, async (it) => {
        it.transcript.begin('kill -9 of both others');
        await Promise.all([leader.kill(), followers[1]!.kill()]);
        await sleep(8000);
        it.transcript.done('they are started again');
        await Promise.all([leader.start(), followers[1]!.start()]);
        await seen(it, 'reconnect');
        await well(it);
      });
    },
  },
  {
    id: 'attached-node-freezes',
    title: 'The attached node freezes for 5 s; the leader lives',
    async run(lab) {
      const cluster = await lab.cluster();
      const node = (await others(cluster)).followers[0]!;
      return await watched(lab, cluster, { attached: node }, async (it) => {
        it.transcript.begin('kill -STOP of the node');
        await node.pause();
        await seen(it, 'reconnect');
        await sleep(5000);
        it.transcript.done('kill -CONT');
        await node.resume();
        await well(it);
      });
    },
  },
  {
    id: 'connection-reset',
    title: 'The connection is reset',
    async run(lab) {
      const cluster = await lab.cluster();
      const node = (await others(cluster)).followers[0]!;
      return await watched(lab, cluster, { attached: node }, async (it) => {
        it.transcript.begin('the connection is reset');
        node.proxy.resetConnections();
        await seen(it, 'reconnect');
        await well(it);
      });
    },
  },
  {
    id: 'network-gone',
    title: 'The network swallows everything for 8 s, on every path; connections stay open',
    async run(lab) {
      const cluster = await lab.cluster();
      return await watched(lab, cluster, {}, async (it) => {
        it.transcript.begin('all that is sent is lost, in both directions');
        for (const node of cluster.nodes) {
          node.proxy.add({ type: 'timeout', stream: 'downstream' });
          node.proxy.add({ type: 'timeout', stream: 'upstream' });
        }
        await sleep(8000);
        it.transcript.done('the network is back');
        for (const node of cluster.nodes) node.proxy.clear();
        await seen(it, 'reconnect');
        await well(it);
      });
    },
  },
  {
    id: 'slow-network',
    title: 'The network is slow: 400 ms more in each direction, for 4 s',
    async run(lab) {
      const cluster = await lab.cluster();
      return await watched(lab, cluster, {}, async (it) => {
        it.transcript.begin('latency 400 ms');
        for (const node of cluster.nodes) node.proxy.add({ type: 'latency', latency: 400 });
        await sleep(4000);
        it.transcript.done('the network is fast again');
        for (const node of cluster.nodes) node.proxy.clear();
        await well(it);
      });
    },
  },
  {
    id: 'process-stands-still',
    title: 'The event loop of your process stands still for 4 s',
    async run(lab) {
      const cluster = await lab.cluster();
      return await watched(lab, cluster, {}, async (it) => {
        it.transcript.begin('a loop of 4 s');
        const until = performance.now() + 4000;
        while (performance.now() < until);
        await well(it);
      });
    },
  },
  {
    id: 'disk-full',
    title: 'The disk of a single server is full',
    async run(lab) {
      const disk = await SmallDisk.make();
      lab.closing(() => disk.remove());
      const cluster = await lab.own({ mode: 'single', store: 'file', server: disk.server, config: disk.config });
      const node = cluster.nodes[0]!;
      return await watched(lab, cluster, { pace: 200, size: 8192 }, async (it) => {
        it.transcript.begin('the last byte of the disk is taken; 8 KB are published every 200 ms');
        await disk.fill(node.pid!);
        await waitFor(() => (node.running ? undefined : true), {
          timeout: PATIENCE,
          what: () => 'the end of the server',
        });
        const panic = node.log().find((line) => line.startsWith('panic: ')) ?? 'without a word';
        it.transcript.done(`the server ends itself: ${panic.replace(/\/\S*(?=\/orders)/, 'store')}`);
        const publish = it.stan.publish(CHANNEL, 'x', { timeout: 2000 });
        const { code, delivery } = (await publish.catch((thrown: unknown) => thrown)) as Partial<ResilientStanError>;
        it.transcript.done(`a publish with a timeout of 2 s is rejected: ${code}, '${delivery}'`);
        it.transcript.done('the server is started again, on an empty disk');
        await node.start();
        await seen(it, 'reset');
        await well(it);
      });
    },
  },
  {
    id: 'id-taken',
    title: 'Another live process has the client ID, for 4 s',
    async run(lab) {
      const cluster = await lab.cluster();
      const other = await ResilientStan.connect(cluster.urls, { ...cluster.connectOptions, clientId: 'orders-1' });
      const transcript = new Transcript((text) => named(cluster, text));
      transcript.begin('connect()');
      const stan = ResilientStan.create(cluster.urls, {
        ...cluster.connectOptions,
        clientId: 'orders-1',
        logger: transcript.logger,
      });
      transcript.watch(stan);
      lab.closing(() => stan.close());
      await sleep(4000);
      transcript.done('the other one is closed');
      await other.close();
      await stan.connected();
      await sleep(100);
      transcript.stop();
      return { lines: transcript.lines, stats: {} };
    },
  },
  {
    id: 'id-taken-while-frozen',
    title: 'Another process takes the client ID while this one is cut off',
    async run(lab) {
      const cluster = await lab.own({ mode: 'single' });
      const through = await lab.proxy(cluster);
      return await watched(lab, cluster, { through, subscribe: { durableName: 'printer' } }, async (it) => {
        it.transcript.begin('all that is sent is lost, in both directions');
        through.add({ type: 'timeout', stream: 'downstream' });
        through.add({ type: 'timeout', stream: 'upstream' });
        const other = await ResilientStan.connect(cluster.urls, { ...cluster.connectOptions, clientId: 'orders-1' });
        it.transcript.done('another process has taken the client ID; the way is open again');
        through.clear();
        await seen(it, 'client_id_conflict');
        await sleep(3000);
        await other.close();
        it.transcript.done('the other one is closed');
        await seen(it, 'reconnect');
        await well(it);
      });
    },
  },
  {
    id: 'server-forgets',
    title: 'A single server with a memory store is restarted, so that it has forgotten everything',
    async run(lab) {
      const cluster = await lab.own({ mode: 'single', store: 'memory' });
      return await watched(lab, cluster, {}, async (it) => {
        const node = cluster.nodes[0]!;
        it.transcript.begin('kill -9 of the server');
        await node.kill();
        it.transcript.done('it is started again');
        await node.start();
        await seen(it, 'reconnect');
        await seen(it, 'reset');
        await well(it);
      });
    },
  },
  {
    id: 'messages-dropped',
    title: 'The channel keeps 20 messages, and a subscription is cut off while 100 are published',
    async run(lab) {
      const cluster = await lab.own({
        mode: 'single',
        config: { streaming: { store_limits: { max_msgs: 20 } } },
      });
      const through = await lab.proxy(cluster);
      return await watched(lab, cluster, { through }, async (it) => {
        it.transcript.begin('the way to the server is cut');
        await through.down();
        await using other = await ResilientStan.connect(cluster.urls, cluster.connectOptions);
        for (let n = 0; n < 100; n++) await other.publish(CHANNEL, 'x');
        it.transcript.done('100 messages are published by another client; the way is back');
        await through.up();
        await seen(it, 'gap');
        await well(it);
      });
    },
  },
  {
    id: 'handler-fails',
    title: 'A handler throws twice, and there is no place for dead letters',
    async run(lab) {
      const cluster = await lab.cluster();
      const settings: Settings = {
        pace: 0,
        subscribe: { ackWait: 1000, maxDeliveries: 2 },
        handler: (text) => {
          if (text === 'poison') throw new Error('no such order');
        },
      };
      return await watched(lab, cluster, settings, async (it) => {
        it.transcript.begin(`a message is published on which the handler throws`);
        await it.stan.publish(CHANNEL, 'poison');
        await seen(it, 'dead_letter');
      });
    },
  },
  {
    id: 'handler-slow',
    title: 'A handler takes 3 s, and its message has to be acknowledged within 1 s',
    async run(lab) {
      const cluster = await lab.cluster();
      const settings: Settings = { pace: 0, subscribe: { ackWait: 1000 }, handler: () => sleep(3000) };
      return await watched(lab, cluster, settings, async (it) => {
        it.transcript.begin('a message is published');
        await it.stan.publish(CHANNEL, 'x');
        await sleep(4500);
      });
    },
  },
  {
    id: 'credentials-refused',
    title: 'The password is changed on the server while the client runs, and changed back',
    async run(lab) {
      const cluster = await lab.own({ mode: 'single', proxied: true, auth: { user: 'shop', pass: 'secret' } });
      const node = cluster.nodes[0]!;
      let pass = 'secret';
      const connect: ConnectOptions = {
        user: undefined,
        pass: undefined,
        credentials: () => Promise.resolve({ user: 'shop', pass }),
      };
      return await watched(lab, cluster, { connect }, async (it) => {
        it.transcript.begin('the connection is reset, and the credentials are refused from now on');
        pass = 'wrong';
        node.proxy.resetConnections();
        await seen(it, 'error');
        await sleep(2000);
        it.transcript.done('they are right again');
        pass = 'secret';
        await seen(it, 'reconnect');
        await well(it);
      });
    },
  },
  {
    id: 'nobody-there',
    title: 'There is no server when the client starts, and 5 s later there is one',
    async run(lab) {
      const cluster = await lab.own({ mode: 'single' });
      const node = cluster.nodes[0]!;
      await node.stop();
      const transcript = new Transcript((text) => named(cluster, text));
      transcript.begin('create()');
      const stan = ResilientStan.create(cluster.urls, { clientId: 'orders-1', logger: transcript.logger });
      transcript.watch(stan);
      lab.closing(() => stan.close());
      await sleep(5000);
      transcript.done('the server is started');
      await node.start();
      await stan.connected();
      await sleep(100);
      transcript.stop();
      return { lines: transcript.lines, stats: {} };
    },
  },
];
