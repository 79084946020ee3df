/** Credentials and TLS of the commands, at one real server that verifies certificates and NKeys. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InvalidArgumentError } from '../../src/index.js';
import { StanCluster } from '../../src/testing/index.js';
import { runCommand } from '../support/command.js';

describe('commands at a server with TLS and NKeys', function () {
  this.timeout(60_000);
  let cluster: StanCluster;
  let dir: string;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'resilient-stan-test-'));
    cluster = await StanCluster.start({ mode: 'single', store: 'memory', tls: { verify: true }, auth: { nkey: true } });
    const { nkey, tls } = cluster.connectOptions;
    await Promise.all([
      writeFile(join(dir, 'ca.pem'), tls!.ca),
      writeFile(join(dir, 'me.pem'), tls!.cert!),
      writeFile(join(dir, 'me.key'), tls!.key!),
      writeFile(join(dir, 'me.nk'), `${nkey}\n`),
    ]);
  });
  after(async () => {
    await cluster?.stop();
    await rm(dir, { recursive: true, force: true });
  });

  const run = (args: string[]) => runCommand([...args, '--servers', cluster.urls[0]!], { cwd: dir });
  const all = ['--tls-ca', 'ca.pem', '--tls-cert', 'me.pem', '--tls-key', 'me.key', '--nkey', 'me.nk'];

  it('files on the command line are enough, for a message and for the doctor', async () => {
    const { code, stderr } = await run(['pub', 'secure', 'x', ...all]);
    assert.equal(code, 0, stderr);
    const doctor = await run(['doctor', ...all]);
    assert.equal(doctor.code, 0, doctor.stdout);
    assert.match(doctor.stdout, /✓ TLS: encrypted, and the certificate is verified/);
    assert.match(doctor.stdout, /credentials: an NKey \(--nkey\)/);
    assert.ok(!doctor.stdout.includes(cluster.connectOptions.nkey!));
  });

  for (const [what, without, expected] of [
    ['the authority is not known', ['--tls-ca', 'ca.pem'], /✗ .*not trusted[^]*--tls-ca/],
    ['no client certificate', ['--tls-cert', 'me.pem', '--tls-key', 'me.key'], /✗ .*client certificate[^]*--tls-cert/],
    ['no credentials', ['--nkey', 'me.nk'], /✗ the credentials are refused/],
  ] as [string, string[], RegExp][]) {
    it(`${what}: other commands name their own options, too`, async () => {
      const { code, stderr } = await run(['pub', 'secure', 'x', ...all.filter((each) => !without.includes(each))]);
      assert.equal(code, 1);
      if (without[0]!.startsWith('--tls')) assert.ok(stderr.includes(without[0]!), stderr);
      assert.doesNotMatch(stderr, /tls\.|option '/);
    });

    it(`${what}: the doctor says so`, async () => {
      const { code, stdout } = await run(['doctor', ...all.filter((each) => !without.includes(each))]);
      assert.equal(code, 1);
      assert.match(stdout, expected);
    });
  }

  for (const [args, expected] of [
    [['--tls-servername', 'elsewhere.example'], /✗ not usable: [^]*elsewhere\.example[^]*use one of them in the URL/],
    [['--servers', 'tls://no.such.host.invalid:4222'], /✗ not usable: the host name cannot be resolved[^]*the name/],
  ] as [string[], RegExp][]) {
    it(`doctor ${args.join(' ')}: what is wrong, and what to do`, async () => {
      const { code, stdout } = await runCommand(['doctor', '--servers', cluster.urls[0]!, ...all, ...args], {
        cwd: dir,
      });
      assert.equal(code, 1);
      assert.match(stdout.replace(/\s+/g, ' '), expected); // lines are broken anywhere
    });
  }

  it('ports that are chosen cannot be those of proxies as well', async () => {
    await assert.rejects(StanCluster.start({ port: 4222, proxied: true }), InvalidArgumentError);
    await assert.rejects(StanCluster.start({ port: 65_000 }), /'port' must be a whole number from 1 to 61533/);
  });
});
