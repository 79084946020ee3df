import type { StanCluster, StanNode } from '../../src/testing/index.js';
import { now } from './protocol.js';

/** A fault: where the clients are attached before it, what is done, and how that is undone. */
export interface Fault {
  name: string;
  title: string;
  /** Whether it needs a proxy in front of each node. */
  proxied?: boolean;
  /** Whether the cluster needs another leader. */
  electing?: boolean;
  /** Whether nothing is published before the fault, and one message right after it. */
  idle?: boolean;
  /** The node that the clients are attached to. Undefined when it does not matter. */
  attachTo?: (cluster: StanCluster, leader: StanNode) => StanNode;
  /**
   * Resolves with the moment from which on the cluster could have served: the fault itself while the leader lives, else
   * that of the next leader.
   */
  strike(cluster: StanCluster, leader: StanNode, attached: StanNode): Promise<number>;
  mend(cluster: StanCluster): Promise<void>;
}

/** How long all nodes are down in a full outage, in ms. */
const OUTAGE = 3000;

/** When one of these nodes has said that it serves. */
async function nextLeader(nodes: readonly StanNode[], after: number): Promise<number> {
  // The nodes' clock is the harness's own.
  const offset = now() - performance.now();
  for (;;) {
    for (const node of nodes) {
      const since = node.servingSince + offset;
      if (node.serving && !node.paused && since > after) return since;
    }
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

const others = (cluster: StanCluster, node: StanNode): StanNode[] => cluster.nodes.filter((each) => each !== node);
const aFollower = (cluster: StanCluster, leader: StanNode): StanNode => {
  const followers = others(cluster, leader);
  return followers[Math.floor(Math.random() * followers.length)]!;
};
const anyNode = (cluster: StanCluster): StanNode => cluster.nodes[Math.floor(Math.random() * cluster.nodes.length)]!;

async function startAll(cluster: StanCluster): Promise<void> {
  await Promise.all(cluster.nodes.filter((node) => !node.running).map((node) => node.start()));
}

async function resumeAll(cluster: StanCluster): Promise<void> {
  await Promise.all(cluster.nodes.map((node) => node.resume()));
}

async function strikeLeader(how: 'kill' | 'pause', cluster: StanCluster, leader: StanNode): Promise<number> {
  const at = now();
  await leader[how]();
  return nextLeader(others(cluster, leader), at);
}

function blackHole(idle: boolean): Pick<Fault, 'proxied' | 'idle' | 'attachTo' | 'strike' | 'mend'> {
  return {
    proxied: true,
    idle,
    attachTo: anyNode,
    strike: async (_cluster, _leader, attached) => {
      attached.proxy.add({ type: 'timeout' });
      return now();
    },
    mend: (cluster) => cluster.heal(),
  };
}

export const FAULTS: readonly Fault[] = [
  {
    name: 'leader-kill',
    title: 'leader SIGKILL',
    electing: true,
    strike: (cluster, leader) => strikeLeader('kill', cluster, leader),
    mend: startAll,
  },
  {
    name: 'leader-stop',
    title: 'leader SIGSTOP',
    electing: true,
    strike: (cluster, leader) => strikeLeader('pause', cluster, leader),
    mend: resumeAll,
  },
  {
    name: 'follower-kill',
    title: 'attached follower SIGKILL',
    attachTo: aFollower,
    strike: async (_cluster, _leader, attached) => {
      const at = now();
      await attached.kill();
      return at;
    },
    mend: startAll,
  },
  {
    name: 'follower-stop',
    title: 'attached follower SIGSTOP',
    attachTo: aFollower,
    strike: async (_cluster, _leader, attached) => {
      const at = now();
      await attached.pause();
      return at;
    },
    mend: resumeAll,
  },
  { name: 'black-hole', title: 'black hole of the attached connection', ...blackHole(false) },
  { name: 'black-hole-idle', title: 'the same, idle subscriber', ...blackHole(true) },
  {
    name: 'outage',
    title: 'full outage',
    electing: true,
    strike: async (cluster) => {
      await Promise.all(cluster.nodes.map((node) => node.kill()));
      await new Promise((resolve) => setTimeout(resolve, OUTAGE));
      const at = now();
      const [ready] = await Promise.all([nextLeader(cluster.nodes, at), startAll(cluster)]);
      return ready;
    },
    mend: async () => {},
  },
];
