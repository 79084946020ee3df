/** `pub`, `sub`, `tail`, `channels`, `channel` and `doctor`, run as a user does, at one real server that asks for a password. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ResilientStan } from '../../src/index.js';
import { StanCluster } from '../../src/testing/index.js';
import { until } from '../support/clients.js';
import { COMMAND } from '../support/built-command.js';
import { runCommand, startCommand } from '../support/command.js';

interface Line {
  channel: string;
  sequence: number;
  timestamp: string;
  redelivered: boolean;
  data?: string;
  dataBase64?: string;
}

describe('commands at a server', function () {
  this.timeout(120_000);
  let cluster: StanCluster;
  let env: NodeJS.ProcessEnv;
  let stan: ResilientStan;
  before(async () => {
    cluster = await StanCluster.start({ mode: 'single', store: 'memory', auth: { user: 'me', pass: 'p w' } });
    env = {
      STAN_SERVERS: cluster.urls[0],
      STAN_USER: 'me',
      STAN_PASS: 'p w',
      STAN_MONITOR: cluster.nodes[0]!.monitor.url,
    };
    stan = await ResilientStan.connect(cluster.urls, cluster.connectOptions);
  });
  after(async () => {
    await stan?.close();
    await cluster?.stop();
  });

  const run = (args: string[], input?: string | Uint8Array) => runCommand(args, { env, ...(input && { input }) });
  const json = (text: string): Line[] =>
    text
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Line);
  const stored = async (channel: string): Promise<Line[]> =>
    json((await run(['sub', channel, '--first', '--no-follow', '--json'])).stdout);
  const lastSequence = async (channel: string) => (await cluster.nodes[0]!.monitor.channelz(channel))?.last_seq;
  const subscribers = async (channel: string) =>
    (await cluster.nodes[0]!.monitor.channelz(channel))?.subscriptions ?? [];
  const subscribed = (channel: string) =>
    until(
      async () => (await subscribers(channel)).some((sub) => !sub.is_offline),
      () => `nobody subscribed to ${channel}`,
    );

  it('pub: an argument, bytes of stdin as one message, and lines in their order', async () => {
    const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
    const one = await run(['pub', 'mixed', 'grüß dich']);
    assert.deepEqual([one.code, one.stdout], [0, '']);
    assert.match(one.stderr, /1 message acknowledged on 'mixed' \(11 bytes\)/);
    assert.equal((await run(['pub', 'mixed', '-'], bytes)).code, 0);
    const lines = await run(['pub', 'mixed', '--lines'], 'a\r\n\nb\nlast');
    assert.match(lines.stderr, /4 messages acknowledged/);
    assert.equal((await run(['pub', 'mixed', '--', '-5'])).code, 0);
    const found = await stored('mixed');
    assert.deepEqual(
      found.map(({ data, dataBase64 }) => data ?? dataBase64),
      ['grüß dich', Buffer.from(bytes).toString('base64'), 'a', '', 'b', 'last', '-5'],
    );
    assert.deepEqual(found[1], {
      channel: 'mixed',
      sequence: 2,
      timestamp: found[1]!.timestamp,
      redelivered: false,
      dataBase64: Buffer.from(bytes).toString('base64'),
    });
    assert.equal(new Date(found[1].timestamp).toISOString(), found[1].timestamp);
  });

  it('pub: what cannot be published is exit code 1, and says what is known of it', async () => {
    const { code, stderr } = await run(['pub', 'large'], Buffer.alloc(2 * 1024 * 1024));
    assert.equal(code, 1);
    assert.match(stderr, /max_payload/);
    const lines = await run(['pub', 'large', '--lines'], `a\n${'x'.repeat(2 * 1024 * 1024)}\nb\n`);
    assert.equal(lines.code, 1);
    assert.match(lines.stderr, /message 2: .*max_payload/);
    assert.deepEqual(
      (await stored('large')).map(({ data }) => data),
      ['a'],
      'nothing after the one that failed',
    );
  });

  it('pub: an empty stdin is refused, and an empty argument is an empty message', async () => {
    for (const data of [[], ['-']]) {
      const { code, stderr } = await run(['pub', 'empty', ...data], '');
      assert.equal(code, 1);
      assert.match(stderr, /stdin was empty, and nothing is published/);
    }
    assert.match((await run(['pub', 'empty', '--lines'], '')).stderr, /^0 messages acknowledged/);
    assert.equal((await run(['pub', 'empty', ''])).code, 0);
    assert.deepEqual((await stored('empty')).map(({ data }) => data), ['']); // prettier-ignore
  });

  it('pub: interrupted while it reads, it keeps what it has read, and takes no half of a line for a whole one', async () => {
    const { child, closed } = startCommand(['pub', 'halves', '--lines'], { env });
    child.stdin.write('whole\nha');
    await until(
      async () => (await lastSequence('halves')) === 1,
      () => 'the first line did not come',
    );
    child.kill('SIGINT');
    const { code, stderr } = await closed;
    assert.equal(code, 130, stderr);
    assert.match(stderr, /1 message acknowledged/);
    assert.deepEqual(
      (await stored('halves')).map(({ data }) => data),
      ['whole'],
    );
  });

  describe('sub', () => {
    before(async () => {
      for (let n = 1; n <= 20; n++) await stan.publish('twenty', `message ${n}`);
      await stan.publish('bytes', Uint8Array.of(0, 255, 10, 13));
      await stan.publish('evil', 'a\u001b[31mb\nc');
    });
    const sequences = async (...args: string[]) => {
      const { code, stdout, stderr } = await run(['sub', 'twenty', '--json', ...args]);
      assert.equal(code, 0, stderr);
      return json(stdout).map(({ sequence }) => sequence);
    };

    it('starts where it is asked to', async () => {
      assert.deepEqual(await sequences('--first', '--count', '2'), [1, 2]);
      assert.deepEqual(await sequences('--sequence', '19', '--no-follow'), [19, 20]);
      assert.deepEqual(await sequences('--last', '3', '--no-follow'), [18, 19, 20]);
      assert.deepEqual(await sequences('-n', '100', '--count', '1'), [1]);
      assert.equal((await sequences('--since', '1h', '--no-follow')).length, 20);
      assert.deepEqual(await sequences('--since', '2001-01-01', '--count', '1'), [1]);
    });

    it('--no-follow ends where nothing is left to read', async () => {
      assert.deepEqual(await sequences('--sequence', '999', '--no-follow'), []);
      assert.deepEqual(await sequences('--since', '2999-01-01', '--no-follow'), []);
      assert.deepEqual(await sequences('--no-follow'), []);
      const durable = ['--durable', 'all', '--client-id', 'reader', '--first', '--no-follow'];
      assert.equal((await sequences(...durable)).length, 20);
      assert.deepEqual(await sequences(...durable), []);
    });

    it('a disk that is full is a failure', async function () {
      if (process.platform !== 'linux') this.skip();
      const full = await open('/dev/full', 'w');
      try {
        for (const args of [['sub', 'twenty', '--first', '--no-follow'], ['--version']]) {
          const child = spawn(process.execPath, [COMMAND, ...args], {
            env: { ...process.env, ...env },
            stdio: ['ignore', full.fd, 'ignore'],
          });
          assert.deepEqual(await once(child, 'exit'), [1, null], args.join(' '));
        }
      } finally {
        await full.close();
      }
    });

    it('tail shows the last ten, and what comes', async () => {
      const { child, said, closed } = startCommand(['tail', 'twenty', '--json'], { env });
      await until(
        () => json(said.stdout).length === 10,
        () => said.stdout + said.stderr,
      );
      assert.deepEqual(
        json(said.stdout).map(({ sequence }) => sequence),
        [11, 12, 13, 14, 15, 16, 17, 18, 19, 20],
      );
      await stan.publish('twenty', 'message 21');
      await until(
        () => json(said.stdout).at(-1)?.sequence === 21,
        () => said.stdout,
      );
      child.kill('SIGINT');
      assert.equal((await closed).code, 0);
    });

    it('writes the bytes as they are with --raw, and with a line end with --lines', async () => {
      for (const [format, end] of [
        ['--raw', []],
        ['--lines', [10]],
      ] as const) {
        const { child, closed } = startCommand(['sub', 'bytes', '--first', '--count', '1', format], { env });
        const chunks: Buffer[] = [];
        child.stdout.removeAllListeners('data');
        child.stdout.setEncoding('latin1').on('data', (text: string) => chunks.push(Buffer.from(text, 'latin1')));
        await closed;
        assert.deepEqual([...Buffer.concat(chunks)], [0, 255, 10, 13, ...end]);
      }
    });

    it('gives a terminal nothing that it would obey, and one line for each message', async () => {
      const { stdout } = await run(['sub', 'evil', '--first', '--no-follow']);
      assert.match(stdout, /^#1 {2}\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} {2}a\\u001b\[31mb\\nc\n$/);
      const bytes = await run(['sub', 'bytes', '--first', '--no-follow']);
      assert.match(bytes.stdout, /\(4 bytes, no text: 00 ff 0a 0d\)\n$/);
    });

    it('Ctrl-C closes it in good order: the durable is kept, and goes on behind what was written', async () => {
      const durable = ['sub', 'twenty', '--json', '--durable', 'd', '--client-id', 'c', '--first'];
      const first = await run([...durable, '--count', '3']);
      assert.deepEqual(
        json(first.stdout).map(({ sequence }) => sequence),
        [1, 2, 3],
      );
      const { child, said, closed } = startCommand(durable, { env });
      const newest = await lastSequence('twenty');
      await until(
        () => json(said.stdout).at(-1)?.sequence === newest,
        () => said.stdout + said.stderr,
      );
      assert.equal(json(said.stdout)[0]?.sequence, 4);
      child.kill('SIGINT');
      assert.equal((await closed).code, 0);
      const kept = (await subscribers('twenty')).find(({ durable_name: name }) => name === 'd');
      assert.deepEqual([kept?.durable_name, kept?.is_offline, kept?.pending_count], ['d', true, 0]);
      assert.equal(
        (await cluster.nodes[0]!.monitor.clientsz())?.clients.some(({ id }) => id === 'c'),
        false,
      );
    });

    it('members of a group share the messages', async () => {
      const { child, closed } = startCommand(['sub', 'shared', '--json', '--group', 'g', '--count', '1'], { env });
      await subscribed('shared');
      await stan.publish('shared', 'once');
      assert.deepEqual(
        json((await closed).stdout).map(({ data }) => data),
        ['once'],
      );
      assert.equal(child.exitCode, 0);
    });

    it('ends quietly when nobody reads what it writes', async () => {
      for (let n = 0; n < 2000; n++) void stan.publish('much', 'x'.repeat(200));
      await stan.flush();
      const { child, closed } = startCommand(['sub', 'much', '--first'], { env });
      child.stdout.once('data', () => child.stdout.destroy());
      const { code, stderr } = await closed;
      assert.deepEqual([code, stderr], [0, '']);
    });

    it('a client ID that is in use is told at once', async () => {
      await using held = await ResilientStan.connect(cluster.urls, { ...cluster.connectOptions, clientId: 'held' });
      const { code, stderr } = await run(['sub', 'twenty', '--client-id', held.clientId]);
      assert.equal(code, 1);
      assert.match(stderr, /client ID 'held' is held by another live client/);
    });
  });

  describe('channels and channel', () => {
    before(async () => {
      for (let n = 0; n < 5; n++) await stan.publish('queue', 'x');
      await using other = await ResilientStan.connect(cluster.urls, { ...cluster.connectOptions, clientId: 'worker' });
      await other.subscribe('queue', () => undefined, { durableName: 'left', startAt: 'first' });
      await until(
        async () => (await subscribers('queue'))[0]?.pending_count === 0,
        () => 'it is behind',
      );
      await other.close();
      await stan.publish('queue', 'y');
    });

    it('show messages, durables, who is offline and how far behind', async () => {
      const { code, stdout } = await run(['channels', '--json']);
      assert.equal(code, 0);
      const [queue] = (
        stdout
          .split('\n')
          .filter(Boolean)
          .map((line) => JSON.parse(line) as object) as { channel: string }[]
      ).filter(({ channel }) => channel === 'queue');
      assert.deepEqual(queue, {
        ...queue,
        messages: 6,
        first: 1,
        last: 6,
        lag: 1,
        durables: 1,
        offline: 1,
        subscriptions: [
          {
            name: 'left',
            kind: 'durable',
            clients: ['worker'],
            durable: 'left',
            offline: true,
            stalled: false,
            lastSent: 5,
            pending: 0,
            lag: 1,
          },
        ],
      });
      const table = await run(['channels']);
      assert.match(table.stdout, /^ {2}channel +messages +bytes +first +last +subs +durables +offline +lag\n/);
      assert.match(table.stdout, /^ {2}queue +6 +\S+ B +1 +6 +1 +1 +1 +1$/m);
      assert.doesNotMatch(table.stdout, /\u001b/, 'no colours where there is no terminal');
    });

    it('show each subscription of one channel', async () => {
      const { code, stdout } = await run(['channel', 'queue']);
      assert.equal(code, 0);
      assert.match(stdout, /^queue: 6 messages \(.*\), numbers 1 to 6\n/);
      assert.match(stdout, /^ {2}left +durable +offline +5 +0 +1 +worker$/m);
    });

    it('a channel that is not there, and a port where nobody answers', async () => {
      const missing = await run(['channel', 'queu']);
      assert.equal(missing.code, 1);
      assert.match(missing.stderr, /no channel 'queu' .*did you mean 'queue'/);
      const nobody = await run(['channels', '--monitor', 'http://127.0.0.1:1']);
      assert.equal(nobody.code, 1);
      assert.match(nobody.stderr, /http:\/\/127\.0\.0\.1:1: connection refused/);
      const noMonitor = await run(['channels', '--monitor', cluster.urls[0]!.replace('nats:', 'http:')]);
      assert.equal(noMonitor.code, 1);
    });
  });

  describe('doctor', () => {
    it('all is well', async () => {
      const { code, stdout } = await run(['doctor']);
      assert.equal(code, 0, stdout);
      assert.match(stdout, /credentials: user and password \(STAN_USER\)/);
      for (const word of [
        'reachable',
        'no TLS',
        'credentials are accepted',
        '1048576',
        'round trip',
        'leader',
        'registered',
      ]) {
        assert.ok(stdout.includes(word), word);
      }
      assert.doesNotMatch(stdout, /✗|p w/);
    });

    for (const [what, args, ...words] of [
      ['a server that is down', ['--servers', 'nats://127.0.0.1:1'], /✗ not usable: connection refused/],
      ['wrong credentials', ['--pass', 'wrong', '--user', 'me'], /✗ the credentials are refused/, /--token/],
      ['a wrong cluster ID', ['-c', 'other', '--timeout', '1s'], /✗ no leader of cluster 'other'/, /--cluster-id/],
      ['TLS that is not there', ['--tls'], /✗ it does not offer TLS/],
    ] as [string, string[], ...RegExp[]][]) {
      it(`${what}: exit code 1, and how to mend it`, async () => {
        const { code, stdout } = await run(['doctor', ...args]);
        assert.equal(code, 1, stdout);
        for (const word of words) assert.match(stdout, word);
      });
    }

    it('a reader that has gone is no failure, and no stack trace', async () => {
      const { child, closed } = startCommand(['doctor'], { env });
      child.stdout.destroy();
      const { code, stderr } = await closed;
      assert.deepEqual([code, stderr], [0, '']);
    });

    it('something else than a NATS server', async () => {
      const monitor = cluster.nodes[0]!.monitor.url.replace('http:', 'nats:');
      const { code, stdout } = await run(['doctor', '--servers', monitor, '--timeout', '300ms']);
      assert.equal(code, 1);
      assert.match(stdout, /✗ no greeting within 300 ms/);
    });
  });

  it('credentials come from a file as well, and no message shows them', async () => {
    const cwd = await mkdtemp(join(tmpdir(), 'resilient-stan-test-'));
    try {
      const file = { servers: cluster.urls, user: 'me', pass: 'p w' };
      await writeFile(join(cwd, '.resilient-stan.json'), JSON.stringify(file));
      const good = await runCommand(['pub', 'from-file', 'x'], { cwd });
      assert.equal(good.code, 0, good.stderr);
      assert.match(good.stderr, /settings: .*\.resilient-stan\.json/);
      await writeFile(join(cwd, 'other.json'), JSON.stringify({ ...file, pass: 'geheim' }));
      const refused = await runCommand(['pub', 'from-file', 'x', '--config', 'other.json'], { cwd });
      assert.equal(refused.code, 1);
      assert.match(refused.stderr, /refused the credentials/);
      assert.match(refused.stderr, /resilient-stan doctor/);
      assert.doesNotMatch(refused.stderr, /geheim/);
    } finally {
      await rm(cwd, { recursive: true });
    }
  });
});

describe('resilient-stan cluster', function () {
  this.timeout(60_000);

  it('uses the port that it is given, says who has died, and ends when nothing is left', async () => {
    // With those 2000 and 4000 above, it is below the ports that the harness chooses from.
    const port = 10_000 + (process.pid % 4000);
    const { said, closed } = startCommand(['cluster', '--nodes', '1', '--mode', 'single', '--port', String(port)]);
    await until(
      () => said.stderr.includes('Ctrl-C stops it.'),
      () => said.stderr,
    );
    assert.equal(said.stdout, `nats://127.0.0.1:${port}\n`);
    assert.match(said.stderr, new RegExp(`monitoring http://127.0.0.1:${port + 4000}`));
    const channels = await runCommand(['channels'], { env: { STAN_SERVERS: `nats://127.0.0.1:${port}` } });
    assert.deepEqual([channels.code, channels.stdout], [0, ''], channels.stderr);
    const taken = await runCommand(['cluster', '--nodes', '1', '--mode', 'single', '--port', String(port)]);
    assert.equal(taken.code, 1);
    assert.match(taken.stderr, new RegExp(`port ${port} on 127.0.0.1 is taken`));
    process.kill(Number(/kill -9 (\d+)/.exec(said.stderr)![1]), 'SIGKILL');
    const { code, stderr } = await closed;
    assert.equal(code, 1);
    assert.match(stderr, /a has died \(SIGKILL\): 0 servers of 1 left\nall servers have died/);
  });

  for (const [what, shell] of [
    ['the process that started it is killed', false],
    ['the package runner is killed, and its shell is not', true],
  ] as const) {
    it(`ends when ${what}`, async () => {
      const args = [COMMAND, 'cluster', '--nodes', '1', '--mode', 'single'];
      const words = [process.execPath, ...args].map((word) => `'${word}'`).join(' ');
      // A second command keeps the shell.
      const child = shell ? ['/bin/sh', ['-c', `${words}; true`]] : [process.execPath, args];
      const script = `require('node:child_process').spawn(...${JSON.stringify(child)}, { stdio: 'inherit' });`;
      const env = { ...process.env, ...(shell && { npm_config_user_agent: 'npm' }) };
      const parent = spawn(process.execPath, ['-e', script], { stdio: 'pipe', env });
      let err = '';
      parent.stderr.on('data', (data: Buffer) => (err += data.toString()));
      await until(
        () => err.includes('Ctrl-C stops it.'),
        () => err,
      );
      const server = Number(/kill -9 (\d+)/.exec(err)![1]);
      parent.kill('SIGKILL');
      // The command has the output of its parent, which ends when both have.
      await Promise.all([once(parent, 'close'), until(() => !exists(server), `server ${server} is still there`)]);
    });
  }
});

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
