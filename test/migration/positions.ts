/**
 * `npm run migration:positions [-- --versions 2.10.27,2.12.15,2.15.2 --replicas 1,3 --kills 20 --idle 60]`: durables and cut against
 * each version of nats-server and each number of replicas, and in place. Both commands are killed at many points and run again; what
 * each consumer delivers, also after an idle minute, is compared message by message, and so is what STAN still has. It ends with 1 when
 * anything differs.
 */
import { parseArgs } from 'node:util';
import { JetStreamCluster, StanCluster } from '../../src/testing/index.js';
import { Positions, type Sides } from './positions-trial.js';

const { values } = parseArgs({
  options: {
    versions: { type: 'string', default: '2.10.27,2.12.15,2.15.2' },
    replicas: { type: 'string', default: '1,3' },
    kills: { type: 'string', default: '20' },
    /** How long the consumers are left alone, in s. */
    idle: { type: 'string', default: '60' },
    'no-in-place': { type: 'boolean', default: false },
  },
});

let failed = false;

async function trial(name: string, boot: () => Promise<Sides>): Promise<void> {
  const began = performance.now();
  const sides = await boot();
  try {
    const positions = await Positions.open({ ...sides, say: (line) => console.error(`${name}: ${line}`) });
    try {
      await positions.prepare();
      await positions.killDurables(Number(values.kills), { idle: Number(values.idle) * 1000 });
      await positions.killCuts(Number(values.kills));
    } finally {
      await positions.close();
    }
    console.log(`${name}: all as it should be, in ${Math.round((performance.now() - began) / 1000)} s`);
  } catch (error) {
    failed = true;
    console.log(`${name}: failed`, error);
    for (const node of [...sides.from.nodes, ...(sides.to?.nodes ?? [])]) {
      console.error(`the last of ${node.name}:\n${node.log().slice(-20).join('\n')}`);
    }
  } finally {
    await sides.to?.stop();
    await sides.from.stop();
  }
}

for (const version of values.versions.split(',').filter((each) => each !== '')) {
  for (const replicas of values.replicas.split(',').map(Number)) {
    await trial(`nats-server ${version}, R${replicas}`, async () => ({
      from: await StanCluster.start({ mode: 'single' }),
      to: await JetStreamCluster.start({ nodes: replicas, version }),
    }));
  }
}
if (!values['no-in-place']) {
  await trial('in place', async () => ({ from: await StanCluster.start({ mode: 'single', jetstream: true }) }));
  await trial('in place, in a cluster', async () => ({ from: await StanCluster.start({ jetstream: true }) }));
}
process.exitCode = failed ? 1 : 0;
