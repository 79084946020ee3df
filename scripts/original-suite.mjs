/**
 * Runs the tests of node-nats-streaming itself, unchanged, against `resilient-stan/stan`:
 *
 *     npm run build && node scripts/original-suite.mjs <clone of nats-io/node-nats-streaming> [options of mocha]
 *
 * Three of its tests ask for what this library is there to prevent, and fail: docs/migrating.md names them, and one that is won or lost by
 * chance. Exit code 0: all others pass. No server may listen at port 4222: one of the tests expects that nobody does.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

/** What contradicts resilience. */
const CONTRADICTING = [
  'Basics subscribe emits timeout',
  'Stan Connection Lost should get a "connection_lost" event if the server goes away',
  'Stan Connection Lost should get a "connection_lost" event if the server cycles and looses state',
];
/**
 * It takes the servers that the cluster announced out of the list that nats keeps, so that the first client cannot come back. This
 * library has no such list: the client may come back by the other server before the second one takes its ID.
 */
const BY_CHANCE = ['Stan Connection Lost should get a "connection_lost" when replaced'];
/** Its last commit, and how many tests it has there. */
const COMMIT = '6e26d11';
const TESTS = 60;
const PINNED = ['should@13.2.3', 'nuid@1.1.6'];

const kindOf = (title) =>
  CONTRADICTING.includes(title) ? 'contradicts' : BY_CHANCE.includes(title) ? 'by chance' : 'FAILED';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const [repository, ...mochaOptions] = process.argv.slice(2);
if (repository === undefined) {
  console.error('Usage: node scripts/original-suite.mjs <clone of nats-io/node-nats-streaming> [options of mocha]');
  process.exit(2);
}

const { resolveServer } = await import(pathToFileURL(join(ROOT, 'dist/testing.mjs')).href);
const server = await resolveServer();
const stan = await import(pathToFileURL(join(ROOT, 'dist/stan.mjs')).href);
const dir = mkdtempSync(join(tmpdir(), 'original-suite-'));
let code = 1;
try {
  // The package under its old name, with the tests beside it.
  const manifest = { name: 'node-nats-streaming', version: stan.version, private: true };
  writeFileSync(join(dir, 'package.json'), JSON.stringify(manifest));
  const install = ['install', '--no-save', '--no-audit', '--no-fund', '--prefer-offline', ...PINNED];
  const npm = spawnSync('npm', install, { cwd: dir, stdio: ['ignore', 'ignore', 'inherit'] });
  if (npm.status !== 0) throw new Error(`npm ${install.join(' ')} failed`);
  for (const name of ['nats', 'node-nats-streaming', 'google-protobuf', 'mocha']) {
    symlinkSync(join(ROOT, 'node_modules', name), join(dir, 'node_modules', name));
  }
  mkdirSync(join(dir, 'lib'));
  cpSync(join(ROOT, 'node_modules/node-nats-streaming/lib/pb'), join(dir, 'lib/pb'), { recursive: true });
  writeFileSync(join(dir, 'lib/stan.js'), `module.exports = require(${JSON.stringify(join(ROOT, 'dist/stan.js'))})\n`);
  cpSync(resolve(repository, 'test'), join(dir, 'test'), { recursive: true });
  mkdirSync(join(dir, 'bin'));
  symlinkSync(server, join(dir, 'bin/nats-streaming-server'));

  const report = join(dir, 'report.json');
  const mocha = [join(dir, 'node_modules/mocha/bin/mocha.js'), '--no-config', '--exit', '--timeout', '10000'];
  spawnSync(
    process.execPath,
    [...mocha, '--reporter', 'json', '--reporter-option', `output=${report}`, ...mochaOptions, 'test/*.js'],
    {
      cwd: dir,
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, PATH: `${join(dir, 'bin')}${delimiter}${process.env.PATH}` },
    },
  );
  const { passes, failures } = JSON.parse(readFileSync(report, 'utf8'));
  const unexpected = failures.filter(({ fullTitle }) => ![...CONTRADICTING, ...BY_CHANCE].includes(fullTitle));
  const passed = passes.filter(({ fullTitle }) => CONTRADICTING.includes(fullTitle));
  console.log(`${passes.length} of ${passes.length + failures.length} pass.`);
  for (const { fullTitle } of failures) console.log(`  ${kindOf(fullTitle)}: ${fullTitle}`);
  for (const { fullTitle, err } of unexpected) console.log(`\n${fullTitle}\n${err.stack ?? err.message}`);
  for (const { fullTitle } of passed) console.log(`  passes, and should not: ${fullTitle}`);
  const whole = mochaOptions.length === 0;
  const count = passes.length + failures.length;
  if (whole && count !== TESTS) console.log(`  ${TESTS} tests were expected: is the clone at ${COMMIT}?`);
  code = unexpected.length + passed.length === 0 && (!whole || count === TESTS) ? 0 : 1;
} finally {
  rmSync(dir, { recursive: true, force: true });
}
process.exit(code);
