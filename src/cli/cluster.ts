/** `resilient-stan cluster`: boots a cluster to try things with. */
import { once } from 'node:events';
import { StanCluster, type ClusterOptions } from '../testing/index.js';
import { keepAlive } from '../testing/wait.js';
import { UsageError, type Command } from './usage.js';

export const runCluster: Command = async (parse) => {
  const { values, positionals } = parse({
    nodes: { type: 'string' },
    mode: { type: 'string' },
    'cluster-id': { type: 'string' },
    dir: { type: 'string' },
  });
  if (positionals.length > 0) throw new UsageError(`'cluster' takes options only, not '${positionals[0]}'`);
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
};
