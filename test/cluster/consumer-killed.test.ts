import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { ResilientStan } from '../../src/index.js';
import { StanCluster, waitFor } from '../../src/testing/index.js';

const CONSUMER = fileURLToPath(new URL('../support/fixtures/durable-consumer.ts', import.meta.url));

describe('a consumer process with a durable', function () {
  this.timeout(120_000);

  it('killed six times while publishing goes on: its lives together handled everything acknowledged', async () => {
    await using cluster = await StanCluster.start({ nodes: 3 });
    const run = randomUUID().slice(0, 8);
    const channel = `killed.${run}`;
    await using publisher = await ResilientStan.connect(cluster.urls, { clientId: `pub-${run}` });
    const acknowledged: string[] = [];
    let count = 0;
    const timer = setInterval(() => {
      const value = String(count++);
      void publisher.publish(channel, value).then(() => acknowledged.push(value));
    }, 5);
    const handled = new Set<string>();
    let consumer: ChildProcess | undefined;
    const start = (): ChildProcess => {
      const child = spawn(
        process.execPath,
        ['--import', 'tsx', CONSUMER, cluster.urls.join(','), `con-${run}`, channel],
        {
          stdio: ['ignore', 'pipe', 'inherit'],
        },
      );
      let rest = '';
      child.stdout.on('data', (chunk: Buffer) => {
        const lines = (rest + chunk.toString()).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) handled.add(line);
      });
      return child;
    };
    const more = async (n: number): Promise<void> => {
      const target = handled.size + n;
      await waitFor(() => handled.size >= target || undefined, {
        timeout: 30_000,
        what: () => `${handled.size} handled, ${acknowledged.length} acknowledged`,
      });
    };
    try {
      for (let life = 0; life < 6; life++) {
        consumer = start();
        await more(50);
        consumer.kill('SIGKILL');
        await once(consumer, 'close');
      }
      consumer = start();
      await more(50);
      clearInterval(timer);
      await publisher.flush();
      await waitFor(() => acknowledged.every((value) => handled.has(value)) || undefined, {
        timeout: 30_000,
        what: () =>
          `not handled: ${acknowledged
            .filter((value) => !handled.has(value))
            .slice(0, 10)
            .join()}`,
      });
      assert.equal(acknowledged.length, count);
    } finally {
      clearInterval(timer);
      consumer?.kill('SIGKILL');
    }
  });
});
