/**
 * `npm run migration`: the long one. For each version of nats-server and each number of replicas: 20 kills of a copier, 10 of a
 * server of the target, 5 of STAN's leader, and two copiers at once, all in one run; then the same command again.
 *
 *     npm run migration -- --versions 2.15.2 --replicas 3 --messages 20000 --seed 4711
 *
 * The seed decides the order of the kills, who is struck, and when, by messages stored; it is the same for each version.
 * Exit code 0: nothing lost, doubled or shifted. 1: something was, or a run did not come to its end. 2: wrong options.
 */
import { randomInt } from 'node:crypto';
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
    seed: { type: 'string' },
  },
});
const seed = values.seed === undefined ? randomInt(2 ** 32) : Number(values.seed);
const [messages, rate, copiers, targets, leaders] = (
  ['messages', 'rate', 'copiers', 'targets', 'leaders'] as const
).map((name) => Number(values[name])) as [number, number, number, number, number];
const versions = values.versions.split(',');
const replicas = values.replicas.split(',').map(Number);
const isCount = (value: number): boolean => Number.isInteger(value) && value >= 0;
if (
  ![seed, messages, rate, copiers, targets, leaders].every(isCount) ||
  !replicas.every((count) => [1, 3, 5].includes(count)) ||
  versions.some((version) => !/^\d+\.\d+\.\d+$/.test(version))
) {
  console.error(
    "--versions are like '2.10.27', --replicas 1, 3 or 5, each separated by commas; the others are whole numbers",
  );
  process.exit(2);
}
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));

console.log(`seed ${seed}`);
let failed = false;
for (const version of versions) {
  for (const count of replicas) {
    const name = `nats-server ${version}, R${count}`;
    const from = await StanCluster.start();
    const to = await JetStreamCluster.start({ nodes: count, version });
    try {
      const say = (line: string): void => console.error(`${name}: ${line}`);
      const result = await hardship({ from, to, copiers, targets, leaders, messages, rate, seed, say });
      const { lost, doubled, shifted } = result;
      if (lost + doubled + shifted > 0) failed = true;
      console.log(`${name}: ${JSON.stringify(result)}`);
    } catch (error) {
      failed = true;
      console.log(`${name}: failed`, error);
      const again = `--versions ${version} --replicas ${count} --seed ${seed} --messages ${messages} --rate ${rate}`;
      console.log(`once more: npm run migration -- ${again}`);
    } finally {
      await to.stop();
      await from.stop();
    }
  }
}
process.exitCode = failed ? 1 : 0;
