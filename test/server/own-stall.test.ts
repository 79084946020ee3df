/** Our own event loop stands still, once or again and again: that is held against nobody. */
import assert from 'node:assert/strict';
import { ResilientStan } from '../../src/index.js';
import { StanCluster } from '../../src/testing/index.js';
import { Recorder, uniqueName } from '../support/clients.js';

function block(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

describe('our own standstill', function () {
  this.timeout(60_000);
  let cluster: StanCluster;

  before(async () => {
    cluster = await StanCluster.start({ mode: 'single' });
  });
  after(() => cluster.stop());

  for (const [times, ms] of [
    [12, 500],
    [6, 2500],
  ] as const) {
    it(`a start-up that stands still ${times} times for ${ms} ms, with a turn between, fails no attempt`, async () => {
      const failed: string[] = [];
      const debug = (line: string): void => void (/^attempt/.test(line) && failed.push(line));
      const connect = ResilientStan.connect(cluster.urls, { logger: { debug } });
      connect.catch(() => {});
      for (let n = 0; n < times; n++) {
        block(ms);
        await new Promise((resolve) => setImmediate(resolve));
      }
      await using _stan = await connect;
      assert.deepEqual(failed, []);
    });
  }

  for (const ms of [500, 2500]) {
    it(`requests outlive standstills of ${ms} ms`, async () => {
      await using stan = await ResilientStan.connect(cluster.urls, { clientId: uniqueName('stall') });
      const recorder = new Recorder(stan);
      const stall = async (request: Promise<unknown>): Promise<void> => {
        for (let n = 0; n < 2500 / ms; n++) {
          block(ms);
          await new Promise((resolve) => setImmediate(resolve));
        }
        await request;
      };
      const channel = uniqueName('stall');
      const subscribe = stan.subscribe(channel, () => {}, { durableName: 'd' });
      await stall(subscribe);
      await stall(stan.publish(channel, 'x'));
      await stall((await subscribe).close());
      const again = stan.subscribe(channel, () => {}, { durableName: 'd' });
      await stall(again);
      await stall((await again).unsubscribe());
      assert.equal(recorder.count('connection_lost'), 0, recorder.names.join(' '));
    });
  }
});
