/**
 * A killed `migrate durables` and a killed `migrate cut`, in place, and the same command again: a short version of
 * `npm run migration:positions`.
 */
import { StanCluster } from '../../src/testing/index.js';
import { Positions } from '../migration/positions-trial.js';

describe('steps of a migration that are killed', function () {
  this.timeout(120_000);
  let cluster: StanCluster;
  let positions: Positions;
  before(async () => {
    cluster = await StanCluster.start({ mode: 'single', jetstream: true });
    positions = await Positions.open({ from: cluster });
  });
  after(async () => {
    await positions?.close();
    await cluster?.stop();
  });

  it('durables: each consumer delivers what it should, and STAN has all positions as they were', async () => {
    await positions.prepare();
    await positions.killDurables(3);
  });

  it('cut: what both sides have published is there once, and that of STAN in its order', async () => {
    await positions.killCuts(1);
  });
});
