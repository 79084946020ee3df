/** Where a command takes servers and credentials from, and how values of the command line are read. Pure, but for files. */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { parse } from '../../src/cli/command.js';
import { COMMANDS } from '../../src/cli/commands.js';
import { readConnection } from '../../src/cli/connection-options.js';
import { linesOf } from '../../src/cli/lines.js';
import { formatMessage } from '../../src/cli/message-format.js';
import { parseMonitors } from '../../src/cli/monitoring.js';
import { UsageError } from '../../src/cli/usage.js';
import { parseLength } from '../../src/cli/values.js';

describe('the settings of a command', () => {
  let dir: string;
  let cwd: string;
  let home: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'resilient-stan-test-'));
    [cwd, home] = [join(dir, 'cwd'), join(dir, 'home')];
    await Promise.all([mkdir(cwd), mkdir(home)]);
  });
  afterEach(() => rm(dir, { recursive: true }));

  type Given = Parameters<typeof readConnection>[0];
  const read = (values: Given, env: Record<string, string> = {}) => readConnection(values, { env, cwd, home });
  const file = (content: object | string, place = cwd) =>
    writeFile(join(place, '.resilient-stan.json'), typeof content === 'string' ? content : JSON.stringify(content));
  const refused = async (values: Given, env: Record<string, string>, ...words: (string | RegExp)[]) => {
    await assert.rejects(read(values, env), (error: Error) => {
      assert.ok(error instanceof UsageError, String(error));
      for (const word of words) {
        if (typeof word === 'string') assert.ok(error.message.includes(word), `'${word}' is not in: ${error.message}`);
        else assert.match(error.message, word);
      }
      assert.ok(!error.message.includes('geheim'), error.message);
      return true;
    });
  };

  it('are none: the server of this machine, without credentials', async () => {
    const { servers, options, sources } = await read({});
    assert.deepEqual(
      [servers, options, sources],
      [['nats://localhost:4222'], {}, { servers: 'the default', credentials: 'none', file: undefined }],
    );
  });

  it('the command line wins, then STAN_…, then NATS_…, then the file', async () => {
    await file({ servers: ['nats://file:1', 'nats://file:2'], clusterId: 'from-file' });
    assert.deepEqual((await read({})).servers, ['nats://file:1', 'nats://file:2']);
    assert.deepEqual((await read({}, { NATS_URL: 'nats://n' })).servers, ['nats://n']);
    const env = { NATS_URL: 'nats://n', STAN_SERVERS: 'nats://s' };
    assert.deepEqual((await read({}, env)).servers, ['nats://s']);
    const { servers, options } = await read({ servers: 'nats://c' }, env);
    assert.deepEqual([servers, options.clusterId], [['nats://c'], 'from-file']);
    assert.deepEqual(
      (await read({}, { STAN_SERVERS: '' })).servers,
      ['nats://file:1', 'nats://file:2'],
      'empty is none',
    );
  });

  it('the file here hides the one at home, and --config both', async () => {
    await file({ clusterId: 'home' }, home);
    assert.equal((await read({})).options.clusterId, 'home');
    await file({ clusterId: 'here' });
    assert.equal((await read({})).options.clusterId, 'here');
    await writeFile(join(cwd, 'other.json'), '{ "clusterId": "other" }');
    assert.equal((await read({ config: 'other.json' })).options.clusterId, 'other');
    assert.equal((await read({}, { STAN_CONFIG: join(cwd, 'other.json') })).options.clusterId, 'other');
  });

  it('credentials come from one source as a whole, so that two are never mixed', async () => {
    await file({ user: 'u', pass: 'p' });
    assert.deepEqual((await read({})).options, { user: 'u', pass: 'p' });
    assert.deepEqual((await read({}, { STAN_TOKEN: 't', NATS_USER: 'n' })).options, { token: 't' });
    assert.deepEqual((await read({ token: 'c' }, { STAN_USER: 'u' })).options, { token: 'c' });
    // Those in a URL count as of the source of the URL.
    assert.deepEqual((await read({ servers: 'nats://a:b@host' }, { STAN_TOKEN: 't' })).options, {});
    await refused(
      { servers: 'nats://a:geheim@host', token: 'geheim' },
      {},
      '--token cannot be combined with the credentials in the URL',
    );
  });

  it('paths in a file are relative to it, and a seed may stand in a file of its own', async () => {
    const seed = `SU${'A'.repeat(56)}`;
    await mkdir(join(cwd, 'keys'));
    await writeFile(join(cwd, 'keys', 'me.nk'), `# mine\n${seed}\n`);
    await writeFile(join(cwd, 'keys', 'ca.pem'), 'no certificate');
    await writeFile(join(cwd, 'keys', 'settings.json'), JSON.stringify({ nkey: 'me.nk', tls: { ca: 'ca.pem' } }));
    // It is found; that it is no real key is told, and names the place.
    await refused({ config: 'keys/settings.json' }, {}, `'tls.ca' in ${join(cwd, 'keys', 'settings.json')}`, 'not PEM');
    await writeFile(join(cwd, 'keys', 'settings.json'), JSON.stringify({ nkey: 'me.nk' }));
    await refused({ config: 'keys/settings.json' }, {}, "'nkey' in", 'must be the seed of a user NKey');
    await refused({ nkey: 'keys/ca.pem' }, {}, '--nkey names a file without the seed');
    await refused({ nkey: 'nowhere' }, {}, '--nkey names a file that cannot be read');
  });

  it('a wrong one is told with the name of its source, and no secret', async () => {
    await refused({ user: 'u' }, {}, '--user needs --pass');
    await refused({}, { STAN_USER: 'u' }, 'STAN_USER needs STAN_PASS');
    await refused({ token: 'geheim', user: 'u', pass: 'geheim' }, {}, '--token cannot be combined with --user');
    await refused({}, { STAN_CLUSTER_ID: 'a b' }, 'STAN_CLUSTER_ID: ', 'space');
    await refused({}, { NATS_URL: 'http://u:geheim@host' }, 'NATS_URL: ', 'only nats: and tls:');
    await refused({}, { STAN_TLS: 'yes' }, 'STAN_TLS must be 1 or 0');
    await refused({ creds: 'nowhere' }, {}, '--creds', 'cannot be read');
    await refused({ 'tls-ca': 'nowhere' }, {}, '--tls-ca names a file that cannot be read');
    await refused({ config: 'nowhere.json' }, {}, '--config names a file that cannot be read');
    await file({ user: 'u' });
    await refused({}, {}, `'user' in ${join(cwd, '.resilient-stan.json')} needs 'pass' in`);
    await file({ tokn: 'geheim' });
    await refused({}, {}, '.resilient-stan.json', "did you mean 'token'?");
    await file({ token: ['geheim'] });
    await refused({}, {}, "option 'token' must be a string");
    await file('{ "token": "geheim"');
    await refused({}, {}, 'are not JSON');
    await file({ clientId: 'c' });
    await refused({}, {}, '--client-id');
  });
});

