import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { UsageError } from '../../src/cli/usage.js';
import { verifyCommand } from '../../src/cli/verify/verify.js';
import { FAULT_KINDS, StanCluster, waitFor, type ReportData } from '../../src/testing/index.js';
import { until } from '../support/clients.js';
import { startCommand } from '../support/command.js';

/** A file, where something else is needed. */
const FILE = fileURLToPath(import.meta.url);

describe('resilient-stan verify', function () {
  this.timeout(180_000);
  let dir: string;
  let temporary: string;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'resilient-stan-test-'));
    // What it leaves behind is seen here.
    temporary = join(dir, 'tmp');
    await mkdir(temporary);
  });
  after(() => rm(dir, { recursive: true, force: true }));

  const start = (args: string[], env: NodeJS.ProcessEnv = {}, options: { detached?: boolean } = {}) => {
    const started = startCommand(['verify', ...args], { env: { TMPDIR: temporary, ...env }, ...options });
    started.child.stdin.end();
    return started;
  };
  const run = (args: string[], env?: NodeJS.ProcessEnv) => start(args, env).closed;
  const reportIn = async (out: string) => JSON.parse(await readFile(join(out, 'report.json'), 'utf8')) as ReportData;

  /** Returns the command lines that name the directory. That of a server names its configuration, which is there. */
  async function commandsLeft(): Promise<string[]> {
    const commands = await Promise.all(
      (await readdir('/proc'))
        .filter((name) => /^\d+$/.test(name))
        .map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')),
    );
    return commands.filter((command) => command.includes(temporary));
  }

  /** Neither servers nor files are left. */
  async function assertNothingLeft(): Promise<void> {
    const left = (await readdir(temporary)).filter((name) => name.startsWith('resilient-stan-'));
    assert.deepEqual(left, []);
    if (process.platform !== 'linux') return;
    // The process that looks after servers of a dead parent ends itself when its parent has ended.
    let commands: string[] = [];
    await until(
      async () => (commands = await commandsLeft()).length === 0,
      () => `still running: ${commands.join(', ')}`,
    );
  }

  describe('a wrong command line', () => {
    for (const [args, ...words] of [
      [['x'], "'verify' takes options only, not 'x'"],
      [['--minuts', '2'], "did you mean '--minutes'?"],
      [['--minutes', 'two'], "--minutes must be a number, not 'two'"],
      [['--minutes', '0'], '--minutes must be more than 0'],
      [['--faults', 'kill,puase'], "no fault 'puase'", "did you mean 'pause'?"],
      [['--faults', 'earthquake'], 'there are: kill, stop'],
      [['--ordering', 'strikt'], "did you mean 'strict'?"],
      [['--mode', 'single', '--faults', 'wipe'], 'not possible in single mode'],
      [['--servers', 'nats://127.0.0.1:1', '--faults', 'kill'], 'they are left alone'],
      [['--servers', 'http://127.0.0.1:1'], 'http'],
      [['--client', '/nowhere.mjs'], 'cannot be loaded'],
      [['--faults', ''], '--faults is empty'],
    ] as [string[], ...string[]][]) {
      it(`'${args.join(' ')}': exit code 2, and nothing is started`, async () => {
        const { code, stdout, stderr } = await run(args);
        assert.equal(code, 2, stderr);
        assert.equal(stdout, '');
        for (const word of words) assert.ok(stderr.includes(word), `'${word}' is not in: ${stderr}`);
      });
    }
  });

  it('a wrong value is refused with what is allowed, before anything is started', async () => {
    for (const [args, ...words] of [
      [['--faults', ','], '--faults has an empty name', 'give none, or kinds', 'client-replace'],
      [['--faults', 'none,kill'], "'none' beside others"],
      [['--minutes', '1e99'], '--minutes must be more than 0 and at most 28800'],
      [['--minutes', 'NaN'], "not 'NaN': more than 0, at most 28800"],
      [['--fault-seconds=-1'], '--fault-seconds must be more than 0 and at most 3600'],
      [['--rate=-5'], '--rate must be a whole number of messages a second from 1 to 20000, not -5'],
      [['--rate', 'fast'], "from 1 to 20000, not 'fast'"],
      [['--seed', '1.5'], '--seed must be a whole number from 0 to 4294967295'],
      [['--count', '0'], '--count must be a whole number of faults, 1 or more'],
      [['--raft-timeout', '9999999'], '--raft-timeout must be', 'from 20 to 60000'],
      [['--out', FILE], '--out must be a directory that can be written', 'there is a file'],
      [['--out', join(FILE, 'x')], `'${FILE}' is a file`],
      [['--svg', dirname(FILE)], '--svg must be a file that can be written', 'there is a directory'],
      [['--user', 'x'], '--user goes with --servers'],
      [['--servers', 'nats://127.0.0.1:1', '--user', 'x'], '--user needs --pass'],
    ] as [string[], ...string[]][]) {
      await assert.rejects(verifyCommand.run(args), (error: Error) => {
        assert.ok(error instanceof UsageError, String(error.stack));
        for (const word of words) assert.ok(error.message.includes(word), `'${word}' is not in: ${error.message}`);
        return true;
      });
    }
  });

  describe('when there is no cluster', () => {
    /** Says it is the right server, and then only this. */
    async function server(name: string, line: string): Promise<string> {
      const file = join(dir, name);
      const script = `#!/bin/sh\n[ "$1" = --version ] && echo 'nats-streaming-server version 0.25.6, nats-server version 2.9.24' && exit\necho '${line}'\nexit 1\n`;
      await writeFile(file, script);
      await chmod(file, 0o755);
      return file;
    }

    it('no server binary: how to mend it', async () => {
      const { code, stderr } = await run(['--count', '1'], { RESILIENT_STAN_SERVER: '/does/not/exist' });
      assert.equal(code, 1);
      assert.match(stderr, /RESILIENT_STAN_SERVER.*\/does\/not\/exist/s);
    });

    it('a configuration that the server refuses: its own words', async () => {
      const file = await server(
        'refusing',
        '[1] 2024/01/01 00:00:00.000000 [FTL] STREAM: Failed to start: no such luck',
      );
      const { code, stderr } = await run(['--count', '1', '--out', join(dir, 'refused')], {
        RESILIENT_STAN_SERVER: file,
      });
      assert.equal(code, 1);
      assert.match(
        stderr,
        /did not start: the server refused to run\. The server says: STREAM: Failed to start: no such luck/,
      );
      await assertNothingLeft();
    });

    it('ports that are taken, whichever are tried: which one', async () => {
      const taken =
        '[1] 2024/01/01 00:00:00.000000 [FTL] Error listening on port: listen tcp 127.0.0.1:4222: bind: address already in use';
      const { code, stderr } = await run(['--count', '1'], { RESILIENT_STAN_SERVER: await server('late', taken) });
      assert.equal(code, 1);
      assert.match(stderr, /somebody else listens on 127\.0\.0\.1:4222/);
      await assertNothingLeft();
    });
  });

  describe('servers of your own', () => {
    let secured: StanCluster;
    let ca: string;
    before(async () => {
      const [auth, tls] = [{ user: 'me', pass: 'right' }, true];
      secured = await StanCluster.start({ mode: 'single', store: 'memory', clusterId: 'mine', auth, tls });
      ca = join(dir, 'ca.pem');
      await writeFile(ca, secured.connectOptions.tls!.ca);
    });
    after(() => secured.stop());
    const at = (...args: string[]) => ['--servers', secured.urls.join(','), '--out', join(dir, 'secured'), ...args];

    for (const [what, args, ...words] of [
      [
        'a dead port',
        () => ['--servers', 'nats://127.0.0.1:1'],
        '127.0.0.1:1 (connection refused',
        'is the URL right?',
      ],
      ['no certificate of the authority', () => at('--cluster-id', 'mine'), 'its certificate is not trusted'],
      ['no credentials', () => at('--tls-ca', ca), 'the credentials were refused', 'Authorization Violation'],
      ['wrong ones', () => at('--tls-ca', ca, '--user', 'me', '--pass', 'wrong'), 'the credentials were refused'],
    ] as [string, () => string[], ...string[]][]) {
      it(`${what}: it says so, and exits with 1 before it starts anything`, async () => {
        const { code, stderr } = await run(args());
        assert.equal(code, 1, stderr);
        for (const word of words) assert.ok(stderr.includes(word), `'${word}' is not in: ${stderr}`);
        assert.ok(!stderr.includes('connecting the clients') && !stderr.includes('wrong'), stderr);
        assert.ok(!existsSync(join(dir, 'secured')));
        await assertNothingLeft();
      });
    }

    it('a cluster ID that nobody answers to: it says so while it still waits for a leader, and Ctrl-C ends that', async () => {
      const credentials = { STAN_USER: 'me', STAN_PASS: 'right' };
      const { child, closed } = start(at('--tls-ca', ca, '--cluster-id', 'yours'), credentials);
      const lines = createInterface(child.stderr);
      for await (const line of lines) if (line.includes("no leader of cluster 'yours'")) break;
      child.kill('SIGINT');
      const { code, stderr } = await closed;
      assert.equal(code, 130);
      assert.match(stderr, /is the cluster ID right\?/);
      await assertNothingLeft();
    });

    it('with credentials and TLS from options and the environment: clean, and no secret in what is written', async () => {
      const credentials = { STAN_USER: 'me', STAN_PASS: 'right' };
      const args = at('--tls-ca', ca, '--cluster-id', 'mine', '--minutes', '0.04');
      const { code, stdout, stderr } = await run(args, credentials);
      assert.equal(code, 0, stdout + stderr);
      const data = await reportIn(join(dir, 'secured'));
      assert.ok(data.verdict.publishers.every(({ acknowledged }) => acknowledged > 50));
      assert.doesNotMatch(JSON.stringify(data) + stdout + stderr, /right|BEGIN/);
      assert.deepEqual((await readdir(join(dir, 'secured'))).sort(), ['report.html', 'report.json']);
    });

    it('are left alone', async () => {
      const out = join(dir, 'own');
      await using cluster = await StanCluster.start({ mode: 'single', clusterId: 'mine' });
      const args = ['--servers', cluster.urls.join(','), '--cluster-id', 'mine', '--minutes', '0.04', '--out', out];
      const { code, stdout, stderr } = await run(args);
      assert.equal(code, 0, stdout + stderr);
      const data = await reportIn(out);
      assert.deepEqual([data.faults, data.leaders, data.settings.servers], [[], [], cluster.urls]);
      assert.ok(data.verdict.publishers.every(({ acknowledged }) => acknowledged > 50));
      assert.deepEqual(cluster.nodes.map(({ lives, running }) => [lives, running]), [[1, true]]); // prettier-ignore
    });
  });

  for (const ordering of ['strict', 'pipelined']) {
    it(`every kind of fault once, ${ordering}: clean, and told in plain lines and reports`, async () => {
      const out = join(dir, ordering);
      const svg = join(out, 'deep', 'picture.svg');
      const { code, stdout, stderr } = await run([
        ...['--seed', '7', '--ordering', ordering, '--count', String(FAULT_KINDS.length), '--fault-seconds', '1.2'],
        ...['--out', out, '--svg', svg],
      ]);
      assert.equal(code, 0, stdout + stderr);
      const data = await reportIn(out);
      assert.deepEqual(data.faults.map(({ kind }) => kind).sort(), [...FAULT_KINDS].sort());
      assert.deepEqual(data.verdict.violations, []);
      assert.ok(data.verdict.publishers.every(({ acknowledged }) => acknowledged > 100));
      assert.ok(data.faults.every(({ toNextAck }) => toNextAck !== undefined));
      // Plain lines: no terminal.
      assert.doesNotMatch(stdout + stderr, /\u001b/);
      for (const words of ['⚡ full-outage of all', '✓ wipe is over', ' acknowledged (']) {
        assert.ok(stderr.includes(words), `'${words}' is not in ${stderr}`);
      }
      assert.match(stdout, /^✓ Clean {2}[\d\u202f]+ messages acknowledged through 16 faults: none lost/);
      assert.ok(stdout.includes(`again:  ${data.replay}`));
      assert.match(data.replay, new RegExp(`verify --seed 7 --count 16 --ordering ${ordering} --fault-seconds 1.2$`));
      assert.match(await readFile(join(out, 'report.html'), 'utf8'), /✓ Clean/);
      assert.match(await readFile(svg, 'utf8'), /^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg"/);
      assert.ok(!existsSync(join(out, 'logs')), 'nobody needs the logs of a clean run');
      await assertNothingLeft();
    });
  }

  it('fault-tolerant mode: the active node killed and stopped', async () => {
    const out = join(dir, 'ft');
    const args = ['--mode', 'fault-tolerant', '--faults', 'kill,stop', '--count', '2', '--fault-seconds', '1'];
    const { code, stdout, stderr } = await run([...args, '--seed', '1', '--out', out]);
    assert.equal(code, 0, stdout + stderr);
    assert.deepEqual((await reportIn(out)).settings.cluster, { mode: 'fault-tolerant', nodes: 2 });
  });

  it('killed while one of its clients is frozen, it leaves nobody behind', async function () {
    if (process.platform !== 'linux') this.skip();
    const args = ['--seed', '1', '--faults', 'client-pause', '--fault-seconds', '60', '--mode', 'single'];
    const { child, closed } = start([...args, '--out', join(dir, 'killed')]);
    const lines = createInterface(child.stderr);
    for await (const line of lines) if (line.includes('⚡')) break;
    const stat = (pid: string) => readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
    /** After the name in parentheses: the state, and whose child it is. */
    const fieldsOf = async (pid: string) => (await stat(pid)).replace(/^.*\) /, '').split(' ');
    const clients: string[] = [];
    for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
      const [, parent] = await fieldsOf(pid);
      const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
      if (parent === String(child.pid) && command.includes('/worker.js')) clients.push(pid);
    }
    assert.equal(clients.length, 5);
    const states = async () => Promise.all(clients.map(async (pid) => (await fieldsOf(pid))[0] ?? ''));
    await waitFor(async () => ((await states()).includes('T') ? true : undefined), {
      timeout: 10_000,
      what: () => 'no client is frozen',
    });
    child.kill('SIGKILL');
    await closed;
    // Z: it is dead, and whoever inherited it has not looked yet.
    await waitFor(async () => ((await states()).every((state) => state === '' || state === 'Z') ? true : undefined), {
      timeout: 20_000,
      what: () => `clients are left: ${clients.join(', ')}`,
    });
  });

  it('Ctrl-C in the middle of a fault: the partial report, exit code 130, and nothing is left', async () => {
    const out = join(dir, 'interrupted');
    const { child, closed } = start(['--seed', '3', '--faults', 'kill', '--fault-seconds', '60', '--out', out]);
    const lines = createInterface(child.stderr);
    for await (const line of lines) if (line.includes('⚡')) break;
    child.kill('SIGINT');
    const { code, stdout } = await closed;
    assert.equal(code, 130, stdout);
    const data = await reportIn(out);
    assert.equal(data.end, 'interrupted');
    assert.equal(data.faults.length, 1);
    assert.match(stdout, /^✗ Interrupted/);
    assert.match(await readFile(join(out, 'report.html'), 'utf8'), /✗ Interrupted/);
    assert.ok(existsSync(join(out, 'logs', 'test-cluster-a.log')));
    await assertNothingLeft();
  });

  describe('Ctrl-C in a terminal, which signals the whole group', () => {
    /** Ends when the command has: with its exit code, what it said, and its report if there is one. */
    async function interruptedAt(word: string, delay: number) {
      const out = join(dir, `group-${word.length}-${delay}`);
      const args = [
        '--mode',
        'single',
        '--seed',
        '2',
        '--faults',
        'client-kill',
        '--fault-seconds',
        '0.5',
        '--out',
        out,
      ];
      const { child, said, closed } = start(args, {}, { detached: true });
      for await (const line of createInterface(child.stderr)) if (line.includes(word)) break;
      // What was just started then is in its first moments, with no handler of its own.
      await new Promise((resolve) => setTimeout(resolve, delay));
      process.kill(-child.pid!, 'SIGINT');
      // npx sends on what the terminal has sent already. It is the same Ctrl-C, and is sent as soon as the first one was heard.
      await until(
        () => said.stderr.includes('Ctrl-C again'),
        () => said.stderr,
      );
      if (child.exitCode === null) child.kill('SIGINT');
      const { code, stderr } = await closed;
      return { code, stderr, data: existsSync(join(out, 'report.json')) ? await reportIn(out) : undefined };
    }

    for (const [word, delay] of [
      ['connecting the clients', 20],
      ['connecting the clients', 300],
      ['⚡ client-kill', 60],
      ['⚡ client-kill', 300],
    ] as const) {
      it(`${delay} ms after '${word}': nobody dies of it, and no loss is reported`, async () => {
        const { code, stderr, data } = await interruptedAt(word, delay);
        assert.equal(code, 130, stderr);
        assert.match(stderr, /Ctrl-C again ends it at once/);
        assert.doesNotMatch(stderr, / died|SIGINT/);
        if (word === '⚡ client-kill') assert.ok(data, stderr);
        assert.deepEqual([data?.verdict.violations ?? [], data?.incidents ?? [], data?.failure], [[], [], undefined]);
        await assertNothingLeft();
      });
    }
  });
});
