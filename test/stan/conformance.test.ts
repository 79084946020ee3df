/**
 * `resilient-stan/stan` beside node-nats-streaming 0.3.2, on one real server: every member and every event, the same questions to
 * both. Where they must differ, the case says what each does, and why.
 */
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { Proxy, StanCluster } from '../../src/testing/index.js';
import { uniqueName } from '../support/clients.js';
import {
  event,
  facade,
  original,
  plain,
  published,
  run,
  type Bench,
  type Case,
  type Message,
  type StanOptions,
} from './side-by-side.js';

const nats = createRequire(import.meta.url)('nats') as {
  connect(options: Record<string, unknown>): NonNullable<StanOptions['nc']> & { connected: boolean };
};

describe('resilient-stan/stan beside node-nats-streaming', function () {
  this.timeout(60_000);
  let cluster: StanCluster;
  let url: string;

  before(async () => {
    cluster = await StanCluster.start({ mode: 'single', store: 'memory', proxied: true });
    url = cluster.urls[0]!;
  });
  after(() => cluster.stop());

  /** Both do the same, and something. */
  const same = (title: string, what: Case): void => {
    it(title, async () => {
      const theirs = await run(original, url, what);
      assert.ok(theirs.length > 0, 'the original did nothing');
      assert.deepEqual(await run(facade, url, what), theirs);
    });
  };
  /** Each does what it is said to do. @param why is for the reader */
  const differs = (title: string, why: string, what: Case, theirs: unknown[], ours: unknown[]): void => {
    it(`${title} (differs: ${why})`, async () => {
      assert.deepEqual(await run(original, url, what), theirs, 'the original');
      assert.deepEqual(await run(facade, url, what), ours, 'the facade');
    });
  };

  describe('the module', () => {
    it('has what the original has, and a version above it that satisfies ^0.3.2', () => {
      for (const name of Object.keys(original)) {
        assert.equal(typeof facade[name as keyof typeof facade], typeof original[name as keyof typeof original], name);
      }
      assert.equal(original.version, '0.3.2');
      assert.match(facade.version, /^0\.3\.\d{3}$/);
    });

    same('start positions', async (bench) => {
      const { NEW_ONLY, LAST_RECEIVED, TIME_DELTA_START, SEQUENCE_START, FIRST } = bench.api.StartPosition;
      bench.note({ NEW_ONLY, LAST_RECEIVED, TIME_DELTA_START, SEQUENCE_START, FIRST });
    });
  });

  describe('connect', () => {
    const port = (): number => Number(new URL(url).port);
    const ways: Record<string, () => StanOptions | string | number> = {
      'a port': () => port(),
      'a URL': () => url,
      'host and port': () => `localhost:${port()}`,
      '{ port }': () => ({ port: port() }) as StanOptions,
      '{ url }': () => ({ url }),
      '{ uri }': () => ({ uri: url }) as StanOptions,
      '{ servers }': () => ({ servers: [url] }),
      '{ urls }, some of them wrong': () => ({ urls: ['nats://127.0.0.1:1', url], url }) as StanOptions,
    };
    for (const [name, way] of Object.entries(ways)) {
      same(`by ${name}: connect, with itself, then close`, async (bench) => {
        const stan = bench.connect(way());
        bench.record(stan, 'client');
        await event(stan, 'connect');
        stan.close();
        stan.close();
        await event(stan, 'close');
        bench.note(stan.isClosed(), stan.nc);
      });
    }

    same('what a client has before, while and after it is connected', async (bench) => {
      const stan = bench.connect(url, 'fields');
      const fields = (): void => {
        const { clusterID, clientID, pubPrefix, subRequests, unsubRequests, subCloseRequests, closeRequests } = stan;
        bench.note({ clusterID, clientID, pubPrefix, subRequests, unsubRequests, subCloseRequests, closeRequests });
        bench.note(stan.ncOwned, stan.pubAckOutstanding, Object.keys(stan.subMap).length, stan.isClosed());
        bench.note(
          /^_STAN\.acks\.\w{22}$/.test(stan.ackSubject),
          typeof stan.options,
          (stan as object) instanceof Promise,
        );
        bench.note('then' in stan, Object.keys(stan.subscriptionOptions()).length > 0);
      };
      fields();
      await event(stan, 'connect');
      fields();
      bench.note(Buffer.isBuffer(stan.connId), stan.connId?.length);
      stan.close();
      await event(stan, 'close');
      fields();
    });

    same('wrong arguments throw at once', async (bench) => {
      const { connect } = bench.api;
      const calls: (() => unknown)[] = [
        () => connect(undefined as never, 'me'),
        () => connect('', 'me'),
        () => connect('test-cluster', undefined as never),
        () => connect('test-cluster', ''),
        () => connect('test-cluster', 'me', { encoding: 'utf8' }),
        () => connect('test-cluster', 'me', { user: 'a', pass: 'b', token: 'c' }),
        () => connect('test-cluster', 'me', { token: 'c', tokenHandler: () => 'd' }),
        () => connect('test-cluster', 'me', { tokenHandler: 'd' as never }),
        () => connect('test-cluster', 'me', { nc: { encoding: 'utf8' } as never }),
      ];
      for (const call of calls) {
        try {
          call();
          bench.note('nothing');
        } catch (error) {
          bench.note(error);
        }
      }
    });

    same('options are kept by one name each', async (bench) => {
      const names = [
        ...[
          'ackTimeout',
          'connectTimeout',
          'discoverPrefix',
          'maxPubAcksInflight',
          'nc',
          'stanEncoding',
          'stanMaxPingOut',
        ],
        ...[
          'stanPingInterval',
          'encoding',
          'maxPingOut',
          'maxReconnectAttempts',
          'name',
          'nkey',
          'noRandomize',
          'pass',
        ],
        ...[
          'nonceSigner',
          'pedantic',
          'pingInterval',
          'reconnect',
          'reconnectTimeWait',
          'servers',
          'tls',
          'token',
          'url',
        ],
        ...['tokenHandler', 'useOldRequestStyle', 'user', 'userCreds', 'userJWT', 'verbose', 'waitOnFirstConnect'],
        ...['yieldTime', 'client', 'credentials', 'dontRandomize', 'jwt', 'JWT', 'nkeys', 'NoRandomize', 'password'],
        ...['secure', 'sig', 'sigCB', 'sigCallback', 'sigcb', 'uri', 'urls', 'usercreds', 'userjwt', 'port'],
      ];
      for (const name of [undefined, ...names]) {
        const given = name === undefined ? {} : { [name]: 'some value' };
        const { options } = bench.api.connect('a', 'b', { ...given, test_opts: true } as never);
        const entries = Object.entries(options).filter(([key]) => !['port', 'test_opts'].includes(key));
        bench.note(
          name,
          entries.sort(([a], [b]) => (a < b ? -1 : 1)),
        );
      }
    });

    differs(
      'to nobody',
      'whoever waits for the end hears of it',
      async (bench) => {
        const stan = bench.connect('nats://127.0.0.1:1');
        stan.on('error', ({ message, code }: Error & { code: string }) =>
          bench.note(code, message.startsWith('Could not connect to server: ')),
        );
        stan.on('close', () => bench.note('close'));
        await Promise.all([event(stan, 'error'), bench.isOriginal || event(stan, 'close')]);
      },
      [['CONN_ERR', true]],
      [['CONN_ERR', true], 'close'],
    );

    same('to a cluster of another ID', async (bench) => {
      const stan = bench.api.connect('another-cluster', 'me', url);
      bench.record(stan, 'client');
      stan.on('error', () => {});
      await event(stan, 'close');
    });

    for (const [what, id] of [
      ['that is taken', 'taken'],
      ['that no server takes', 'not.legal'],
    ] as const) {
      same(`with a client ID ${what}: the server's text, then close`, async (bench) => {
        if (id === 'taken') await bench.connected({}, id);
        const stan = bench.connect(url, id);
        bench.record(stan, 'client');
        stan.on('error', () => {});
        await event(stan, 'close');
      });
    }

    it('with a wrong password: the error of nats', async () => {
      await using guarded = await StanCluster.start({
        mode: 'single',
        store: 'memory',
        auth: { user: 'me', pass: 'right' },
      });
      const place = guarded.urls[0]!.replace(/\/\/.*@/, '//');
      const refused = async (api: typeof facade): Promise<unknown> => {
        const stan = api.connect('test-cluster', 'me', { url: place, user: 'me', pass: 'wrong' });
        const error = await event(stan, 'error');
        stan.on('error', () => {});
        // The original would try for ever, without a pause.
        stan.nc?.close();
        return plain(error);
      };
      const theirs = await refused(original);
      assert.equal(theirs, "Error: 'Authorization Violation' [NATS_PROTOCOL_ERR]");
      assert.equal(await refused(facade), theirs);
    });

    it('credentials: those of the options first, and those of a URL for the servers after it', async () => {
      await using guarded = await StanCluster.start({
        mode: 'single',
        store: 'memory',
        auth: { user: 'me', pass: 'right' },
      });
      const place = guarded.urls[0]!.replace(/\/\/.*@/, '//').replace('nats://', '');
      const right = { user: 'me', pass: 'right' };
      const cases: StanOptions[] = [
        { url: `nats://me:wrong@${place}`, ...right },
        { url: `nats://me:wrong@${place}`, servers: [`nats://${place}`], ...right },
        // Nobody listens at port 1.
        {
          servers: ['nats://me:right@127.0.0.1:1', `nats://${place}`],
          url: 'nats://me:right@127.0.0.1:1',
          noRandomize: true,
        },
      ];
      for (const options of cases) {
        for (const api of [original, facade]) {
          const trace = await run(api, place, async (bench) => {
            const stan = bench.connect(options);
            bench.record(stan, 'client');
            await bench.until(() => bench.trace.length > 0, 'nothing was told');
          });
          assert.deepEqual(trace, [['client', 'connect', 'itself']], JSON.stringify(options));
        }
      }
    });

    it('an error is always an Error, where the original has a string at times', async () => {
      const kinds: Case = async (bench) => {
        await bench.connected({}, 'kinds');
        const stan = bench.connect(url, 'kinds');
        bench.note(typeof (await event(stan, 'error')));
      };
      assert.deepEqual(await run(original, url, kinds), ['string']);
      assert.deepEqual(await run(facade, url, kinds), ['object']);
    });

    same('a client that is not connected yet may be closed', async (bench) => {
      const stan = bench.connect(url);
      const closed = event(stan, 'close');
      stan.close();
      await closed;
      bench.note('closed', stan.isClosed());
    });
  });

  describe('a NATS connection that is handed in', () => {
    for (const first of [true, false]) {
      same(first ? 'before it is connected' : 'when it is connected', async (bench) => {
        const nc = nats.connect({ url, encoding: 'binary' });
        if (!first) await event(nc, 'connect');
        const stan = bench.connect({ nc });
        await event(stan, 'connect');
        bench.note(stan.nc === nc, stan.ncOwned);
        await published(stan, uniqueName('handed'), 'x');
        stan.close();
        await event(stan, 'close');
        bench.note('closed', nc.connected);
        nc.close();
      });
    }

    same('closes the client when it gives up', async (bench) => {
      const proxy = await Proxy.listen({ target: { host: '127.0.0.1', port: Number(new URL(url).port) } });
      try {
        const nc = nats.connect({
          url: `nats://127.0.0.1:${proxy.port}`,
          encoding: 'binary',
          reconnectTimeWait: 10,
          reconnectJitter: 0,
          maxReconnectAttempts: 2,
        });
        const stan = bench.connect({ nc });
        stan.on('error', () => {});
        await event(stan, 'connect');
        const closed = event(stan, 'close');
        await proxy.down();
        await closed;
        bench.note('closed');
      } finally {
        await proxy.close();
      }
    });
  });

  describe('publish', () => {
    same('gives an identifier, and the callback gets it', async (bench) => {
      const stan = await bench.connected();
      const channel = uniqueName('publish');
      for (const data of [undefined, null, '', 'text', 'ü', Buffer.from('buffer'), new Uint8Array([0, 255])]) {
        const answer = await new Promise((resolve) => {
          const guid = stan.publish(channel, data, (error, got) => resolve([error, got === guid]));
          bench.note(typeof guid, guid?.length, stan.pubAckOutstanding);
        });
        bench.note(answer, stan.pubAckOutstanding);
      }
      bench.note(typeof stan.publish(channel), typeof stan.publish(channel, 'without a callback'));
      const read: string[] = [];
      stan.subscribe(channel, stan.subscriptionOptions().setDeliverAllAvailable()).on('message', (message: Message) => {
        read.push(message.getRawData().toString('hex'));
      });
      await bench.until(() => read.length === 9, 'nine messages');
      bench.note(read);
    });

    same('of what is no payload throws', async (bench) => {
      const stan = await bench.connected();
      for (const data of [5, {}, [1], true, new ArrayBuffer(2)]) {
        assert.throws(() => stan.publish(uniqueName('wrong'), data as never));
        bench.note('throws');
      }
    });

    same("to a channel that the server does not take: the server's text", async (bench) => {
      const stan = await bench.connected();
      for (const channel of ['a.*', 'a.>', 'a/b', undefined]) {
        const answer = await new Promise((resolve) => {
          stan.publish(channel as string, 'x', (error, guid) => resolve([plain(error), typeof guid]));
        });
        bench.note(answer);
      }
      // Without a callback nobody hears of it, if nobody listens to errors.
      stan.removeAllListeners('error');
      stan.publish('a.*', 'x');
      await published(stan, uniqueName('after'), 'x');
    });

    same('after the end: an error to the callback at once, or thrown', async (bench) => {
      const stan = await bench.connected();
      stan.close();
      await event(stan, 'close');
      let told: unknown;
      bench.note(
        stan.publish('a', 'b', (...answer) => void (told = answer.map(plain))),
        told,
      );
      assert.throws(() => stan.publish('a', 'b'), /stan: Connection closed/);
    });

    same('over maxPubAcksInflight: an error to the callback at once, or thrown', async (bench) => {
      const stan = await bench.connected({ maxPubAcksInflight: 3 });
      const channel = uniqueName('limit');
      for (let i = 0; i < 4; i++) bench.note(typeof stan.publish(channel, 'x', () => {}));
      const told: unknown[] = [];
      stan.publish(channel, 'x', (error) => told.push(plain(error)));
      bench.note(told.slice());
      assert.throws(() => stan.publish(channel, 'x'), /stan: max in flight reached\./);
    });

    differs(
      'over maxPubAcksInflight, the message',
      'who was told that it failed may publish it again',
      async (bench) => {
        const stan = await bench.connected({ maxPubAcksInflight: 1 });
        const channel = uniqueName('slip');
        let answers = 0;
        for (const data of ['1', '2', '3 is over the limit']) stan.publish(channel, data, () => answers++);
        await bench.until(() => stan.pubAckOutstanding === 0, 'all answers');
        const read: unknown[] = [];
        stan
          .subscribe(channel, stan.subscriptionOptions().setDeliverAllAvailable())
          .on('message', (message: Message) => {
            read.push(message.getData());
          });
        await published(stan, channel, 'end');
        await bench.until(() => read.at(-1) === 'end', 'the end');
        bench.note(answers, read);
      },
      [[4, ['1', '2', '3 is over the limit', 'end']]],
      [[3, ['1', '2', 'end']]],
    );
  });

  describe('subscribe', () => {
    const filled = async (
      bench: Bench,
    ): Promise<{ stan: Awaited<ReturnType<Bench['connected']>>; channel: string }> => {
      const stan = await bench.connected();
      const channel = uniqueName('filled');
      for (const data of ['1', '2', '3']) await published(stan, channel, data);
      return { stan, channel };
    };

    same('options chain, and say what they hold', async (bench) => {
      const options = bench.api.connect('a', 'b', { test_opts: true } as never).subscriptionOptions();
      const say = (): void =>
        bench.note(Object.fromEntries(Object.entries(options).filter(([name]) => name !== 'ackOnResolve')));
      say();
      options.setMaxInFlight(7).setAckWait(2000).setStartAt(bench.api.StartPosition.FIRST).setManualAckMode(true);
      say();
      options.setStartAtSequence(4).setDurableName('d');
      say();
      options.setStartAtTimeDelta(1500);
      say();
      options.setStartWithLastReceived();
      say();
      options.setDeliverAllAvailable();
      say();
      options.setStartTime(new Date(Date.now() - 5000));
      bench.note(Math.round((options.startTime ?? 0) / 1e9), options.startPosition);
    });

    const starts: Record<string, (options: ReturnType<typeof facade.NewSubscriptionOptions>) => unknown> = {
      'the default': (options) => options,
      NEW_ONLY: (options) => options.setStartAt(facade.StartPosition.NEW_ONLY),
      FIRST: (options) => options.setStartAt(facade.StartPosition.FIRST),
      LAST_RECEIVED: (options) => options.setStartAt(facade.StartPosition.LAST_RECEIVED),
      'all available': (options) => options.setDeliverAllAvailable(),
      'the last': (options) => options.setStartWithLastReceived(),
      'a sequence': (options) => options.setStartAtSequence(2),
      'sequence 0': (options) => options.setStartAtSequence(0),
      'a sequence to come': (options) => options.setStartAtSequence(40),
      'a while ago': (options) => options.setStartAtTimeDelta(60_000),
      'just now': (options) => options.setStartAtTimeDelta(0),
      'a date': (options) => options.setStartTime(new Date(Date.now() - 60_000)),
      'a date to come': (options) => options.setStartTime(new Date(Date.now() + 60_000)),
    };
    for (const [name, start] of Object.entries(starts)) {
      same(`from ${name}`, async (bench) => {
        const { stan, channel } = await filled(bench);
        // Ages are whole ms: what was stored in this one is not older than any.
        const stored = Date.now();
        await bench.until(() => Date.now() > stored + 1, 'the next ms');
        const options = stan.subscriptionOptions();
        start(options);
        const subscription = stan.subscribe(channel, options);
        const read: number[] = [];
        subscription.on('message', (message: Message) => read.push(message.getSequence()));
        await event(subscription, 'ready');
        await published(stan, channel, 'new');
        await bench.until(() => read.includes(4), 'the new message');
        bench.note(read);
      });
    }

    same('the fields of a subscription, and ready before the first message', async (bench) => {
      const { stan, channel } = await filled(bench);
      const options = stan.subscriptionOptions().setDeliverAllAvailable();
      for (const args of [[options], ['group', options], ['', options], [undefined, options]] as [never][]) {
        const subscription = stan.subscribe(channel, ...args);
        bench.record(subscription, 'subscription');
        const fields = (): void => {
          const { subject, qGroup, opts, ackInbox, inbox, inboxSub } = subscription;
          bench.note(subject === channel, qGroup, opts === options, typeof ackInbox, /^_INBOX\.\w{22}$/.test(inbox));
          bench.note(typeof inboxSub, stan.subMap[inbox] === subscription, subscription.isClosed());
          bench.note(subscription.stanConnection === stan);
        };
        fields();
        let messages = 0;
        subscription.on('message', () => messages++);
        await bench.until(() => messages === 3, 'three messages');
        fields();
        subscription.close();
        fields();
        await event(subscription, 'closed');
      }
    });

    same('the getters of a message', async (bench) => {
      const { stan, channel } = await filled(bench);
      const options = stan.subscriptionOptions().setDeliverAllAvailable();
      const subscription = stan.subscribe(channel, options);
      let messages = 0;
      subscription.on('message', (message: Message) => {
        messages++;
        bench.note(message.getSequence(), message.getSubject() === channel, message.getData(), message.getRawData());
        bench.note(message.isRedelivered(), message.getRedeliveryCount(), message.getCrc32());
        bench.note(message.stanClient === stan, message.subscription === subscription, typeof message.ack);
        assert.ok(Math.abs(Date.now() - message.getTimestamp().getTime()) < 60_000);
        bench.note(message.getTimestamp().getTime() === Math.trunc(message.getTimestampRaw() / 1e6));
      });
      await bench.until(() => messages === 3, 'three messages');
    });

    it('the same time of the same message, and exactly', async () => {
      const channel = uniqueName('time');
      const times = async (api: typeof facade): Promise<unknown> => {
        let time: unknown;
        await run(api, url, async (bench) => {
          const stan = await bench.connected();
          if (bench.isOriginal) await published(stan, channel, 'x');
          const subscription = stan.subscribe(channel, stan.subscriptionOptions().setDeliverAllAvailable());
          const message = (await event(subscription, 'message')) as Message;
          time = [message.getTimestampRaw(), message.getTimestamp()];
          if (!bench.isOriginal) assert.equal(Number(message.getTimestampNanos()), message.getTimestampRaw());
        });
        return time;
      };
      assert.deepEqual(await times(original), await times(facade));
    });

    differs(
      "with stanEncoding 'binary'",
      'bytes are a Buffer, as the declarations say',
      async (bench) => {
        const stan = await bench.connected({ stanEncoding: 'binary' });
        const channel = uniqueName('binary');
        await published(stan, channel, 'x');
        const subscription = stan.subscribe(channel, stan.subscriptionOptions().setDeliverAllAvailable());
        const data = ((await event(subscription, 'message')) as Message).getData();
        bench.note(data instanceof Uint8Array, Buffer.isBuffer(data));
      },
      [[true, false]],
      [[true, true]],
    );

    const refusals: Record<string, (bench: Bench) => Promise<void>> = {
      'no channel': async (bench) => {
        const stan = await bench.connected();
        for (const channel of [undefined, null, '', 5]) {
          const subscription = stan.subscribe(channel as never);
          bench.note(await event(subscription, 'error'));
        }
      },
      'a channel that the server does not take': async (bench) => {
        const stan = await bench.connected();
        const subscription = stan.subscribe('a.*');
        bench.record(subscription, 'subscription');
        subscription.on('error', () => {});
        await event(subscription, 'unsubscribed');
      },
      'a start position that there is not': async (bench) => {
        const stan = await bench.connected();
        const subscription = stan.subscribe('a', stan.subscriptionOptions().setStartAt(7 as never));
        bench.record(subscription, 'subscription');
        subscription.on('error', () => {});
        await event(subscription, 'unsubscribed');
      },
      'a durable that is in use': async (bench) => {
        const stan = await bench.connected();
        const options = stan.subscriptionOptions().setDurableName('twice');
        await event(stan.subscribe('a', options), 'ready');
        const subscription = stan.subscribe('a', options);
        bench.record(subscription, 'subscription');
        subscription.on('error', () => {});
        await event(subscription, 'unsubscribed');
      },
      'a client that is closed': async (bench) => {
        const stan = await bench.connected();
        stan.close();
        await event(stan, 'close');
        bench.note(await event(stan.subscribe('a'), 'error'));
      },
    };
    for (const [name, refusal] of Object.entries(refusals)) same(`${name}: the server's text`, refusal);

    same('with a window of nothing: the server refuses it', async (bench) => {
      const stan = await bench.connected();
      for (const window of [0, -1]) {
        const subscription = stan.subscribe('a', stan.subscriptionOptions().setMaxInFlight(window));
        const ended = event(subscription, 'unsubscribed');
        bench.note(await event(subscription, 'error'));
        await ended;
      }
    });

    differs(
      'with half a second of ackWait',
      'an exception with the text of an assertion tells nobody what is wrong, and the server takes whole seconds',
      async (bench) => {
        const stan = await bench.connected();
        try {
          await event(stan.subscribe('a', stan.subscriptionOptions().setAckWait(500)), 'ready');
          bench.note('ready');
        } catch (error) {
          bench.note(error);
        }
      },
      ['Error: Assertion failed'],
      ['ready'],
    );

    same('members of a queue group share the messages', async (bench) => {
      const stan = await bench.connected();
      const channel = uniqueName('group');
      const read: [number, unknown][] = [];
      for (const member of [1, 2]) {
        const subscription = stan.subscribe(channel, 'group');
        subscription.on('message', (message: Message) => read.push([member, message.getData()]));
        await event(subscription, 'ready');
      }
      for (let i = 0; i < 10; i++) await published(stan, channel, String(i));
      await bench.until(() => read.length === 10, 'ten messages');
      bench.note(new Set(read.map(([member]) => member)).size, new Set(read.map(([, data]) => data)).size);
    });
  });

  describe('acknowledgements', () => {
    same('by hand: what is not acknowledged comes again, and says so', async (bench) => {
      const stan = await bench.connected();
      const channel = uniqueName('manual');
      const options = stan.subscriptionOptions().setManualAckMode(true).setAckWait(1000);
      const subscription = stan.subscribe(channel, options);
      await event(subscription, 'ready');
      let last = '';
      subscription.on('message', (message: Message) => {
        const redelivered = message.isRedelivered();
        bench.note(message.getData(), redelivered, message.getRedeliveryCount());
        if (message.getData() === 'good' || redelivered) message.ack();
        last = String(message.getData());
      });
      await published(stan, channel, 'good');
      await published(stan, channel, 'bad');
      await bench.until(() => bench.trace.length === 3, 'three deliveries');
      await published(stan, channel, 'good');
      await bench.until(() => last === 'good', 'the end');
    });

    same('of themselves, as soon as the listeners have returned', async (bench) => {
      const stan = await bench.connected();
      const channel = uniqueName('auto');
      const subscription = stan.subscribe(channel, stan.subscriptionOptions().setMaxInFlight(1));
      await event(subscription, 'ready');
      // Asynchronous ones have returned, too. With one message at a time, the next one shows the acknowledgement.
      const listener = async (message: Message): Promise<void> => {
        bench.note(message.getData());
        await new Promise(() => {});
      };
      subscription.on('message', (message: Message) => void listener(message));
      for (const data of ['1', '2', '3']) await published(stan, channel, data);
      await bench.until(() => bench.trace.length === 3, 'three messages');
    });

    same('of a message whose listener throws: none, error on the subscription, and it comes again', async (bench) => {
      const stan = await bench.connected();
      const channel = uniqueName('throws');
      const subscription = stan.subscribe(channel, stan.subscriptionOptions().setAckWait(1000));
      await event(subscription, 'ready');
      subscription.on('error', (error) => bench.note('error', error));
      subscription.on('message', (message: Message) => {
        bench.note(message.getData(), message.isRedelivered());
        if (!message.isRedelivered()) throw new Error('not today');
      });
      await published(stan, channel, 'x');
      await bench.until(() => bench.trace.length === 3, 'the second delivery');
    });

    same('a member of a group that closes leaves its messages to the other one at once', async (bench) => {
      const stan = await bench.connected();
      const channel = uniqueName('leaves');
      // The wait for the second delivery ends long before the server would send the message again.
      const options = stan.subscriptionOptions().setManualAckMode(true).setDurableName('leaves').setAckWait(600_000);
      const members = [stan.subscribe(channel, 'group', options), stan.subscribe(channel, 'group', options)];
      const holder = Promise.race(
        members.map(
          (member) =>
            new Promise<(typeof members)[number]>((resolve) =>
              member.on('message', (message: Message) => {
                bench.note(message.getData(), message.isRedelivered());
                resolve(member);
              }),
            ),
        ),
      );
      await Promise.all(members.map((member) => event(member, 'ready')));
      await published(stan, channel, 'x');
      (await holder).close();
      await bench.until(() => bench.trace.length === 2, 'the second delivery');
    });
  });

  describe('the end of a subscription', () => {
    for (const how of ['close', 'unsubscribe'] as const) {
      same(`${how}: no more messages from then on, and an event`, async (bench) => {
        const stan = await bench.connected();
        const channel = uniqueName(how);
        const subscription = stan.subscribe(channel, stan.subscriptionOptions().setDeliverAllAvailable());
        bench.record(subscription, 'subscription', 'message');
        await event(subscription, 'ready');
        for (const data of ['1', '2', '3']) stan.publish(channel, data);
        subscription.on('message', (message: Message) => {
          bench.note(message.getSequence());
          subscription[how]();
          bench.note(subscription.isClosed(), subscription.stanConnection);
        });
        await event(subscription, how === 'close' ? 'closed' : 'unsubscribed');
        await published(stan, channel, '4');
        await new Promise<void>((resolve) => (stan.nc as { flush(done: () => void): void }).flush(resolve));
      });
    }

    same('a second time it is invalid; of a closed client as well', async (bench) => {
      const stan = await bench.connected();
      const [one, two] = [stan.subscribe(uniqueName('twice')), stan.subscribe(uniqueName('twice'))];
      await Promise.all([event(one, 'ready'), event(two, 'ready')]);
      one.unsubscribe();
      await event(one, 'unsubscribed');
      for (const subscription of [one, two]) subscription.on('error', (error) => bench.note(error));
      one.unsubscribe();
      one.close();
      stan.close();
      await event(stan, 'close');
      two.unsubscribe();
      bench.note(two.isClosed());
    });

    same('close keeps a durable, unsubscribe drops it', async (bench) => {
      const stan = await bench.connected();
      const channel = uniqueName('durable');
      const options = stan.subscriptionOptions().setDeliverAllAvailable().setDurableName('durable');
      for (const how of ['close', 'close', 'unsubscribe', 'close'] as const) {
        await published(stan, channel, 'x');
        const subscription = stan.subscribe(channel, options);
        const newest = bench.trace.length;
        subscription.on('message', (message: Message) => bench.note(message.getSequence()));
        await event(subscription, 'ready');
        await published(stan, channel, 'y');
        const last = (): unknown => bench.trace.at(-1);
        await bench.until(
          () => bench.trace.length > newest && typeof last() === 'number' && Number(last()) % 2 === 0,
          'y',
        );
        const ended = event(subscription, how === 'close' ? 'closed' : 'unsubscribed');
        subscription[how]();
        await ended;
        bench.note(how);
      }
    });

    same('a durable lives on in the next client of that ID', async (bench) => {
      const channel = uniqueName('lives');
      const id = uniqueName('lives');
      for (const part of [1, 2]) {
        const stan = await bench.connected({}, id);
        if (part === 1) for (const data of ['1', '2', '3']) await published(stan, channel, data);
        const options = stan.subscriptionOptions().setDeliverAllAvailable().setManualAckMode(true).setDurableName('d');
        const subscription = stan.subscribe(channel, options);
        subscription.on('message', (message: Message) => {
          bench.note(message.getSequence());
          if (message.getSequence() < 3) message.ack();
          if (message.getSequence() === 3) stan.close();
        });
        await event(stan, 'close');
      }
    });
  });

  describe('a loss', () => {
    it('that is survived: disconnect, reconnecting, reconnect with itself; and connect only once', async () => {
      const loss: Case = async (bench) => {
        const stan = await bench.connected({ reconnectTimeWait: 50 });
        bench.record(stan, 'client');
        const channel = uniqueName('loss');
        const subscription = stan.subscribe(channel);
        await event(subscription, 'ready');
        const messages: unknown[] = [];
        subscription.on('message', (message: Message) => messages.push(message.getData()));
        const back = event(stan, 'reconnect');
        cluster.nodes[0]!.proxy.resetConnections();
        await back;
        await published(stan, channel, 'after');
        await bench.until(() => messages.length > 0, 'the message');
        bench.note(messages);
      };
      const once = (trace: unknown[]): unknown[] =>
        trace.filter((entry, index) => JSON.stringify(entry) !== JSON.stringify(trace[index - 1]));
      const expected = [
        ['client', 'disconnect'],
        ['client', 'reconnecting'],
        ['client', 'reconnect', 'itself'],
        ['after'],
      ];
      assert.deepEqual(once(await run(original, url, loss)), expected);
      assert.deepEqual(once(await run(facade, url, loss)), expected);
    });

    it('with the retries used up (differs: connection_lost is the event for what is over, and callbacks hear of it)', async () => {
      const over: Case = async (bench) => {
        const proxy = await Proxy.listen({ target: { host: '127.0.0.1', port: Number(new URL(url).port) } });
        try {
          const stan = await bench.connected({
            url: `nats://127.0.0.1:${proxy.port}`,
            maxReconnectAttempts: 2,
            reconnectTimeWait: 50,
          });
          for (const name of ['disconnect', 'connection_lost', 'close']) {
            stan.on(name, (error?: Error) => bench.note(name, error, stan.nc !== undefined));
          }
          const closed = event(stan, 'close');
          await proxy.down();
          stan.publish(uniqueName('over'), 'x', (error) => bench.note('callback', error));
          await closed;
        } finally {
          await proxy.close();
        }
      };
      const theirs = await run(original, url, over);
      // Success, as it seems.
      assert.deepEqual(
        theirs.filter((entry) => (entry as string[])[0] !== 'disconnect'),
        [
          ['callback', undefined],
          ['close', undefined, true],
        ],
      );
      assert.deepEqual(await run(facade, url, over), [
        ['disconnect', undefined, true],
        ['callback', 'Error: stan: connection lost due to PING failure'],
        ['connection_lost', 'Error: stan: connection lost due to PING failure', true],
        ['close', undefined, false],
      ]);
    });

    it('because another process has the client ID: the text of the server, after the callbacks, and close', async () => {
      const replaced: Case = async (bench) => {
        const proxy = await Proxy.listen({ target: { host: '127.0.0.1', port: Number(new URL(url).port) } });
        try {
          const id = uniqueName('replaced');
          const options = { stanPingInterval: 1000, reconnectTimeWait: 50 };
          const stan = await bench.connected({ url: `nats://127.0.0.1:${proxy.port}`, ...options }, id);
          await proxy.down();
          await bench.connected({}, id);
          for (const name of ['connection_lost', 'close']) {
            stan.on(name, (error?: Error) => bench.note(name, error, bench.isOriginal || stan.nc !== undefined));
          }
          const closed = event(stan, 'close');
          await proxy.up();
          stan.publish(uniqueName('replaced'), 'x', (error) => bench.note('callback', error));
          await closed;
        } finally {
          await proxy.close();
        }
      };
      const text = 'Error: client has been replaced or is no longer registered';
      const theirs = await run(original, url, replaced);
      assert.deepEqual(theirs.slice(-2), [
        ['connection_lost', text, true],
        ['close', undefined, true],
      ]);
      assert.deepEqual(await run(facade, url, replaced), [
        ['callback', text],
        ['connection_lost', text, true],
        ['close', undefined, false],
      ]);
    });
  });
});
