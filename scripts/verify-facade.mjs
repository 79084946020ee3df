/**
 * `verify` of `resilient-stan/stan`: the adapter of the raw client, with nothing changed but its import.
 *
 *     npm run build && node scripts/verify-facade.mjs [options of verify]
 *
 * Runs once with each ordering. Exit code 0: both are clean.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const IMPORT = "from 'node-nats-streaming'";

const raw = readFileSync(join(ROOT, 'examples/raw-adapter.mjs'), 'utf8');
if (!raw.includes(IMPORT)) throw new Error(`examples/raw-adapter.mjs does not import ${IMPORT}`);
// It lies in this package, so that the import finds it.
const adapter = join(ROOT, `examples/facade-adapter-${process.pid}.mjs`);
writeFileSync(adapter, raw.replace(IMPORT, "from 'resilient-stan/stan'"));
let clean = true;
try {
  for (const ordering of ['pipelined', 'strict']) {
    const args = ['verify', '--client', adapter, '--ordering', ordering, ...process.argv.slice(2)];
    const { status } = spawnSync(process.execPath, [join(ROOT, 'dist/cli.js'), ...args], {
      cwd: ROOT,
      stdio: 'inherit',
    });
    clean &&= status === 0;
  }
} finally {
  rmSync(adapter);
}
process.exit(clean ? 0 : 1);
