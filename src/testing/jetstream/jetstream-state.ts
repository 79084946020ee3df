/**
 * What several servers say of their JetStream, put together: who leads, whether all are in, who has stored what. It asks
 * streaming servers with JetStream and plain ones alike, also where both are in one cluster.
 */
import type { Jsz, JszStream } from '../../monitoring/pages.js';
import type { ServerNode } from '../server-node.js';

/** How long a page with all streams may take, in ms. */
const PAGE = { timeout: 2000 };

/** A server, and the name by which JetStream knows it. */
export interface Peer<Node extends ServerNode = ServerNode> {
  node: Node;
  serverName: string;
}

/** The peers whose process runs and is not frozen. */
export function awake<P extends Peer>(peers: readonly P[]): P[] {
  return peers.filter(({ node }) => node.running && !node.paused);
}

/** The server that leads JetStream as a whole. The only one leads itself. */
export async function findMetaLeader<P extends Peer>(peers: readonly P[]): Promise<P | undefined> {
  for (const peer of awake(peers)) {
    const page = await jsz(peer);
    if (page === undefined) continue;
    if (peers.length === 1) return peer;
    // One that was cut off may believe in a leader of former times: a leader has to believe in itself.
    if (page.meta_cluster?.leader === peer.serverName) return peer;
  }
  return undefined;
}

/** The server that leads a stream. The only one has it or not. */
export async function findStreamLeader<P extends Peer>(peers: readonly P[], stream: string): Promise<P | undefined> {
  for (const peer of awake(peers)) {
    const found = (await streamsOf(peer))?.get(stream);
    if (found === undefined) continue;
    if (found.cluster?.leader === undefined ? peers.length === 1 : found.cluster.leader === peer.serverName)
      return peer;
  }
  return undefined;
}

/** Whether JetStream serves, and each server that is awake is a part of it and has caught up with its streams. */
export async function isJetStreamSettled(peers: readonly Peer[]): Promise<boolean> {
  const members = awake(peers);
  const pages = await Promise.all(
    members.map(async (member) => ((await member.node.monitor.healthz(PAGE)) ? jsz(member) : undefined)),
  );
  if (members.length === 0 || pages.includes(undefined)) return false;
  if (peers.length === 1) return true;
  const leaders = new Set(pages.map((page) => page?.meta_cluster?.leader));
  const [leader] = leaders;
  const index = members.findIndex(({ serverName }) => serverName === leader);
  if (leaders.size !== 1 || index < 0) return false;
  const followers = new Map(pages[index]?.meta_cluster?.replicas?.map((replica) => [replica.name, replica]));
  return members.every(({ serverName }, i) => {
    if (i === index) return true;
    const follower = followers.get(serverName);
    return follower?.current === true && follower.offline !== true;
  });
}

/** For each stream what its leader has stored last, and which servers have to store it. */
export async function whatLeadersHave(peers: readonly Peer[]): Promise<Map<string, { last: number; on: string[] }>> {
  const wanted = new Map<string, { last: number; on: string[] }>();
  for (const peer of awake(peers)) {
    for (const [name, { cluster, state }] of (await streamsOf(peer)) ?? []) {
      if (cluster?.leader !== undefined && cluster.leader !== peer.serverName) continue;
      const followers = cluster?.replicas?.map((replica) => replica.name) ?? [];
      wanted.set(name, { last: state.last_seq, on: [peer.serverName, ...followers] });
    }
  }
  return wanted;
}

/** Whether a server has stored what the leaders had. */
export async function hasStored(
  peer: Peer,
  wanted: ReadonlyMap<string, { last: number; on: readonly string[] }>,
): Promise<boolean> {
  const own = await streamsOf(peer);
  if (own === undefined) return false;
  return [...wanted].every(
    ([name, { last, on }]) => !on.includes(peer.serverName) || (own.get(name)?.state.last_seq ?? -1) >= last,
  );
}

async function jsz(peer: Peer): Promise<Jsz | undefined> {
  const page = await peer.node.monitor.jsz({}, PAGE);
  return page === undefined || page.disabled === true ? undefined : page;
}

/** The streams that a server itself has, by name. Undefined when it does not answer. */
async function streamsOf(peer: Peer): Promise<Map<string, JszStream> | undefined> {
  const page = await peer.node.monitor.jsz({ streams: true }, PAGE);
  const streams = page?.account_details?.flatMap((account) => account.stream_detail ?? []);
  return page && new Map(streams?.map((stream) => [stream.name, stream]));
}
