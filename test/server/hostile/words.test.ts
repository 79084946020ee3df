/**
 * What a server says, and how much of it: a scripted peer, for a real one says little and says it politely. Whatever of it
 * gets into messages, causes and logs is short and has no control characters, and no length of it stops the client.
 */
import assert from 'node:assert/strict';
import { ConnectError, ResilientStan, type ConnectOptions } from '../../../src/index.js';
import { Clients, Recorder, uniqueName, until } from '../../support/clients.js';
import { connectResponse, encode, Peer, type PeerHooks } from '../../support/peer.js';

const LONGEST = 2000;
/** Line ends, a terminal's escapes, a bell, the ones of C1; never both halves of a line end. */
const NASTY = 'evil\rLINE\n\u001b[31mred\u0007\u009b0m ';
const nasty = (length: number): string => NASTY.repeat(Math.ceil(length / NASTY.length)).slice(0, length);
const SIZES = [3000, 1024 * 1024];
/** On one line, as all of NATS is; its bytes are those of Latin-1. */
const errorLine = (text: string): Buffer => Buffer.from(`-ERR '${text.replace(/[\r\n]/g, '')}'\r\n`, 'latin1');

/** Every text that the client has told somebody. */
class Told {
  readonly #texts: { where: string; text: string }[] = [];

  readonly logger = Object.fromEntries(
    ['debug', 'info', 'warn', 'error'].map((level) => [
      level,
      (message: string, details?: unknown) => {
        this.#texts.push({ where: level, text: message });
        this.add(`details of ${level}`, details);
      },
    ]),
  );

  /** Any value that an event or a rejection brings, with all that hangs on it. */
  add(where: string, value: unknown, seen = new Set<unknown>()): void {
    if (typeof value === 'string') this.#texts.push({ where, text: value });
    if (typeof value !== 'object' || value === null || seen.has(value)) return;
    seen.add(value);
    if (value instanceof Error) {
      this.add(`${where}.message`, value.message);
      this.add(`${where}.cause`, value.cause, seen);
    }
    for (const [name, inner] of Object.entries(value)) this.add(`${where}.${name}`, inner, seen);
  }

