/** What a full outage does to publishes with a deadline, and to subscriptions that have received nothing yet. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  AbortedError,
  PublishTimeoutError,
  ResilientStan,
  type ResilientStanError,
  type SubscribeOptions,
} from '../../src/index.js';
import { StanCluster, waitFor } from '../../src/testing/index.js';

describe('a full outage', function () {
  this.timeout(90_000);
  let cluster: StanCluster;
  let client: ResilientStan;
  let channel: string;

  before(async () => {
    cluster = await StanCluster.start({ nodes: 3 });
  });
  after(() => cluster.stop());
  beforeEach(async () => {
    const id = randomUUID().slice(0, 8);
    channel = `outage.${id}`;
    client = await ResilientStan.connect(cluster.urls, { clientId: `outage-${id}` });
  });
  afterEach(() => client.close({ timeout: 1000 }));

  const down = async (): Promise<void> => void (await Promise.all(cluster.nodes.map((node) => node.kill())));
  const up = async (): Promise<void> => {
    await Promise.all(cluster.nodes.map((node) => node.start()));
    await cluster.ready();
  };
  const read = async (options: SubscribeOptions): Promise<string[]> => {
    const values: string[] = [];
    await client.subscribe(channel, (message) => void values.push(message.string()), options);
    return values;
  };
  const arrives = (values: string[], value: string): Promise<true> =>
    waitFor(() => values.includes(value) || undefined, {
      timeout: 30_000,
      what: () => `'${value}' in [${values.join()}]`,
    });

  it('a publish with a timeout, or aborted, is not in the channel afterwards when it says that it was not sent', async () => {
    await client.publish(channel, 'before');
    await down();
    await waitFor(() => client.state === 'reconnecting' || undefined, { timeout: 10_000, what: () => client.state });
    const kept = client.publish(channel, 'kept');
    const stop = new AbortController();
    const doomed = [
      client.publish(channel, 'timed out', { timeout: 500 }),
      client.publish(channel, 'aborted', { signal: stop.signal }),
    ].map((publish) =>
      publish.then(
        () => assert.fail('acknowledged without a cluster'),
        (error: unknown) => error as ResilientStanError,
      ),
    );
    const late = client.publish(channel, 'kept as well');
    setTimeout(() => stop.abort(), 300);
    const [timedOut, aborted] = await Promise.all(doomed);
    assert.ok(timedOut instanceof PublishTimeoutError);
    assert.ok(aborted instanceof AbortedError);
    assert.deepEqual([timedOut.delivery, aborted.delivery], ['not-sent', 'not-sent']);
    await up();
    await Promise.all([kept, late]);
    await client.publish(channel, 'after');
    const values = await read({ startAt: 'first' });
    await arrives(values, 'after');
    assert.deepEqual(values, ['before', 'kept', 'kept as well', 'after']);
  });

  for (const startAt of ['new', 'last'] as const) {
    it(`a subscription from '${startAt}' that had received nothing gets what is published in the outage, and after it`, async () => {
      const values = await read({ startAt });
      await down();
      await waitFor(() => client.state === 'reconnecting' || undefined, { timeout: 10_000, what: () => client.state });
      // Another client comes back first and publishes before our subscription can be there again.
      const published = [client.publish(channel, 'in the outage'), client.publish(channel, 'and another')];
      await sleep(1000);
      await up();
      await Promise.all(published);
      await client.publish(channel, 'after');
      await arrives(values, 'after');
      assert.deepEqual(values, ['in the outage', 'and another', 'after']);
    });
  }

  it("a queue group from 'first' that is forgotten by the server is not handed its whole history again", async () => {
    const history = 500;
    await Promise.all(Array.from({ length: history }, (_, i) => client.publish(channel, `h${i}`)));
    // A short ackWait: what it received longer ago need not come again.
    const values = await read({ startAt: 'first', queueGroup: 'workers', ackWait: 1000 });
    await arrives(values, `h${history - 1}`);
    await sleep(8000); // longer than ackWait and the time in which a death may go unnoticed
    for (let i = 0; i < 5; i++) await client.publish(channel, `recent${i}`);
    await arrives(values, 'recent4');
    await down();
    await sleep(500);
    await up();
    await client.publish(channel, 'after');
    await arrives(values, 'after');
    const again = values.filter((value, i) => values.indexOf(value) < i);
    assert.ok(again.length <= 5, `${again.length} of ${history} handled again: ${again.slice(0, 10).join()}`);
  });
});