describe('values of the command line', () => {
  it('lengths of time', () => {
    for (const [text, expected] of [
      ['500ms', 500],
      ['90s', 90_000],
      ['10m', 600_000],
      ['1h30m', 5_400_000],
      ['1.5h', 5_400_000],
      ['2d', 172_800_000],
      ['10', undefined],
      ['-1s', undefined],
      ['1h 30m', undefined],
      ['m', undefined],
      ['', undefined],
    ] as const) {
      assert.equal(parseLength(text), expected, text);
    }
    fc.assert(
      fc.property(fc.nat(1e6), fc.nat(1e6), (minutes, seconds) => {
        assert.equal(parseLength(`${minutes}m${seconds}s`), minutes * 60_000 + seconds * 1000);
      }),
    );
  });

  it('lines are found whatever the chunks, byte for byte', async () => {
    const line = fc.uint8Array({ maxLength: 20 }).map((bytes) => bytes.filter((byte) => byte !== 10 && byte !== 13));
    await fc.assert(
      fc.asyncProperty(fc.array(line), fc.boolean(), fc.array(fc.nat(40)), async (lines, crlf, cuts) => {
        const all = Buffer.concat(lines.flatMap((each) => [each, Buffer.from(crlf ? '\r\n' : '\n')]));
        const places = [0, ...cuts.map((cut) => cut % (all.length + 1)), all.length].sort((a, b) => a - b);
        async function* chunks() {
          for (let i = 1; i < places.length; i++) yield all.subarray(places[i - 1], places[i]);
        }
        const found: number[][] = [];
        for await (const each of linesOf(chunks())) found.push([...each]);
        assert.deepEqual(
          found,
          lines.map((each) => [...each]),
        );
      }),
    );
  });

  it('a message as JSON has all of its bytes, as text where they are text', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array(),
          fc.string({ unit: 'grapheme' }).map((text) => Buffer.from(text)),
        ),
        (bytes) => {
          const message = {
            channel: 'c',
            sequence: 1,
            timestamp: new Date(0),
            redelivered: false,
            data: Buffer.from(bytes),
          };
          const text = formatMessage(message, 'json') as string;
          assert.match(text, /^[^\n]+\n$/);
          const { data, dataBase64 } = JSON.parse(text) as { data?: string; dataBase64?: string };
          assert.equal(data === undefined, dataBase64 !== undefined);
          assert.deepEqual(
            data === undefined ? Buffer.from(dataBase64!, 'base64') : Buffer.from(data),
            Buffer.from(bytes),
          );
          assert.match(formatMessage(message, 'text') as string, /^[^\p{Cc}]*\n$/u);
        },
      ),
    );
  });

  it('URLs of the monitoring, with and without a page', () => {
    assert.deepEqual(parseMonitors('a:8222, http://b/streaming/serverz,https://c:1/nats/', '--monitor'), [
      'http://a:8222',
      'http://b',
      'https://c:1/nats',
    ]);
    for (const wrong of ['', 'ftp://a', 'http://', 'http://a?x=1']) {
      assert.throws(() => parseMonitors(wrong, '--monitor'), UsageError, wrong);
    }
  });
});

