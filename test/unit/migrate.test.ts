/** What decides in a migration: names, times, the chain, and which channels are meant. Pure. */
import assert from 'node:assert/strict';
import { headers, MsgHdrsImpl } from '@nats-io/transport-node';
import fc from 'fast-check';
import { inPlaceLines } from '../../src/cli/migrate/plan.js';
import { verifyLines } from '../../src/cli/migrate/verify.js';
import { progressLine } from '../../src/cli/migrate/progress.js';
import { isRefusal, tooLargeFor } from '../../src/migrate/api-errors.js';
import { Chain, verdictOf, type Link } from '../../src/migrate/chain.js';
import { todoOf, type Door, type ServerDoors } from '../../src/migrate/fence.js';
import { accountProblems } from '../../src/migrate/in-place.js';
import { maxBytesAtCut } from '../../src/migrate/limits.js';
import { lookingInbox, windowOf } from '../../src/migrate/looking-inbox.js';
import { channelOf, consumerName, durableOf, streamName, type DurableId } from '../../src/migrate/names.js';
import { matches, readMigrateOptions, type MigrateOptions } from '../../src/migrate/options.js';
import { differs, replicasBehind } from '../../src/migrate/replicas.js';
import { copyHeaders, formatTimestamp, HEADER_BYTES, parseTimestamp } from '../../src/migrate/stan-headers.js';
import { limitsOf, type StoreLimits } from '../../src/migrate/stan-limits.js';
import { todoLines } from '../../src/migrate/stragglers.js';
import { readStreamNote, streamNoteText } from '../../src/migrate/stream-note.js';
import { OptionReader } from '../../src/option-reader.js';

/** Names as STAN allows them, and some that are near each other. */
const NAME = fc.oneof(
  fc.string({ minLength: 1, unit: fc.constantFrom('a', 'b', '.', '_', '~', '=', '-', '+', '2', 'E', ':') }),
  fc.string({ minLength: 1, unit: 'grapheme' }),
);
const ID: fc.Arbitrary<DurableId> = fc.oneof(
  fc.record({ clientId: NAME, durable: NAME }, { noNullPrototype: true }),
  fc.record({ group: NAME, durable: NAME }, { noNullPrototype: true }),
);

describe('a name in JetStream', () => {
  it('of a channel is read back to the same channel, so that no two channels meet', () => {
    fc.assert(fc.property(NAME, (channel) => assert.equal(channelOf(streamName(channel)), channel)));
  });

  it('of a durable is read back to the same durable', () => {
    fc.assert(fc.property(ID, (id) => assert.deepEqual(durableOf(consumerName(id)), id)));
  });

  it('has only characters that are legal in every version', () => {
    fc.assert(
      fc.property(NAME, ID, (channel, id) => {
        assert.match(streamName(channel), /^[\w=~-]+$/);
        assert.match(consumerName(id), /^[\w=~+-]+$/);
      }),
    );
  });

  it('is undefined for a text that is no such name', () => {
    for (const text of ['', 'a.b', 'a=2', 'a=41', 'a=ff', 'a+b']) assert.equal(channelOf(text), undefined, text);
  });

  it('stays readable', () => {
    assert.deepEqual(['orders', 'orders.eu', 'my_orders', 'a b'].map(streamName), [
      'orders',
      'orders~eu',
      'my_orders',
      'a=20b',
    ]);
  });
});

describe('the time of a copied message', () => {
  it('is exact to the nanosecond, there and back', () => {
    fc.assert(
      fc.property(fc.bigInt(0n, 4_000_000_000_000_000_000n), (nanos) =>
        assert.equal(parseTimestamp(formatTimestamp(nanos)), nanos),
      ),
    );
    assert.equal(formatTimestamp(1_700_000_000_000_000_001n), '2023-11-14T22:13:20.000000001Z');
  });
});

