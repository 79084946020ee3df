/** `resilient-stan cluster`: boots a cluster to try things with. */
import { once } from 'node:events';
import { StanCluster, type ClusterOptions } from '../testing/index.js';
import { keepAlive } from '../testing/wait.js';
import { defineCommand, type Options, type Values } from './command.js';
import { UsageError } from './usage.js';

const OPTIONS = {
  nodes: { type: 'string', value: '<n>', help: 'how many servers (default 3)' },
  mode: { type: 'string', value: '<mode>', help: 'clustered, fault-tolerant or single (default clustered)' },
  'cluster-id': { type: 'string', value: '<id>', help: 'the cluster ID (default test-cluster)' },
  dir: {
    type: 'string',
    value: '<path>',
    help: 'keep stores and configuration there (default: a temporary directory, removed at the end)',
  },
} as const satisfies Options;

export const clusterCommand = defineCommand({
  name: 'cluster',
  summary: 'boot a NATS Streaming cluster, print its URLs, keep it until Ctrl-C',
  options: OPTIONS,
  run: runCluster,
});

async function runCluster(values: Values<typeof OPTIONS>): Promise<number> {
  const options: ClusterOptions = {};
  if (values.nodes !== undefined) {
    if (!/^\d+$/.test(values.nodes)) throw new UsageError(`--nodes must be a whole number, not '${values.nodes}'`);
    options.nodes = Number(values.nodes);
  }
  // The harness checks the other options.
  if (values.mode !== undefined) options.mode = values.mode as NonNullable<ClusterOptions['mode']>;
  if (values['cluster-id'] !== undefined) options.clusterId = values['cluster-id'];
  if (values.dir !== undefined) options.dir = values.dir;

  const stop = new AbortController();
  const interrupted = Promise.race(
    (['SIGINT', 'SIGTERM'] as const).map((signal) => once(process, signal, { signal: stop.signal })),
  );
  await using cluster = await StanCluster.start(options);
  console.log(cluster.urls.join(','));
  for (const node of cluster.nodes) console.error(`${node.name}: ${node.url}, kill -9 ${node.pid}`);
  console.error('Ctrl-C stops it.');
  // The harness itself does not keep the process alive.
  await keepAlive(interrupted);
  stop.abort();
  return 0;
}
