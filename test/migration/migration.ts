/**
 * `npm run migration [-- --versions 2.10.27,2.12.15,2.15.2 --replicas 1,3 --messages 20000]`: the long one. For each version of
 * nats-server and each number of replicas: 20 kills of a copier, 10 of a server of the target, 5 of STAN's leader, and two copiers at
 * once, all in one run; then the same command again. It ends with 1 when anything is lost, doubled or shifted.
 */
import { parseArgs } from 'node:util';
import { JetStreamCluster, StanCluster } from '../../src/testing/index.js';
import { hardship } from './hardship.js';

const { values } = parseArgs({
  options: {
    versions: { type: 'string', default: '2.10.27,2.12.15,2.15.2' },
    replicas: { type: 'string', default: '1,3' },
    messages: { type: 'string', default: '20000' },
    rate: { type: 'string', default: '200' },
    copiers: { type: 'string', default: '20' },
    targets: { type: 'string', default: '10' },
    leaders: { type: 'string', default: '5' },
  },
});

let failed = false;
for (const version of values.versions.split(',')) {
  for (const replicas of values.replicas.split(',').map(Number)) {
    const name = `nats-server ${version}, R${replicas}`;
    const from = await StanCluster.start();
    const to = await JetStreamCluster.start({ nodes: replicas, version });
    try {
      const result = await hardship({
        from,
        to,
        copiers: Number(values.copiers),
        targets: Number(values.targets),
        leaders: Number(values.leaders),
        messages: Number(values.messages),
        rate: Number(values.rate),
        say: (line) => console.error(`${name}: ${line}`),
      });
      const { lost, doubled, shifted } = result;
      if (lost + doubled + shifted > 0) failed = true;
      console.log(`${name}: ${JSON.stringify(result)}`);
    } catch (error) {
      failed = true;
      console.log(`${name}: failed`, error);
    } finally {
      await to.stop();
      await from.stop();
    }
  }
}
process.exitCode = failed ? 1 : 0;
