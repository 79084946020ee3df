import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import fc from 'fast-check';
import { readFrames } from '../../../src/connection/inbound.js';
import { guardParser, takeFrames, type NatsConnection } from '../../../src/connection/wire.js';

/** `nats` without a network: the parser, and what it needs. */
interface Parser {
  inbound: Buffer | null;
  pstate: number;
  closed: boolean;
  subs: Record<number, { callback: (payload: string) => void; received: number }> | null;
  processInbound(): void;
}

const nats = createRequire(import.meta.url)('nats') as {
  connect(options: object): Parser & { on(event: string, listener: () => void): void; close(): void };
};

function prototypeOfParser(): object {
  const client = nats.connect({ url: 'nats://127.0.0.1:1', reconnect: false });
  client.on('error', () => {});
  client.close();
  return Object.getPrototypeOf(client) as object;
}

const OURS = [1, 22, 333];
const THEIRS = 4;

/** What was read, in order: `<sid>:<payload>`. */
function parserWith(log: string[], onPayload: (sid: number, payload: string) => void = () => {}): Parser {
  const receive = (sid: number) => (payload: string) => {
    log.push(`${sid}:${payload}`);
    onPayload(sid, payload);
  };
  return Object.assign(Object.create(prototypeOfParser()) as Parser, {
    inbound: null,
    pstate: 0,
    closed: false,
    encoding: 'binary',
    options: {},
    pongs: [],
    stream: { resume: () => {} },
    sendCommand: () => log.push('pong'),
    subs: Object.fromEntries([...OURS, THEIRS].map((sid) => [sid, { callback: receive(sid), received: 0 }])),
  });
}

function guarded(log: string[], onPayload?: (sid: number, payload: string) => void): Parser {
  const parser = parserWith(log, onPayload);
  const connection = parser as unknown as NatsConnection;
  guardParser(connection, (thrown) => log.push(`thrown: ${String(thrown)}`));
  for (const sid of OURS) takeFrames(connection, sid, parser.subs![sid]!.callback);
  return parser;
}

/** As the socket's listener does. */
function feed(parser: Parser, chunk: Buffer): void {
  parser.inbound = parser.inbound ? Buffer.concat([parser.inbound, chunk]) : chunk;
  parser.processInbound();
}

const message = (sid: number, payload: string, reply = ''): string =>
  `MSG some.subject ${sid} ${reply}${payload.length}\r\n${payload}\r\n`;

const payload = fc.oneof(
  fc.string({ unit: fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)), maxLength: 40 }),
  // What looks like frames.
  fc.constantFrom('', '\r\n', 'PING\r\n', 'MSG a 1 1\r\nx\r\n'),
  fc.integer({ min: 1000, max: 40_000 }).map((length) => 'x'.repeat(length)),
);
const frame = fc.oneof(
  { weight: 8, arbitrary: fc.tuple(fc.constantFrom(...OURS), payload).map(([sid, data]) => message(sid, data)) },
  fc.tuple(fc.constantFrom(...OURS), payload).map(([sid, data]) => message(sid, data, '_INBOX.reply7 ')),
  payload.map((data) => message(THEIRS, data)),
  payload.map((data) => message(99, data)),
  fc.constantFrom('PING\r\n', 'PONG\r\n', '+OK\r\n'),
  // Legal, and unusual.
  fc.constantFrom(
    'msg some.subject 1 2\r\nhi\r\n',
    'MSG  some.subject\t1 2\r\nhi\r\n',
    'MSG some.subject 1 reply  2\r\nhi\r\n',
  ),
);

