import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const INTERRUPTION = new URL('../../src/cli/interruption.ts', import.meta.url).href;

describe('an interrupted command', () => {
  it('does not die of the same Ctrl-C, which npx sends on, when it has already come to its end', async () => {
    const program = `
      import { Interruption } from ${JSON.stringify(INTERRUPTION)};
      const hold = setInterval(() => {}, 1000);
      const interruption = new Interruption();
      console.log('begun');
      await interruption.came;
      interruption[Symbol.dispose]();
      console.log('over');
      setTimeout(() => clearInterval(hold), 1500);
    `;
    const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program], {
      cwd: fileURLToPath(new URL('../..', import.meta.url)),
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    for await (const line of createInterface(child.stdout)) {
      child.kill('SIGINT');
      if (line === 'over') break;
    }
    const [, signal] = (await once(child, 'exit')) as [number | null, string | null];
    assert.equal(signal, null);
  });

  it('ends with its exit code, also when Ctrl-C comes again while the process takes itself down', async () => {
    // A heap of this size takes Node a moment to take down.
    const program = `
      import { Interruption } from ${JSON.stringify(INTERRUPTION)};
      const hold = setInterval(() => {}, 1000);
      const interruption = new Interruption();
      globalThis.heap = Array.from({ length: 2e6 }, (_, i) => ({ i }));
      console.log('begun');
      await interruption.came;
      interruption[Symbol.dispose]();
      process.exitCode = interruption.exitCode;
      clearInterval(hold);
    `;
    const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program], {
      cwd: fileURLToPath(new URL('../..', import.meta.url)),
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(child.stdout, 'data');
    const ended = once(child, 'exit') as Promise<[number | null, string | null]>;
    while (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGINT');
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.deepEqual(await ended, [130, null]);
  });
});
