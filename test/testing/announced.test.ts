/** What a proxied cluster tells clients of its servers: the proxies, in every mode, and never a way around them. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { StanCluster, waitFor, type ClusterMode, type StanNode } from '../../src/testing/index.js';

interface Info {
  host: string;
  port: number;
  ip?: string;
  connect_urls?: string[];
}

/** The first line that a client hears. */
function infoOf(node: StanNode): Promise<Info> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(node.url);
    const socket = connect(Number(port), hostname);
    let text = '';
    socket.setEncoding('utf8');
    socket.on('data', (data: string) => {
      text += data;
      const end = text.indexOf('\r\n');
      if (end === -1) return;
      socket.destroy();
      resolve(JSON.parse(text.slice('INFO '.length, end)) as Info);
    });
    socket.once('error', reject);
    socket.once('end', () => reject(new Error(`${node.name} has ended the connection after '${text}'`)));
  });
}

const address = (node: StanNode): string => new URL(node.url).host;

/** Each of them announces itself and each other one, by their proxies, and nothing else. */
async function announced(nodes: readonly StanNode[]): Promise<void> {
  const expected = nodes.map(address).sort();
  let last: unknown;
  await waitFor(
    async () => {
      const all = await Promise.all(nodes.map(infoOf));
      last = all.map(({ connect_urls }) => connect_urls);
      return all.every(({ connect_urls }) => connect_urls?.toSorted().join() === expected.join()) || undefined;
    },
    { timeout: 20_000, what: () => `announced: ${JSON.stringify(last)}, not ${expected.join()}` },
  );
}

/** No node has its own port in anything it says. */
async function nothingBehind(cluster: StanCluster, nodes: readonly StanNode[]): Promise<void> {
  for (const node of nodes) {
    const info = await infoOf(node);
    assert.equal(`${info.host}:${info.port}`, address(node));
    for (const { ports } of cluster.nodes) {
      for (const port of [ports.client, ports.route, ports.monitor]) {
        assert.doesNotMatch(JSON.stringify(info), new RegExp(`\\b${port}\\b`), `${node.name} tells of what is behind`);
      }
    }
  }
}

describe('testing: what a proxied cluster announces', function () {
  this.timeout(90_000);

  for (const mode of ['clustered', 'fault-tolerant'] satisfies ClusterMode[]) {
    it(`${mode}: all proxies, also when a node has gone and come again`, async () => {
      await using cluster = await StanCluster.start({ mode, proxied: true });
      const [first, ...others] = cluster.nodes as [StanNode, ...StanNode[]];
      await announced(cluster.nodes);
      await nothingBehind(cluster, cluster.nodes);
      await first.kill();
      if (others.length > 1) await announced(others);
      await nothingBehind(cluster, others);
      await first.start();
      await announced(cluster.nodes);
      await nothingBehind(cluster, cluster.nodes);
    });
  }

  it('single: itself, by its proxy', async () => {
    await using cluster = await StanCluster.start({ mode: 'single', store: 'memory', proxied: true });
    await nothingBehind(cluster, cluster.nodes);
    assert.deepEqual((await infoOf(cluster.nodes[0]!)).connect_urls ?? [], []);
  });

  it('TLS: the same', async () => {
    await using cluster = await StanCluster.start({ nodes: 3, proxied: true, tls: true });
    await announced(cluster.nodes);
    await nothingBehind(cluster, cluster.nodes);
  });
});