describe('the monitoring that is asked', () => {
  const monitorOf = (options: MigrateOptions): readonly string[] =>
    readMigrateOptions(new OptionReader(options, 'options', { known: Object.keys(options) })).monitor;

  it('is where it is by custom, as for the command channels, or where it is said to be', () => {
    assert.deepEqual(monitorOf({ from: ['nats://a:4222', 'nats://b:24222', 'nats://b:24223'] }), [
      ...['http://a:8222', 'http://b:8222', 'http://b:28222', 'http://b:28223'],
    ]);
    assert.deepEqual(monitorOf({ from: 'nats://a:24222', monitor: 'http://c:1' }), ['http://c:1']);
  });
});

describe('the headers of a message on its way', () => {
  it('are what the official client reads', () => {
    const time = '2026-01-31T08:00:00.123456789Z';
    const read = (chained: boolean): [string, string][] => {
      const headers = MsgHdrsImpl.decode(Buffer.from(copyHeaders(1001, time, chained)));
      return [...headers].map(([name, values]) => [name, values.join()]);
    };
    const chain: [string, string] = ['Nats-Expected-Last-Msg-Id', 'stan:1000'];
    const others: [string, string][] = [
      ['Nats-Msg-Id', 'stan:1001'],
      ['Nats-Expected-Last-Sequence', '1000'],
      ['Stan-Sequence', '1001'],
      ['Stan-Timestamp', time],
    ];
    assert.deepEqual(read(false), others);
    assert.deepEqual(read(true), [...others.slice(0, 2), chain, ...others.slice(2)]);
    const carried = headers();
    for (const [name, value] of read(true)) carried.append(name, value);
    assert.equal(copyHeaders(1001, time, true), (carried as MsgHdrsImpl).toString());
  });

  it('are shorter than the bound by which a plan judges payloads', () => {
    const longest = copyHeaders(Number.MAX_SAFE_INTEGER, '2026-01-31T08:00:00.123456789Z', true);
    assert.ok(longest.length <= HEADER_BYTES, `${longest.length}`);
  });
});

describe('the channels that are meant', () => {
  it('are named, or fit a pattern as NATS has it', () => {
    const cases: [string, string, boolean][] = [
      ['a.b', 'a.b', true],
      ['a.b', 'a.b.c', false],
      ['a.*', 'a.b', true],
      ['a.*', 'a.b.c', false],
      ['a.>', 'a.b.c', true],
      ['a.>', 'a', false],
      ['>', 'a', true],
      ['*', 'a.b', false],
    ];
    for (const [given, channel, fits] of cases) assert.equal(matches(given, channel), fits, `${given} ${channel}`);
  });
});

/** A stream as a server keeps it: by number and by the ID of its last message. */
class Stream {
  readonly messages: string[] = [];

  offer(sequence: number, chained: boolean): number | undefined {
    const fits = sequence === this.messages.length + 1 && (!chained || this.messages.at(-1) === `stan:${sequence - 1}`);
    if (!fits) return undefined;
    this.messages.push(`stan:${sequence}`);
    return sequence;
  }
}

describe('the limits of a channel', () => {
  // As a server of 0.25.6 tells them for { a.>: 200 messages, an hour; a.*: no limit of messages; a.b: 5000 bytes, no age }.
  const limits: StoreLimits = {
    max_msgs: 1_000_000,
    max_bytes: 1_024_000_000,
    max_age: 36e12,
    max_inactivity: 0,
    channels: {
      'a.*': { max_msgs: 0, max_bytes: 1_024_000_000, max_age: 36e11, max_inactivity: 0 },
      'a.>': { max_msgs: 200, max_bytes: 1_024_000_000, max_age: 36e11, max_inactivity: 0 },
      'a.b': { max_msgs: 0, max_bytes: 5000, max_age: 0, max_inactivity: 60e9 },
    },
  };

  it('are those of the narrowest entry that fits, in which 0 is none', () => {
    const age = 3_600_000;
    for (const [channel, expected] of [
      ['other', { messages: 1_000_000, bytes: 1_024_000_000, age: 36_000_000, inactivity: undefined }],
      ['a.x.y', { messages: 200, bytes: 1_024_000_000, age, inactivity: undefined }],
      ['a.x', { messages: undefined, bytes: 1_024_000_000, age, inactivity: undefined }],
      ['a.b', { messages: undefined, bytes: 5000, age: undefined, inactivity: 60_000 }],
    ] as const) {
      assert.deepEqual(limitsOf(limits, channel), expected, channel);
    }
  });

  it('of bytes leave room at the cut for whatever STAN may have, with its headers', () => {
    const none = { messages: undefined, age: undefined, inactivity: undefined };
    assert.equal(maxBytesAtCut({ limits: { ...none, bytes: undefined }, messages: 3, bytes: 100 }), undefined);
    assert.equal(maxBytesAtCut({ limits: { ...none, bytes: 1000 }, messages: 0, bytes: 0 }), 1000);
    const one = maxBytesAtCut({ limits: { ...none, bytes: 10 }, messages: 1, bytes: 5000 })!;
    assert.ok(one > 5000 + HEADER_BYTES);
  });
});