describe('frames that are read before the parser', () => {
  it('are the same, in the same order, as the parser alone reads, wherever the stream is cut', () => {
    fc.assert(
      fc.property(
        fc.array(frame, { maxLength: 12 }),
        fc.array(fc.oneof(fc.nat(20), fc.nat(70_000)), { minLength: 1, maxLength: 20 }),
        (frames, cuts) => {
          const stream = Buffer.from(frames.join(''), 'latin1');
          const seen: string[][] = [];
          for (const make of [parserWith, guarded]) {
            const log: string[] = [];
            const parser = make(log);
            for (let at = 0, i = 0; at < stream.length; i++) {
              const size = Math.max(1, cuts[i % cuts.length]!);
              feed(parser, stream.subarray(at, at + size));
              at += size;
            }
            assert.equal(parser.inbound, null, 'all is read');
            seen.push(log);
          }
          assert.deepEqual(seen[1], seen[0]);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('are read at every cut through a stream', () => {
    const stream = Buffer.from(
      `${message(1, 'one')}PING\r\n${message(22, '')}${message(4, 'x')}${message(333, 'three')}`,
    );
    const expected: string[] = [];
    feed(parserWith(expected), stream);
    for (let cut = 1; cut < stream.length; cut++) {
      const log: string[] = [];
      const parser = guarded(log);
      feed(parser, stream.subarray(0, cut));
      feed(parser, stream.subarray(cut));
      assert.deepEqual(log, expected, `cut at ${cut}`);
    }
  });

  it('end with the connection: what has arrived after that is not read', () => {
    const log: string[] = [];
    const parser = guarded(log, () => {
      parser.closed = true;
      parser.subs = null;
      parser.inbound = null;
    });
    feed(parser, Buffer.from(message(1, 'last') + message(1, 'never')));
    assert.deepEqual(log, ['1:last']);
    assert.equal(parser.inbound, null);
  });

  it('of a subscription given up meanwhile are passed over', () => {
    const log: string[] = [];
    const parser = guarded(log, () => delete parser.subs![1]);
    feed(parser, Buffer.from(message(1, 'last') + message(1, 'never') + message(22, 'other')));
    assert.deepEqual(log, ['1:last', '22:other']);
  });

  it('whose receiver throws end the connection, not the process', () => {
    const log: string[] = [];
    const parser = guarded(log, () => {
      throw new Error('broken');
    });
    feed(parser, Buffer.from(message(1, 'x')));
    assert.deepEqual(log, ['1:x', 'thrown: Error: broken']);
  });

  it('are left to the parser when they are large and not whole, so that nothing is copied again and again', () => {
    const head = Buffer.from(`MSG a 1 1000000\r\n${'x'.repeat(1000)}`);
    const receiver = (): (() => void) => () => assert.fail('it is not whole');
    assert.deepEqual(
      readFrames(head, receiver, () => true),
      { consumed: 0, parse: Infinity, line: false },
    );
    const small = Buffer.from(`MSG a 1 4000\r\n${'x'.repeat(1000)}`);
    assert.deepEqual(
      readFrames(small, receiver, () => true),
      { consumed: 0, parse: 0, line: false },
    );
  });

  it('are read after a frame that is for the parser, and after one whose payload it has begun', () => {
    const log: string[] = [];
    const parse = prototypeOfParser() as { processInbound: (this: Parser) => void };
    const given: number[] = [];
    const original = parse.processInbound;
    parse.processInbound = function () {
      given.push(this.inbound?.length ?? 0);
      original.call(this);
    };
    try {
      const watched = guarded(log);
      const large = message(1, 'x'.repeat(5000));
      feed(
        watched,
        Buffer.from(`PING\r\n${message(1, 'a')}${message(4, 'b')}${message(1, 'c')}${large.slice(0, 100)}`),
      );
      feed(watched, Buffer.from(large.slice(100) + message(1, 'd')));
      assert.deepEqual(log, ['pong', '1:a', '4:b', '1:c', `1:${'x'.repeat(5000)}`, '1:d']);
      assert.deepEqual(given, ['PING\r\n'.length, message(4, 'b').length, 100, large.length - 100]);
    } finally {
      parse.processInbound = original;
    }
  });

  it('are not waited for without end: a line that is too long is for the parser', () => {
    const { parse } = readFrames(
      Buffer.from(`MSG ${'a'.repeat(5000)}`),
      () => undefined,
      () => true,
    );
    assert.equal(parse, Infinity);
  });
});
