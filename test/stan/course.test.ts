/** The program that most Node code around NATS Streaming is a copy of, through the death of its servers. */
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { StanCluster } from '../../src/testing/index.js';
import { uniqueName, until } from '../support/clients.js';
import { event } from './side-by-side.js';

interface Told {
  handled?: number;
  sequence?: number;
  stored?: number;
  failed?: number;
  why?: string;
  closed?: boolean;
  event?: string;
}

describe('a program with a wrapper and base classes, on resilient-stan/stan', function () {
  this.timeout(120_000);

  it('fails nothing and handles nothing twice, through dead leaders and an outage; SIGTERM ends it in order', async () => {
    await using cluster = await StanCluster.start({ nodes: 3 });
    const path = fileURLToPath(new URL('./fixtures/course.ts', import.meta.url));
    const child = fork(path, [cluster.urls.join(','), uniqueName('course')], { execArgv: ['--import', 'tsx'] });
    const exit = event(child, 'exit');
    const handled: number[] = [];
    const sequences: number[] = [];
    const stored: number[] = [];
    const failed: Told[] = [];
    const events: string[] = [];
    let closed = false;
    child.on('message', (told: Told) => {
      if (told.handled !== undefined) handled.push(told.handled);
      if (told.sequence !== undefined) sequences.push(told.sequence);
      if (told.stored !== undefined) stored.push(told.stored);
      if (told.event !== undefined) events.push(told.event);
      if (told.failed !== undefined) failed.push(told);
      closed ||= told.closed === true;
    });
    const more = async (): Promise<void> => {
      const enough = handled.length + 50;
      await until(
        () => handled.length >= enough,
        () => `it stands still: ${handled.length} handled, ${stored.length} stored`,
        60_000,
      );
    };
    try {
      await more();
      for (let times = 0; times < 2; times++) {
        const leader = await cluster.leader();
        await leader.kill();
        await more();
        await leader.start();
      }
      events.length = 0;
      await Promise.all(cluster.nodes.map((node) => node.kill()));
      await until(() => events.includes('disconnect'), 'the client does not notice the outage');
      await Promise.all(cluster.nodes.map((node) => node.start()));
      await more();
      const soFar = [...stored];
      await until(() => soFar.every((data) => handled.includes(data)), 'what is stored is not handled');
      child.kill('SIGTERM');
      assert.equal(await exit, 0);
      assert.equal(closed, true);
      assert.deepEqual(failed, []);
      assert.equal(new Set(sequences).size, sequences.length, 'a message was handled twice');
    } finally {
      child.kill('SIGKILL');
    }
  });
});
