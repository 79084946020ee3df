/** The structure that `docs/architecture.md` describes: arrows between modules go one way. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const MADGE = createRequire(import.meta.url).resolve('madge/bin/cli.js');

/** Answers of madge about the modules below `src`, type imports included. */
async function madge(...question: string[]): Promise<unknown> {
  const options = ['--json', '--extensions', 'ts', '--ts-config', 'tsconfig.json'];
  // With `--circular`, cycles make it end with 1.
  const { stdout } = await run(process.execPath, [MADGE, ...question, ...options, 'src'], { cwd: ROOT }).catch(
    (error: { stdout: string }) => error,
  );
  return JSON.parse(stdout);
}

describe('the modules', function () {
  this.timeout(60_000);

  it('have no cycles', async () => {
    assert.deepEqual(await madge('--circular'), []);
  });

  it('have the API of node-nats-streaming above them: it stands on the facade, and no other module knows it', async () => {
    const imports = Object.entries((await madge()) as Record<string, string[]>);
    const inStan = (name: string): boolean => name.startsWith('stan/');
    assert.ok(imports.some(([name, imported]) => inStan(name) && imported.includes('resilient-stan.ts')));
    assert.deepEqual(
      imports.filter(([name, imported]) => !inStan(name) && imported.some(inStan)).map(([name]) => name),
      [],
    );
  });

  it('are all looked at, with the types they import', async () => {
    const imports = (await madge()) as Record<string, string[]>;
    assert.ok(Object.keys(imports).length > 100);
    assert.ok(imports['subscribing/subscription.ts']?.includes('subscribing/message.ts'), 'by `import type`');
  });
});
