/** Ctrl-C as it comes through npx: from the terminal, and once more from npx, when the command may be through already. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const FILE = new URL('../../src/cli/interruption.ts', import.meta.url);
const TSX = fileURLToPath(import.meta.resolve('tsx'));

it('a Ctrl-C that comes twice does not kill a command that is already through', async function () {
  this.timeout(30_000);
  const script = `
    import { Interruption } from '${FILE.href}';
    const interruption = new Interruption();
    const atWork = setInterval(() => undefined, 1000);
    process.kill(process.pid, 'SIGINT');
    await interruption.came;
    clearInterval(atWork);
    interruption[Symbol.dispose]();
    process.kill(process.pid, 'SIGINT');
    console.log('ends with', interruption.exitCode);`;
  const args = ['--import', TSX, '--input-type=module', '-e', script];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  assert.equal(stdout, 'ends with 130\n');
});
