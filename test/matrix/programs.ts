/** The programs that load the package. They do the same, each in the dialect of what runs it. */

const NAMES = '{ ResilientStan, ResilientStanError }';
const HARNESS = '{ StanCluster }';
const FACADE = '{ connect }';

const IMPORTS = `
import ${NAMES} from 'resilient-stan';
import ${HARNESS} from 'resilient-stan/testing';
import ${FACADE} from 'resilient-stan/stan';
`;
const REQUIRES = `
const ${NAMES} = require('resilient-stan');
const ${HARNESS} = require('resilient-stan/testing');
const ${FACADE} = require('resilient-stan/stan');
`;

/**
 * Publishes one message after the other, by this library and by its API of node-nats-streaming in turn, until it is told to stop,
 * and has then received all of them in order. What it throws says what was wrong. Plain enough for strict TypeScript, too.
 */
const OUTLIVE = `
async function outlive() {
  if (typeof StanCluster.start !== 'function') throw new Error('the harness is not there');
  const refused = await ResilientStan.connect('http://a').catch((error) => error);
  if (!(refused instanceof ResilientStanError)) throw new Error('an error is not of its class');

  const channel = process.env.MATRIX_CHANNEL || '';
  const servers = (process.env.MATRIX_URLS || '').split(',');
  const clusterId = process.env.MATRIX_CLUSTER || '';
  const stan = await ResilientStan.connect(servers, { clusterId, clientId: channel });
  const old = connect(clusterId, channel + '-old', { servers });
  await new Promise((resolve, reject) => old.once('connect', resolve).once('error', reject));
  const seen = new Set(['']);
  let over = false;
  await stan.subscribe(
    channel,
    async (message) => {
      if (message.string() === 'stop') over = true;
      else seen.add(message.string());
    },
    { startAt: 'first' },
  );
  let sent = 0;
  for (; !over; sent += 1) {
    const data = Buffer.from(String(sent));
    if (sent % 2 === 0) await stan.publish(channel, data);
    else
      await new Promise((resolve, reject) => {
        old.publish(channel, data, (error, guid) => (error ? reject(error) : resolve(guid)));
      });
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  while (seen.size <= sent) await new Promise((resolve) => setTimeout(resolve, 10));
  Array.from(seen).forEach((text, index) => {
    if (index > 0 && text !== String(index - 1)) throw new Error('out of order: ' + text + ' is message ' + index);
  });
  await stan.close();
  await new Promise((resolve) => {
    old.once('close', resolve);
    old.close();
  });
}
`;

/** Nothing but what is left running may keep it from ending. */
const MAIN = `
outlive().catch((error) => {
  console.error(error);
  process.exit(1);
});
`;

const TEST = `
test('outlives its leader', async () => {
  await outlive();
}, 60000);
`;

export const PROGRAMS = {
  esm: IMPORTS + OUTLIVE + MAIN,
  cjs: REQUIRES + OUTLIVE + MAIN,
  esmTest: IMPORTS + OUTLIVE + TEST,
  cjsTest: REQUIRES + OUTLIVE + TEST,
  vitest: `import { test } from 'vitest';${IMPORTS}${OUTLIVE}${TEST}`,
  /** Calls `verify()` where it cannot work. */
  refusedVerify: (saying: RegExp): string => `
import { verify } from 'resilient-stan/testing';
verify({ publishFor: 1000, mode: 'single', nodes: 1 }).then(
  () => process.exit(1),
  (error) => {
    if (!${String(saying)}.test(error.message)) throw error;
  },
);
`,
  /** Boots a server itself, and kills it. */
  harness: `${IMPORTS}
const cluster = await StanCluster.start({ nodes: 1, mode: 'single', store: 'file' });
const stan = await ResilientStan.connect(cluster.urls, { clusterId: 'test-cluster', clientId: 'me' });
await stan.publish('foo', '1');
await cluster.nodes[0].kill();
const kept = stan.publish('foo', '2');
await cluster.nodes[0].start();
await kept;
await stan.close();
await cluster.stop();
`,
} as const;