  check(): void {
    assert.ok(this.#texts.length > 0);
    for (const { where, text } of this.#texts) {
      assert.ok(text.length < LONGEST, `${where} has ${text.length} characters: ${JSON.stringify(text.slice(0, 200))}`);
      assert.doesNotMatch(text, /\p{Cc}/u, where);
    }
  }
}

describe('what a server says', function () {
  this.timeout(30_000);
  const clients = new Clients();
  afterEach(() => clients.closeAll());

  const options = (told: Told): ConnectOptions => ({
    clientId: uniqueName('me'),
    connectTimeout: 500,
    randomize: false,
    initialConnect: { retries: 1, minTimeout: 1 },
    reconnect: { minTimeout: 1, maxTimeout: 20 },
    logger: told.logger,
  });

  describe('to a first connect', () => {
    const liars: [string, (text: string) => PeerHooks][] = [
      ['in an error of NATS', (text) => ({ pong: () => errorLine(text) })],
      ['in a refusal of the credentials', (text) => ({ pong: () => errorLine(`Authorization Violation ${text}`) })],
      [
        'in a forbidden subject',
        (text) => ({ pong: () => errorLine(`Permissions Violation for Publish to "${text.replace(/\s/g, '')}"`) }),
      ],
      ['in the answer to a connect request', (text) => ({ connect: () => encode('ConnectResponse', { error: text }) })],
      ['in the answer to a ping', (text) => ({ ask: () => encode('PingResponse', { error: text }) })],
      ['instead of an INFO', (text) => ({ info: () => Buffer.from(text, 'latin1') })],
      ['in an INFO that is no JSON', (text) => ({ info: () => Buffer.from(`INFO ${text}\r\n`, 'latin1') })],
      [
        'in the fields of an INFO',
        (text) => ({
          info: () =>
            `INFO ${JSON.stringify({ server_id: text, server_name: text, version: text, host: text, max_payload: text })}\r\n`,
          connect: () => encode('ConnectResponse', { error: 'no' }),
        }),
      ],
      ['behind the INFO', (text) => ({ info: () => Buffer.from(`INFO {}\r\n${text}`, 'latin1') })],
    ];
    for (const [where, hooks] of liars) {
      for (const size of SIZES) {
        it(`${where}, ${size} bytes of it`, async () => {
          const told = new Told();
          await using liar = await Peer.listen({ hooks: hooks(nasty(size)) });
          await using good = await Peer.listen();
          // Some of it may be no reason to fail.
          await ResilientStan.connect(liar.url, options(told)).then(
            (stan) => stan.close({ timeout: 0 }),
            (error: unknown) => told.add('error', error),
          );
          const stan = await clients.connect([liar.url, good.url], options(told));
          const recorder = new Recorder(stan);
          await stan.publish('a', 'x');
          for (const { event, payload } of recorder.seen) told.add(event, payload);
          told.check();
        });
      }
    }
  });

  describe('in a session', () => {
    for (const size of SIZES) {
      it(`of a publish, ${size} bytes of it`, async () => {
        const told = new Told();
        await using peer = await Peer.listen({
          hooks: {
            publish: ({ fields, channel }, usual) =>
              channel === 'bad' ? encode('PubAck', { guid: fields['guid'], error: nasty(size) }) : usual(),
          },
        });
        const { stan, recorder } = await connect(peer.url, told);
        await stan.publish('bad', 'x', { timeout: 5000 }).then(
          () => assert.fail('it was refused'),
          (error: unknown) => told.add('publish', error),
        );
        await stan.publish('good', 'x');
        over(recorder, told);
      });

      it(`of a subscription, ${size} bytes of it`, async () => {
        const told = new Told();
        await using peer = await Peer.listen({
          hooks: { subscribe: () => encode('SubscriptionResponse', { error: nasty(size) }) },
        });
        const { stan, recorder } = await connect(peer.url, told);
        const signal = AbortSignal.timeout(5000);
        await stan
          .subscribe('bad', () => {}, { signal })
          .then(
            () => assert.fail('it was refused'),
            (error: unknown) => told.add('subscribe', error),
          );
        await stan.publish('good', 'x');
        over(recorder, told);
      });

      it(`of the whole session, ${size} bytes of it`, async () => {
        const told = new Told();
        let times = 0;
        await using peer = await Peer.listen({
          hooks: {
            publish: ({ connection }, usual) => {
              times += 1;
              if (times > 1) return usual();
              connection.raw(errorLine(nasty(size)));
              return undefined;
            },
          },
        });
        const { stan, recorder } = await connect(peer.url, told);
        await stan.publish('a', 'x');
        assert.ok(recorder.count('connection_lost') >= 1);
        over(recorder, told);
      });

      it(`of a forbidden subject, ${size} bytes of it`, async () => {
        const told = new Told();
        let times = 0;
        await using peer = await Peer.listen({
          hooks: {
            publish: ({ connection }, usual) => {
              times += 1;
              if (times > 1) return usual();
              connection.raw(errorLine(`Permissions Violation for Publish to "${nasty(size)}"`));
              return undefined;
            },
          },
        });
        const { stan, recorder } = await connect(peer.url, told);
        await stan.publish('a', 'x').catch((error: unknown) => told.add('publish', error));
        await recorder.until('connection_lost');
        await stan.publish('b', 'x');
        over(recorder, told);
      });
    }
  });

  async function connect(url: string, told: Told): Promise<{ stan: ResilientStan; recorder: Recorder }> {
    const stan = await clients.connect(url, options(told));
    return { stan, recorder: new Recorder(stan) };
  }

  function over(recorder: Recorder, told: Told): void {
    for (const { event, payload } of recorder.seen) told.add(event, payload);
    told.check();
  }
});

describe('how much a server says', function () {
  this.timeout(30_000);
  const clients = new Clients();
  afterEach(() => clients.closeAll());
  const options = { connectTimeout: 500, randomize: false, reconnect: { minTimeout: 1, maxTimeout: 20 } };

  for (const length of [4097, 8192, 60_000]) {
    it(`an INFO of ${length} bytes is read`, async () => {
      await using peer = await Peer.listen();
      peer.hooks.info = () => {
        const info = peer.info().toString().trimEnd().slice(0, -1);
        const filled = `${info},"filler":""}`;
        return `${filled.slice(0, -2)}${'x'.repeat(length - filled.length - 2)}"}\r\n`;
      };
      const stan = await clients.connect(peer.url, { ...options, initialConnect: { retries: 0 } });
      await stan.publish('a', 'x');
      assert.equal(peer.dials, 1);
    });
  }

  it('an INFO without an end is not waited for', async () => {
    await using liar = await Peer.listen({ hooks: { info: () => `INFO ${' '.repeat(10 * 1024 * 1024)}` } });
    const error = await ResilientStan.connect(liar.url, { connectTimeout: 5000, initialConnect: { retries: 0 } }).then(
      () => assert.fail('it connected'),
      (error: unknown) => error,
    );
    assert.ok(error instanceof ConnectError, String(error));
    assert.doesNotMatch(error.message, /mute|5000 ms/, 'it was not seen for what it is');
  });

  const torrents: [string, (peer: Peer) => string][] = [
    ['a line without an end', () => 'x'.repeat(100_000)],
    ['a message whose line has no end', () => `MSG ${'a'.repeat(100_000)}`],
    ['an error without an end', () => `-ERR '${'a'.repeat(100_000)}`],
    ['a message longer than max_payload', () => `MSG a 1 ${100 * 1024 * 1024}\r\n`],
    ['a message of an absurd length', () => 'MSG a 1 99999999999999999999999\r\n'],
    ['a message of a negative length', () => 'MSG a 1 -5\r\n'],
  ];
  for (const [what, bytes] of torrents) {
    it(`${what} ends the session, at once`, async () => {
      await using liar = await Peer.listen();
      await using good = await Peer.listen({ clusterOf: liar });
      const stan = await clients.connect([liar.url, good.url], options);
      const recorder = new Recorder(stan);
      const got: string[] = [];
      await stan.subscribe('a', (message) => void got.push(message.string()));
      assert.equal(stan.server, liar.url);
      liar.connections.find(({ open, connects }) => open && connects.length > 0)!.raw(bytes(liar));
      await recorder.until('reconnect');
      // By what it was, and not by its silence.
      assert.equal(recorder.of('connection_lost')[0]!.reason, 'disconnect');
      assert.equal(recorder.of('reconnect')[0]!.server, good.url, 'who lies is dialled last');
      await stan.publish('a', 'x');
      await until(
        () => got.length === 1,
        () => got.join(),
      );
    });
  }

  for (const pingInterval of [2 ** 31 - 1, 0, -1]) {
    it(`a ping interval of ${pingInterval} s: nothing is made of it`, async () => {
      const warnings: string[] = [];
      const onWarning = (warning: Error): void => void warnings.push(warning.message);
      process.on('warning', onWarning);
      try {
        await using peer = await Peer.listen();
        peer.hooks.connect = (_request, usual) => {
          usual();
          return connectResponse({ pingInterval, pingMaxOut: pingInterval });
        };
        const stan = await clients.connect(peer.url, options);
        const recorder = new Recorder(stan);
        await stan.publish('a', 'x');
        let asked = 0;
        peer.hooks.ask = (_request, usual) => {
          asked += 1;
          return usual();
        };
        await until(() => asked >= 2, 'it does not ask any more');
        assert.ok(asked < 10, `asked ${asked} times`);
        assert.deepEqual(warnings, []);
        assert.equal(recorder.count('connection_lost'), 0);
      } finally {
        process.off('warning', onWarning);
      }
    });
  }
});