describe('a wrong command line', () => {
  for (const [args, ...words] of [
    [['pub'], "'pub' needs a <channel>"],
    [['pub', 'a b', 'x'], 'a space at character 2'],
    [['pub', 'a', 'b', 'c'], 'nothing more', 'quotes'],
    [['pub', 'a', 'x', '--lines'], '--lines'],
    [['pub', 'a', 'x', '--timeout', 'soon'], "not 'soon'", '10m'],
    [['pub', 'a', 'x', '--server', 'b'], "did you mean '--servers'?"],
    [['pub', 'a', 'x', '--servers', ''], '--servers is empty'],
    [['sub', 'a', '--last', '0'], "--last must be a whole number, 1 or more, not '0'"],
    [['sub', 'a', '--first', '--since', '1m'], '--first and --since'],
    [['sub', 'a', '--since', 'yesterday'], "not 'yesterday'", '2026-01-31'],
    [['sub', 'a', '--json', '--raw'], '--json and --raw'],
    [['sub', 'a', '--durable', 'd'], '--durable needs --client-id'],
    [['sub', 'a', '--durable', 'd:e', '--client-id', 'c'], "--durable 'd:e' has a ':'"],
    [['sub', 'a', '--group', 'g', '--no-follow'], '--no-follow'],
    [['channel'], "'channel' needs a <name>"],
    [['channels', '--monitor', 'ftp://x'], "not 'ftp://x'", 'http://host:8222'],
    [['doctor', '--servers', 'http://x'], 'only nats: and tls:'],
    [['cluster', '--port', '0'], "--port must be a whole number, 1 or more, not '0'"],
    [['sub', 'a', '--last', '1', '--last', '2'], '--last is given more than once', 'write --last <n> once'],
    [['pub', 'a', 'x', '--pass', 'one', '--pass=two'], '--pass is given more than once', 'write --pass <word> once'],
    [['channels', '-m', 'http://a', '-m', ''], '--monitor is empty'],
    [['cluster', '--mode', 'singel'], "did you mean 'single'?"],
  ] as [string[], ...string[]][]) {
    // Nothing is dialled for any of them, so they are run in this process.
    it(`'${args.join(' ')}' is refused`, async () => {
      const command = COMMANDS.find(({ name }) => name === args[0])!;
      await assert.rejects(command.run(args.slice(1)), (error: Error) => {
        assert.ok(error instanceof UsageError, String(error));
        for (const word of words) assert.ok(error.message.includes(word), `'${word}' is not in: ${error.message}`);
        return true;
      });
    });
  }
});

describe('an option that is given more than once', () => {
  for (const command of COMMANDS) {
    it(`of '${command.name}' counts each time if it is a list, and is refused if it has one value`, () => {
      for (const [name, { type, list = false, value = '', help, choices }] of Object.entries(command.options)) {
        if (type === 'boolean' || choices !== undefined) continue;
        assert.equal(list, value === '<urls>' || value === '<list>' || /separated by commas/.test(help), name);
        const positionals = (command.positionals ?? []).map((each) => each.choices?.[0] ?? 'x');
        const read = (): unknown => parse(command, [...positionals, `--${name}`, 'a', `--${name}=b,c`]).values[name];
        if (list) assert.equal(read(), 'a,b,c');
        else
          assert.throws(
            read,
            (error: Error) => error instanceof UsageError && error.message.includes(`--${name} is given`),
          );
      }
    });
  }

  it('is one switch', () => {
    const command = COMMANDS.find(({ name }) => name === 'migrate plan')!;
    assert.deepEqual(parse(command, ['--json', '--json']).values, { json: true });
  });
});
