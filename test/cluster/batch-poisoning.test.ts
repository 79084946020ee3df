/** A channel over `max_channels` fails whole batches of the leader: its neighbours are not called refusing for it. */
import assert from 'node:assert/strict';
import { PublishRejectedError, ResilientStan, type PubAck } from '../../src/index.js';
import { StanCluster, waitFor } from '../../src/testing/index.js';

const CHANNELS = Array.from({ length: 26 }, (_, n) => `good-${n}`);
const ROUNDS = 100;

describe('one channel over max_channels', function () {
  this.timeout(120_000);
  let cluster: StanCluster;

  before(async () => {
    cluster = await StanCluster.start({
      nodes: 3,
      config: { streaming: { store_limits: { max_channels: CHANNELS.length } } },
    });
    await using stan = await ResilientStan.connect(cluster.urls);
    for (const channel of CHANNELS) await stan.publish(channel, 'the first');
  });
  after(() => cluster.stop());

  for (const ordering of ['pipelined', 'strict'] as const) {
    it(`${ordering}: nothing on the other channels is rejected, and what is got its three retries`, async () => {
      await using stan = await ResilientStan.connect(cluster.urls, { publishing: { ordering } });
      await using other = await ResilientStan.connect(cluster.urls);
      // This client must have seen that they exist.
      for (const channel of CHANNELS) await stan.publish(channel, 'seen');
      let over = false;
      const refusals: Promise<unknown>[] = [];
      const flood = async (client: ResilientStan, channel: string): Promise<void> => {
        while (!over) {
          refusals.push(
            client.publish(channel, 'x').then(
              () => assert.fail('it was accepted'),
              (error: unknown) => error,
            ),
          );
          await new Promise((resolve) => setTimeout(resolve, 10));
        }
      };
      const floods = [flood(stan, 'too-many'), flood(other, 'too-many-as-well')];
      const acks: Promise<PubAck>[] = [];
      for (let round = 0; round < ROUNDS; round++) {
        for (const channel of CHANNELS) {
          const publish = stan.publish(channel, `${round}`);
          publish.catch(() => {});
          acks.push(publish);
        }
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      const attempts = (await Promise.all(acks)).map((ack) => ack.attempts);
      over = true;
      await Promise.all(floods);
      assert.ok(Math.max(...attempts) > 1, 'no batch was spoilt: nothing was shown');
      for (const error of await Promise.all(refusals)) {
        assert.ok(error instanceof PublishRejectedError, String(error));
        // On a slow way a message may be sent once more, because its answer is overdue.
        assert.match(error.message, /\((sent ([4-9]|\d\d) times|never sent: .*)\): "too many channels"/);
      }
    });
  }

  it('a new client, whose channels have not acknowledged yet, gets its first messages through beside its own refused ones', async () => {
    await using stan = await ResilientStan.connect(cluster.urls);
    const bad = ['no-room-1', 'no-room-2', 'no-room-3'].map((channel) => stan.publish(channel, 'x'));
    for (const publish of bad) publish.catch(() => {});
    const good = CHANNELS.map((channel) => stan.publish(channel, 'first of this client'));
    await Promise.all(good);
    for (const publish of bad) await assert.rejects(publish, PublishRejectedError);
  });

  it('a channel that was deleted since is rejected in the end, and the error says so', async () => {
    await using idle = await StanCluster.start({
      nodes: 3,
      config: { streaming: { store_limits: { max_channels: 1, channels: { gone: { max_inactivity: '1s' } } } } },
    });
    await using stan = await ResilientStan.connect(idle.urls);
    await stan.publish('gone', '1');
    // Its place is taken as soon as it is deleted.
    await waitFor(() => stan.publish('taker', 'x').catch(() => undefined), {
      timeout: 30_000,
      what: () => 'the channel is not deleted',
    });
    await assert.rejects(stan.publish('gone', '2'), (error: unknown) => {
      assert.ok(error instanceof PublishRejectedError);
      assert.match(error.message, /taken messages of this client before, and then refused all for 1\d s/);
      return true;
    });
  });
});
