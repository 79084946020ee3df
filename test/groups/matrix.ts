/** What is measured: kinds of queue groups, and what befalls them. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Proxy, StanCluster, StanNode } from '../../src/testing/index.js';

export interface Kind {
  id: string;
  name: string;
  durable: boolean;
  /** How many members each client has. */
  clients: readonly number[];
}

export const KINDS: readonly Kind[] = [
  { id: 'one', name: 'one member', durable: false, clients: [1] },
  { id: 'two-in-one', name: 'two in one client', durable: false, clients: [2] },
  { id: 'two', name: 'two in two clients', durable: false, clients: [1, 1] },
  { id: 'durable-one', name: 'durable, one member', durable: true, clients: [1] },
  { id: 'durable-two', name: 'durable, two in two clients', durable: true, clients: [1, 1] },
];

/** What a fault may break. */
export interface Scene {
  readonly cluster: StanCluster;
  /** Leads when the fault begins. */
  readonly leader: StanNode;
  /** All members are attached to it then. */
  readonly attached: StanNode;
  /** The ways of the first client of each kind, and those of the second one: one for each node. */
  readonly paths: readonly [ReadonlyMap<StanNode, Proxy>, ReadonlyMap<StanNode, Proxy>];
}

export interface Fault {
  id: string;
  name: string;
  /** Whom the members are attached to. */
  attached: 'leader' | 'follower';
  /** It makes sense only for groups with members in several clients. */
  needsTwo?: boolean;
  /** Resolves when it is mended, and the cluster is whole. */
  strike(scene: Scene): Promise<void>;
}

/** How long a node is down, in ms. */
const DOWN = 4000;
/** How long a cluster may take to be whole again, in ms. */
const RECOVERY = 60_000;

async function kill(cluster: StanCluster, ...nodes: readonly StanNode[]): Promise<void> {
  await Promise.all(nodes.map((node) => node.kill()));
  await sleep(DOWN);
  await Promise.all(nodes.map((node) => node.start({ timeout: RECOVERY })));
  await cluster.settled({ timeout: RECOVERY });
}

async function freeze(cluster: StanCluster, node: StanNode): Promise<void> {
  await node.pause();
  await sleep(3000);
  await node.resume();
  await cluster.settled({ timeout: RECOVERY });
}

function reset(paths: Scene['paths'][number]): void {
  for (const path of paths.values()) path.resetConnections();
}

/** Swallows everything on these ways for a while. */
async function swallow(ways: readonly (Proxy | undefined)[], time: number): Promise<void> {
  const toxics = ways.map((way) => way?.add({ type: 'timeout' }));
  await sleep(time);
  for (const toxic of toxics) toxic?.remove();
}

export const FAULTS: readonly Fault[] = [
  {
    id: 'leader-killed',
    name: 'leader killed',
    attached: 'follower',
    strike: ({ cluster, leader }) => kill(cluster, leader),
  },
  {
    id: 'attached-leader-killed',
    name: 'attached leader killed',
    attached: 'leader',
    strike: ({ cluster, leader }) => kill(cluster, leader),
  },
  {
    id: 'follower-killed',
    name: 'attached follower killed',
    attached: 'follower',
    strike: ({ cluster, attached }) => kill(cluster, attached),
  },
  {
    id: 'follower-frozen',
    name: 'attached follower frozen for 3 s',
    attached: 'follower',
    strike: ({ cluster, attached }) => freeze(cluster, attached),
  },
  {
    id: 'leader-frozen',
    name: 'attached leader frozen for 3 s',
    attached: 'leader',
    strike: ({ cluster, leader }) => freeze(cluster, leader),
  },
  {
    id: 'reset',
    name: 'connections reset',
    attached: 'follower',
    strike: async ({ paths }) => paths.forEach(reset),
  },
  {
    id: 'reset-one',
    name: 'connection of one of two clients reset',
    attached: 'follower',
    needsTwo: true,
    strike: async ({ paths: [first] }) => reset(first),
  },
  {
    id: 'reset-twice',
    name: 'connections reset twice, 5 s apart',
    attached: 'follower',
    strike: async ({ paths }) => {
      paths.forEach(reset);
      await sleep(5000);
      paths.forEach(reset);
    },
  },
  {
    id: 'black-hole',
    name: 'black hole of 3 s before the attached node',
    attached: 'follower',
    strike: ({ paths, attached }) =>
      swallow(
        paths.map((path) => path.get(attached)),
        3000,
      ),
  },
  {
    id: 'cut-off',
    name: 'clients cut off for 5 s',
    attached: 'follower',
    strike: ({ paths }) =>
      swallow(
        paths.flatMap((path) => [...path.values()]),
        5000,
      ),
  },
  {
    id: 'cut-off-in-turn',
    name: 'two clients cut off, one 2 s after the other, back together',
    attached: 'follower',
    needsTwo: true,
    strike: async ({ paths: [first, second] }) => {
      const late = sleep(2000).then(() => swallow([...first.values()], 3000));
      await Promise.all([swallow([...second.values()], 5000), late]);
    },
  },
  {
    id: 'outage',
    name: 'all nodes killed, down for 4 s',
    attached: 'follower',
    strike: ({ cluster }) => kill(cluster, ...cluster.nodes),
  },
  {
    id: 'cut-off-and-outage',
    name: 'one of two clients cut off, 2 s later all nodes killed',
    attached: 'follower',
    needsTwo: true,
    strike: async ({ cluster, paths: [, second] }) => {
      const cutOff = swallow([...second.values()], 2000 + DOWN);
      await sleep(2000);
      await Promise.all([cutOff, kill(cluster, ...cluster.nodes)]);
    },
  },
  {
    id: 'leader-killed-twice',
    name: 'attached leader killed, and then its successor',
    attached: 'leader',
    strike: async ({ cluster, leader }) => {
      await kill(cluster, leader);
      await kill(cluster, await cluster.leader());
    },
  },
];
