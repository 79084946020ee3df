/** `resilient-stan cluster`: boots a cluster to try things with, and tells what becomes of it. */
import { StanCluster, type ClusterOptions, type StanNode } from '../testing/index.js';
import { plural } from '../testing/report/format.js';
import { sleep } from '../testing/wait.js';
import { defineCommand, type Options, type Values } from './command.js';
import { Interruption } from './interruption.js';
import { parentGone } from './parent-watch.js';
import { say } from './say.js';
import { wholeNumber } from './values.js';

const OPTIONS = {
  nodes: {
    type: 'string',
    value: '<n>',
    help: 'how many servers (default 3; in fault-tolerant mode 2, in single mode 1)',
  },
  mode: { type: 'string', value: '<mode>', help: 'clustered, fault-tolerant or single (default clustered)' },
  port: {
    type: 'string',
    short: 'p',
    value: '<n>',
    help:
      'the port of the first server; the others have the next ones, monitoring is 4000 above (default: free ports, other ' +
      'ones each time)',
  },
  'cluster-id': { type: 'string', short: 'c', value: '<id>', help: 'the cluster ID (default test-cluster)' },
  dir: {
    type: 'string',
    value: '<path>',
    help: 'keep stores and configuration there (default: a temporary directory, removed at the end)',
  },
} as const satisfies Options;

export const clusterCommand = defineCommand({
  name: 'cluster',
  summary: 'boot a NATS Streaming cluster, print its URLs, keep it until Ctrl-C',
  about: [
    'The URLs go to stdout, separated by commas. On stderr it tells how to kill each server, a program to paste, which server ' +
      'leads, and when one has died. It ends with Ctrl-C, when all servers are dead, and when whoever started it has gone; no ' +
      'server stays behind, however it ends. It needs a POSIX system.',
  ],
  options: OPTIONS,
  examples: [
    { command: 'resilient-stan cluster --port 4222', what: 'three servers at the customary ports, 4222 to 4224' },
    {
      command: 'resilient-stan cluster --nodes 1 --mode single --dir ./data',
      what: 'one server that keeps its messages',
    },
  ],
  exitCodes: { 0: 'it was ended', 1: 'it could not be started, or all servers have died' },
  run: runCluster,
});

async function runCluster(values: Values<typeof OPTIONS>): Promise<number> {
  const options: ClusterOptions = {};
  const nodes = wholeNumber('nodes', values.nodes, { min: 1 });
  const port = wholeNumber('port', values.port, { min: 1 });
  if (nodes !== undefined) options.nodes = nodes;
  if (port !== undefined) options.port = port;
  // The harness checks the other options.
  if (values.mode !== undefined) options.mode = values.mode as NonNullable<ClusterOptions['mode']>;
  if (values['cluster-id'] !== undefined) options.clusterId = values['cluster-id'];
  if (values.dir !== undefined) options.dir = values.dir;

  using interruption = new Interruption();
  const over = new AbortController();
  try {
    const orphaned = parentGone(over.signal);
    await using cluster = await StanCluster.start(options);
    console.log(cluster.urls.join(','));
    say(introduction(cluster));
    const asked = Promise.race([interruption.came, orphaned]).then(() => 0);
    const code = await Promise.race([asked, watch(cluster, over.signal)]);
    // The servers are stopped at the end of this block, and that is no news.
    over.abort();
    return code;
  } finally {
    over.abort();
  }
}

function introduction({ nodes, clusterId }: StanCluster): string {
  const url = nodes[0]!.url;
  const flags = [
    ...(url.endsWith(':4222') ? [] : [`-s ${url}`]),
    ...(clusterId === 'test-cluster' ? [] : [`-c ${clusterId}`]),
  ].join(' ');
  return [
    ...nodes.flatMap(({ name, url, pid, monitor }) => [
      `  ${name}: ${url}, kill -9 ${pid}`,
      `     monitoring ${monitor.url}`,
    ]),
    '',
    'A program, say demo.mjs, beside which you have run npm install resilient-stan:',
    '',
    ...snippet(
      nodes.map((node) => node.url),
      clusterId,
    ),
    '',
    'Or in other terminals:',
    '',
    `  npx resilient-stan tail demo ${flags}`.trimEnd(),
    `  npx resilient-stan pub demo hello ${flags}`.trimEnd(),
    '',
    'Ctrl-C stops it.',
  ].join('\n');
}

/* eslint-disable no-template-curly-in-string -- they are a part of the program */
/** A whole program that publishes and receives. */
export function snippet(urls: readonly string[], clusterId: string): string[] {
  return [
    "import { ResilientStan } from 'resilient-stan';",
    '',
    'const servers = [',
    ...urls.map((url) => `  '${url}',`),
    '];',
    'const stan = await ResilientStan.connect(servers, {',
    `  clusterId: '${clusterId}',`,
    '});',
    "stan.on('connection_lost', ({ error }) => {",
    '  console.log(error.message);',
    '});',
    "stan.on('reconnect', ({ server }) => {",
    '  console.log(`back, at ${server}`);',
    '});',
    "await stan.subscribe('demo', (message) => {",
    '  console.log(message.string());',
    '});',
    'for (let n = 1; ; n++) {',
    "  await stan.publish('demo', `message ${n}`);",
    '  await new Promise((resolve) => setTimeout(resolve, 1000));',
    '}',
  ].map((line) => `  ${line}`.trimEnd());
}

/* eslint-enable no-template-curly-in-string */

/** How often nobody leads until it is told. An election is shorter. */
const LEADERLESS = 12;
/** How often it is looked what has become of the servers, in ms. */
const INTERVAL = 250;

/** Tells what becomes of the servers. Resolves when all have died. */
async function watch(cluster: StanCluster, signal: AbortSignal): Promise<number> {
  const down = new Set<StanNode>();
  let leader: StanNode | undefined;
  let leaderless = 0;
  while (!signal.aborted) {
    for (const node of cluster.nodes) {
      if (node.running || down.has(node)) continue;
      down.add(node);
      const how = node.lastExit?.signal ?? `exit code ${node.lastExit?.code}`;
      say(
        `${node.name} has died (${how}): ${plural(cluster.nodes.length - down.size, 'server')} of ${cluster.nodes.length} left`,
      );
    }
    if (down.size === cluster.nodes.length) {
      say('all servers have died');
      return 1;
    }
    const leads = await cluster.findLeader();
    if (signal.aborted) break;
    leaderless = leads === undefined ? leaderless + 1 : 0;
    if (leaderless === LEADERLESS) {
      say('nobody leads: a cluster needs more than half of its servers');
      leader = undefined;
    }
    if (leads !== undefined && leads !== leader) {
      const verb = cluster.mode === 'clustered' ? 'leads' : cluster.mode === 'single' ? undefined : 'is active';
      if (verb !== undefined) say(`${leads.name} ${verb}`);
      leader = leads;
    }
    await sleep(INTERVAL);
  }
  return 0;
}