describe('the note of a stream', () => {
  const sequence = fc.nat(Number.MAX_SAFE_INTEGER);
  const last = fc.record(
    { inStan: sequence, sequence, timestamp: fc.bigInt(0n, 4_000_000_000_000_000_000n).map(formatTimestamp) },
    { noNullPrototype: true },
  );

  it('is read back, and a description of somebody else is none', () => {
    fc.assert(
      fc.property(
        fc.record(
          {
            channel: fc.stringMatching(/^[\w'.-]+$/),
            clusterId: fc.stringMatching(/^[\w-]+$/),
            state: fc.constantFrom('copied' as const, 'being cut' as const, 'cut' as const),
            cutAt: sequence,
            last,
          },
          { requiredKeys: ['channel', 'clusterId', 'state'], noNullPrototype: true },
        ),
        (note) => assert.deepEqual(readStreamNote(streamNoteText(note)), note),
      ),
    );
    for (const text of [undefined, '', 'orders', "STAN channel 'a' of cluster 'b', moved by resilient-stan"]) {
      assert.equal(readStreamNote(text), undefined);
    }
  });

  it('is read as earlier versions have written it, without where it was cut', () => {
    for (const [text, state] of [
      ['copied', 'copied'],
      ['copied and being cut', 'being cut'],
      ['copied and cut', 'cut'],
    ] as const) {
      assert.deepEqual(readStreamNote(`STAN channel 'a.b' of cluster 'c', ${text} by resilient-stan`), {
        channel: 'a.b',
        clusterId: 'c',
        state,
      });
    }
  });
});

describe('what is to be done at the servers', () => {
  const server = (name: string, door: Door, other: Door = 'open'): ServerDoors => ({
    server: name,
    doors: new Map([
      ['orders', door],
      ['bills', other],
    ]),
  });
  const channels = [{ channel: 'orders' }, { channel: 'bills' }];

  it('is nothing where the doors are open', () => {
    assert.deepEqual(todoOf([server('a:1', 'open'), server('b:1', 'open')], channels, false), []);
  });

  it('is one line for all servers that need the same, with the channels and with what to do', () => {
    const todo = todoOf(
      [
        server('a:1', 'shut'),
        server('b:1', 'closed'),
        server('c:1', 'shut'),
        server('d:1', 'shut', 'shut'),
        server('e:1', 'foreign'),
        server('f:1', 'shut'),
        { server: 'g:1', doors: undefined, reason: 'refused' },
        { server: 'h:1', doors: undefined, reason: 'refused' },
      ],
      channels,
      false,
    );
    assert.deepEqual(
      todo.map((line) => line.split(':1').length - 1),
      [2, 3, 1, 1, 1],
    );
    const [silent, shut, both, closed, foreign] = todo;
    assert.equal(silent, 'g:1 and h:1 cannot be asked (refused): start them, or leave them out of the cluster');
    assert.match(shut!, /^a:1, c:1 and f:1 keep publishers of orders out: write 'mappings: \{\}' .* SIGHUP/);
    assert.match(both!, /^d:1 keeps publishers of orders, bills out: /);
    assert.match(closed!, /^b:1 lets nobody into the streams of orders, .* Write 'mappings: \{\}' /);
    assert.match(foreign!, /^at e:1 somebody who is no stream replies to what is published to orders/);
  });

  it('leaves the mappings of other channels alone, when only some are cut', () => {
    const [line] = todoOf([server('a:1', 'shut')], channels, true);
    assert.match(line!, /take both lines of each of these channels out of its mappings, leave those of other channels/);
  });
});

describe('what is to be done about late messages', () => {
  it('is one line for all channels with the same reason', () => {
    const todo = (channel: string, kind: string) => ({ channel, kind, text: `${kind} with ${channel}` });
    assert.deepEqual(todoLines([todo('a', 'away'), todo('b', 'full'), todo('c', 'away'), todo('d', 'away')]), [
      'away with a. It is the same with channels c, d',
      'full with b',
    ]);
    assert.deepEqual(todoLines([todo('a', 'away'), todo('b', 'away')]), ['away with a. It is the same with channel b']);
    assert.deepEqual(todoLines([]), []);
  });
});

describe('an error of the official client', () => {
  const refusal = (more: object): Error => Object.assign(new Error('no'), more);
  const large = Object.assign(new Error("'payload' max_payload size exceeded"), { name: 'InvalidArgumentError' });

  it('is a refusal when it does not pass by itself, whoever has refused', () => {
    for (const [error, refused] of [
      [refusal({ code: 10054 }), true],
      [refusal({ code: 10008 }), false],
      [refusal({ code: 10059, status: 503 }), false],
      [refusal({ name: 'TimeoutError' }), false],
      [large, true],
      [undefined, false],
    ] as const) {
      assert.equal(isRefusal(error), refused, String(error));
    }
  });

  it('says for what a message is too large', () => {
    assert.equal(tooLargeFor(large), 'servers');
    assert.equal(tooLargeFor(refusal({ code: 10054 })), 'stream');
    assert.equal(tooLargeFor(refusal({ code: 10077 })), undefined);
    assert.equal(tooLargeFor(refusal({ name: 'InvalidArgumentError' })), undefined);
  });
});

describe('the window of a durable', () => {
  it('is that of its last subscriber, also when that was ourselves, who have kept the one before', () => {
    assert.equal(windowOf({ inbox: '_INBOX.abc', max_inflight: 1 }), 1);
    fc.assert(
      fc.property(fc.nat(100_000), (window) => {
        assert.equal(windowOf({ inbox: lookingInbox('_INBOX.abc', window), max_inflight: 1 }), window);
      }),
    );
  });
});

describe('the chain', () => {
  const WINDOW = { messages: 8, bytes: 1000 };
  const link = (sequence: number, size = 1): Link => ({ sequence, size });

  it('sends the first message of a run alone, by its number only, and then as many as the window has', () => {
    const chain = new Chain(10, WINDOW);
    for (let sequence = 11; chain.hasRoom; sequence++) chain.take(link(sequence));
    assert.equal(chain.taken, 18);
    assert.deepEqual(chain.next(), { link: link(11), chained: false });
    assert.equal(chain.next(), undefined);
    chain.storedAt(11);
    for (let sequence = 12; sequence <= 18; sequence++)
      assert.deepEqual(chain.next(), { link: link(sequence), chained: true });
    assert.equal(chain.next(), undefined);
  });

  it('takes one message whatever its size, and no more than the bytes of the window', () => {
    const chain = new Chain(0, WINDOW);
    assert.ok(chain.hasRoom);
    chain.take(link(1, 5000));
    assert.equal(chain.hasRoom, false);
    chain.next();
    chain.storedAt(1);
    assert.ok(chain.hasRoom);
  });

  it('refuses a message that does not follow', () => {
    assert.throws(() => new Chain(5, WINDOW).take(link(7)), /message 7 does not follow message 5/);
  });

  it('begins behind a higher number as long as nothing is on its way', () => {
    const chain = new Chain(10, WINDOW);
    chain.beginBehind(15);
    assert.throws(() => chain.take(link(11)), /does not follow/);
    chain.take(link(16));
    assert.deepEqual(chain.next(), { link: link(16), chained: false });
    assert.throws(() => chain.beginBehind(20), /cannot begin behind 20/);
  });

  it('takes an answer with another number, and every refusal, as a reason to look at the stream', () => {
    assert.equal(verdictOf(5, { stored: 5 }), 'stored');
    assert.equal(verdictOf(5, { stored: 4 }), 'reread');
    assert.equal(verdictOf(5, { refused: 10071, text: '' }), 'reread');
    assert.equal(verdictOf(5, { silent: 'nobody' }), 'reread');
    assert.equal(verdictOf(5, { refused: 10054, text: '' }), 'hopeless');
  });

  it('tells of each message once, in order, when all before it are stored', () => {
    const step = fc.record({ answered: fc.nat({ max: 7 }), resumed: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const told: number[] = [];
        const chain = new Chain(0, WINDOW, ({ sequence }) => told.push(sequence));
        let onWay: number[] = [];
        for (const { answered, resumed } of steps) {
          while (chain.hasRoom) chain.take(link(chain.taken + 1));
          for (let send = chain.next(); send !== undefined; send = chain.next()) onWay.push(send.link.sequence);
          if (resumed) {
            // Answers that came early, and those that were lost, are both found in the stream.
            chain.resume(onWay[answered] ?? chain.stored);
            onWay = [];
          } else onWay.splice(answered, 1).forEach((sequence) => chain.storedAt(sequence));
          assert.deepEqual(
            told,
            Array.from({ length: chain.stored }, (_, i) => i + 1),
          );
        }
      }),
      { numRuns: 500 },
    );
  });

  it('stores nothing behind a foreign message, and all in order without one, whatever is lost on the way', () => {
    const step = fc.constantFrom('answer', 'lose', 'foreign', 'restart' as const);
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), fc.boolean(), (steps, allowForeign) => {
        const stream = new Stream();
        const chain = new Chain(0, WINDOW);
        let onWay: { sequence: number; chained: boolean }[] = [];
        let foreignAt: number | undefined;
        const pump = (): void => {
          while (chain.hasRoom) chain.take(link(chain.taken + 1));
          for (let send = chain.next(); send !== undefined; send = chain.next())
            onWay.push({ sequence: send.link.sequence, chained: send.chained });
        };
        const reread = (): void => {
          chain.stop();
          onWay = [];
          const ours = foreignAt === undefined || stream.messages.length < foreignAt;
          if (ours) chain.resume(stream.messages.length);
        };
        for (const kind of steps) {
          pump();
          if (kind === 'foreign' && allowForeign && foreignAt === undefined) {
            stream.messages.push('foreign');
            foreignAt = stream.messages.length;
          } else if (kind === 'restart') reread();
          else if (onWay.length > 0) {
            const { sequence, chained } = onWay.shift()!;
            const stored = stream.offer(sequence, chained);
            if (stored === undefined) {
              // What is behind it is on its way already, and the server sees it.
              for (const other of onWay) stream.offer(other.sequence, other.chained);
              reread();
            } else if (kind === 'answer') chain.storedAt(stored);
          }
        }
        for (const [i, message] of stream.messages.entries()) {
          if (i + 1 === foreignAt) assert.equal(i + 1, stream.messages.length, 'something is stored behind it');
          else assert.equal(message, `stan:${i + 1}`);
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('the progress of a step', () => {
  it('has a bar, the figures, the rate, the time that is left, and a note', () => {
    assert.equal(
      progressLine({ done: 450, total: 1800, note: 'lag 3' }, 90),
      '[======>                 ] 25 % · 450 of 1\u202f800 · 90/s · 15 s left · lag 3',
    );
    assert.equal(progressLine({ done: 5, total: 5 }, undefined), `[${'='.repeat(24)}] 100 % · 5 of 5`);
  });
});

describe('an account of STAN', () => {
  const of = { name: 'a', account: { name: 'APP', jetstream: false, jwt: false, named: true, mapped: false } };
  const fence = new Map([
    ['orders', '$STANFENCE.orders'],
    ['$STANIMPORT.orders', 'orders'],
  ]);
  const told = (more: object, mappings = new Map<string, string>()): string[] => {
    const account = { ...of.account, mappings, elsewhere: new Map<string, Map<string, string>>(), ...more };
    return accountProblems({ name: 'a', account }, ['orders']).map(({ message }) => message);
  };

  it('that comes from a JWT is given by commands what no configuration file can give it', () => {
    const [message, ...more] = told({ jwt: true });
    assert.deepEqual(more, []);
    assert.deepEqual(message!.split('\n').slice(1), [
      'nsc edit account APP --js-mem-storage -1 --js-disk-storage -1',
      "nsc add mapping --account APP --from 'orders' --to '$STANFENCE.orders'",
      "nsc add mapping --account APP --from '$STANIMPORT.orders' --to 'orders'",
    ]);
    assert.deepEqual(told({ jwt: true, jetstream: true }, fence), []);
  });

  it('cannot be that of users without one, where there are others', () => {
    assert.match(told({ name: '$G' })[0]!, /next to other accounts such users cannot have JetStream/);
    assert.deepEqual(
      [told({ name: '$G', named: false }), told({ name: '$G', jetstream: true }), told({})],
      [[], [], []],
    );
  });
});

describe('the replicas of a stream', () => {
  const state = (first_seq: number, last_seq: number) => ({ first_seq, messages: last_seq - first_seq + 1 });
  const config = { max_age: 0 };

  it('are behind by the word of the leader, or not there', () => {
    const replica = { name: 'b', current: true, active: 0, offline: false };
    const told = (replicas: object[], num_replicas = 3): unknown[] =>
      replicasBehind({ config: { num_replicas }, cluster: { replicas } } as never).map(({ server, what }) => [
        server,
        what,
      ]);
    assert.deepEqual(told([replica, { ...replica, name: 'c' }]), []);
    assert.deepEqual(
      told([
        { ...replica, offline: true, current: false },
        { ...replica, name: 'c', current: false, lag: 7 },
      ]),
      [
        ['b', 'is offline'],
        ['c', 'is 7 operations behind'],
      ],
    );
    assert.deepEqual(told([{ ...replica, current: false }]), [
      ['b', 'is not current'],
      ['', '1 of 3 are not there'],
    ]);
  });

  it('are the same at any moment between two looks at the leader, and not with a message more, less or elsewhere', () => {
    const number = fc.integer({ min: 1, max: 20 });
    const share = fc.double({ min: 0, max: 1, noNaN: true });
    fc.assert(
      fc.property(number, number, number, number, number, share, share, (first, length, dropped, come, shift, d, c) => {
        const last = first + dropped + length;
        const before = state(first, last);
        const after = state(first + dropped, last + come);
        const { first_seq: its, messages: has } = state(first + Math.round(dropped * d), last + Math.round(come * c));
        assert.ok(!differs({ first: its, messages: has }, { config, state: before }, { state: after }));
        const still = [{ config, state: before }, { state: before }] as const;
        const { first_seq, messages } = before;
        assert.ok(differs({ first: first_seq, messages: messages + shift }, ...still));
        assert.ok(differs({ first: first_seq, messages: messages - shift }, ...still));
        assert.ok(differs({ first: first_seq + shift, messages: messages - shift }, ...still));
        assert.ok(
          !differs(
            { first: first_seq + shift, messages: messages - shift },
            { config: { max_age: 1 }, state: before },
            still[1],
          ),
        );
      }),
    );
  });

  it('without messages have none', () => {
    const none = { first_seq: 8, messages: 0 };
    assert.ok(!differs({ first: 1, messages: 0 }, { config, state: none }, { state: none }));
    assert.ok(differs({ first: 1, messages: 7 }, { config, state: none }, { state: none }));
  });
});

describe('what verify says', () => {
  const same = {
    ...{ channel: 'orders', stream: 'orders', first: 11, last: 30, compared: 20, onlyInJetStream: 0, stragglers: 0 },
    ...{ native: 0, stanDigest: 'a'.repeat(64), jetStreamDigest: 'a'.repeat(64), different: 0, differences: [] },
  };
  const lines = (...channels: object[]): string[] =>
    verifyLines(
      {
        ok: true,
        problems: [],
        channels: channels.map((each) => ({ ...same, ...each })),
        compared: 20,
        duration: 1200,
      },
      Infinity,
    );

  it('has the columns that every move has', () => {
    assert.deepEqual(lines({}), [
      '  channel  stream  first  last  compared  different  digest',
      '  orders   orders     11    30        20          0  aaaaaaaaaaaa',
      '',
      '20 messages compared in 1.2 s',
    ]);
  });

  it('counts what came late, what is native and what STAN has dropped, where there is any of it', () => {
    assert.deepEqual(lines({ stragglers: 2, native: 3, onlyInJetStream: 10 }, {}).slice(0, 3), [
      '  channel  stream  first  last  compared  different  late  native  only in JetStream  digest',
      '  orders   orders     11    30        20          0     2       3                 10  aaaaaaaaaaaa',
      '  orders   orders     11    30        20          0     0       0                  0  aaaaaaaaaaaa',
    ]);
    assert.match(lines({ native: 3 })[0]!, /different {2}native {2}digest$/);
  });
});

describe('what a plan says', () => {
  it('is that a server is ready only if it has JetStream and the fence', () => {
    const server = { name: 'a', monitor: 'http://a:8222', version: '2.9.24', jetstream: true, fenced: true, add: [] };
    const [one, two] = inPlaceLines(
      {
        ok: false,
        problems: [],
        servers: [
          { ...server, account: '$G' },
          { ...server, account: 'APP', fenced: false },
        ],
        afterwards: [],
      },
      80,
    );
    assert.equal(one, 'server a (http://a:8222, NATS 2.9.24): ready');
    assert.equal(
      two,
      'server a (http://a:8222, NATS 2.9.24, account APP): not ready, and no line of its file can change that',
    );
  });

  it('is a comment to its last word where it stands in a configuration, however narrow the terminal is', () => {
    const [name, where] = ['a server of the cluster '.repeat(6), 'at the top level, on a disk with room '.repeat(6)];
    const add = [{ what: name, where, lines: ['jetstream: {', '}'], needs: 'restart' }] as const;
    const server = {
      name: 'a',
      monitor: 'http://a:8222',
      version: '2.9.24',
      account: '$G',
      jetstream: false,
      fenced: true,
      add,
    };
    const report = { ok: true, problems: [], servers: [server], afterwards: ['one two three four five '.repeat(9)] };
    for (const width of [40, 80, 120, Infinity]) {
      const lines = inPlaceLines(report, width);
      const end = lines.indexOf('Then:');
      const pasted = lines.slice(1, end).map((line) => line.trim());
      assert.deepEqual(
        pasted.filter((line) => line !== '' && !line.startsWith('# ')),
        ['jetstream: {', '}'],
      );
      assert.equal(
        pasted
          .filter((line) => line.startsWith('# '))
          .join(' ')
          .replaceAll('# ', '')
          .replace(/ +/g, ' '),
        `${name}${where}needs a restart`,
      );
      assert.ok(lines.slice(1).every((line) => line.length <= Math.min(width, 100)));
      assert.deepEqual(
        lines.slice(end + 1).map((line) => line.slice(0, 5)),
        lines.slice(end + 1).map((_, i) => (i === 0 ? '  1. ' : '     ')),
        'below the text of its item',
      );
    }
  });
});
