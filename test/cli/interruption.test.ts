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
});
