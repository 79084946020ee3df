/** What a lying server may do to a frame on its way out. Pure: everything follows from the random numbers. */
import { between, pick, type Random } from '../../src/testing/random.js';
import { encode, type Step } from '../support/peer.js';

/** Of the frame: what goes out instead, as so many writes; nothing, when it is lost. */
export type Mutation = (frame: Buffer, step: Step, random: Random) => Buffer[];

const CRLF = Buffer.from('\r\n');

/** The line of a frame, and its body; a frame without one has an empty one. */
function parts(frame: Buffer): { line: string; body: Buffer } {
  const end = frame.indexOf(CRLF);
  return { line: frame.toString('latin1', 0, end), body: frame.subarray(end + 2, -2) };
}

/** The same frame with another body, of the right length. */
function withBody(frame: Buffer, change: (body: Buffer) => Buffer): Buffer[] {
  if (!frame.subarray(0, 4).equals(Buffer.from('MSG '))) return [change(Buffer.from(frame))];
  const { line, body } = parts(frame);
  const changed = change(Buffer.from(body));
  const head = line.slice(0, line.lastIndexOf(' '));
  return [Buffer.concat([Buffer.from(`${head} ${changed.length}\r\n`, 'latin1'), changed, CRLF])];
}

function randomBytes(random: Random, length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => between(random, 0, 255)));
}

function flip(random: Random, bytes: Buffer): Buffer {
  const flipped = Buffer.from(bytes);
  if (flipped.length === 0) return flipped;
  for (let times = between(random, 1, 5); times > 0; times--) {
    const at = between(random, 0, flipped.length - 1);
    flipped[at] = flipped[at]! ^ (1 << between(random, 0, 7));
  }
  return flipped;
}

function splice(random: Random, bytes: Buffer, inserted: Buffer): Buffer {
  const at = between(random, 0, bytes.length);
  return Buffer.concat([bytes.subarray(0, at), inserted, bytes.subarray(at)]);
}

function cut(random: Random, bytes: Buffer): Buffer {
  return bytes.subarray(0, between(random, 0, Math.max(bytes.length - 1, 0)));
}

/** Lines that mean something, in a place where they mean something else. No refusal that would rightly be final. */
const WORDS = [
  '+OK\r\n',
  'PING\r\n',
  'PONG\r\n',
  'PONG\r\nPONG\r\n',
  'MSG\r\n',
  'MSG a 1 1\r\nx\r\n',
  'MSG a 1 _INBOX.x 5\r\n',
  'MSG a 999999999999 1\r\nx\r\n',
  'MSG a 1 2147483648\r\n',
  'MSG a 1 -1\r\n',
  'MSG a 1 1e3\r\n',
  'HMSG a 1 1 1\r\n',
  'INFO {}\r\n',
  'INFO null\r\n',
  'INFO []\r\n',
  'INFO {"max_payload":-1}\r\n',
  'INFO {"connect_urls":["127.0.0.1:1",7,null,"\\r\\n"]}\r\n',
  'INFO {"connect_urls":{"length":1e9}}\r\n',
  'INFO {"ldm":true,"nonce":"x"}\r\n',
  "-ERR 'Some Error'\r\n",
  "-ERR 'Stale Connection'\r\n",
  "-ERR 'Slow Consumer'\r\n",
  '-ERR\r\n',
  "-ERR '\r\n",
  '\r\n',
  '\r',
  '\n',
  '\0',
  ' ',
  'CONNECT {}\r\n',
  '\u00ff\u00fe',
].map((text) => Buffer.from(text, 'latin1'));

const NUMBERS = [
  '0',
  '-1',
  '2147483648',
  '4294967296',
  '9007199254740993',
  '1e309',
  'NaN',
  '0x10',
  '',
  '00000001',
  '.5',
];

/** Values of every type but the right one. */
const VALUES: readonly unknown[] = [
  ...[null, true, false, 0, 1, -1, 0.5, 1e300, 2 ** 31, '', 'yes', '\r\n', 'x'.repeat(5000)],
  ...[[], {}, [null], ['127.0.0.1:1', 7, {}], { length: 5 }, { toString: 'x' }, { __proto__: 1 }],
];
const FIELDS = [
  ...['server_id', 'version', 'proto', 'host', 'port', 'max_payload', 'connect_urls', 'tls_required', 'tls_verify'],
  ...['auth_required', 'nonce', 'headers', 'client_id', 'client_ip', 'ldm', 'lame_duck_mode', 'cluster', '__proto__'],
];

const ERRORS: Partial<Record<Step, string>> = {
  ask: 'PingResponse',
  connect: 'ConnectResponse',
  publish: 'PubAck',
  subscribe: 'SubscriptionResponse',
  close: 'CloseResponse',
};
const KINDS = ['PingResponse', 'ConnectResponse', 'PubAck', 'SubscriptionResponse', 'MsgProto', 'CloseResponse'];

export const MUTATIONS: Readonly<Record<string, Mutation>> = {
  'bits flipped': (frame, _step, random) => [flip(random, frame)],
  'bits of the body flipped': (frame, _step, random) => withBody(frame, (body) => flip(random, body)),
  'another body': (frame, _step, random) => withBody(frame, () => randomBytes(random, between(random, 0, 200))),
  'no body': (frame) => withBody(frame, () => Buffer.alloc(0)),
  'body cut off': (frame, _step, random) => withBody(frame, (body) => cut(random, body)),
  'a number without an end': (frame, _step, random) =>
    withBody(frame, (body) => splice(random, body, Buffer.alloc(between(random, 1, 12), 0xff))),
  'a huge field': (frame, _step, random) =>
    withBody(frame, (body) =>
      splice(random, body, Buffer.from([pick(random, [0x0a, 0x12, 0x22]), 0xff, 0xff, 0xff, 0x7f])),
    ),
  'an error': (frame, step, random) => {
    const kind = ERRORS[step];
    const words = pick(random, ['x', 'stan: some error', '\u001b[31m\r\n'.repeat(50), 'y'.repeat(100_000)]);
    return kind === undefined ? [frame] : withBody(frame, () => encode(kind, { error: words }));
  },
  'the answer to something else': (frame, _step, random) => {
    const kind = pick(random, KINDS);
    const fields = kind === 'MsgProto' ? { sequence: 1, subject: 'x' } : { error: 'stan: some error' };
    return withBody(frame, () => encode(kind, fields));
  },
  'absurd numbers': (frame, step, random) => {
    const number = pick(random, [0, -1, 2 ** 31 - 1, -(2 ** 31)]);
    if (step === 'connect') {
      return withBody(frame, (body) =>
        Buffer.concat([
          body,
          encode('ConnectResponse', { pingInterval: number, pingMaxOut: number, protocol: number }),
        ]),
      );
    }
    const sequence = pick(random, [0, 1, 2 ** 31, 2 ** 53, Number.MAX_SAFE_INTEGER]);
    return withBody(frame, (body) => Buffer.concat([body, encode('MsgProto', { sequence, timestamp: sequence })]));
  },
  'cut off': (frame, _step, random) => [cut(random, frame)],
  twice: (frame) => [frame, frame],
  'many times': (frame, _step, random) => Array.from({ length: between(random, 3, 50) }, () => frame),
  'in two pieces': (frame, _step, random) => {
    const at = between(random, 1, frame.length - 1);
    return [frame.subarray(0, at), frame.subarray(at)];
  },
  lost: () => [],
  'numbers of its line': (frame, _step, random) => {
    const { line } = parts(frame);
    const numbers = [...line.matchAll(/\d+/g)];
    if (numbers.length === 0) return [frame];
    const { index, 0: digits } = pick(random, numbers);
    const changed = line.slice(0, index) + pick(random, NUMBERS) + line.slice(index + digits.length);
    return [Buffer.concat([Buffer.from(changed, 'latin1'), frame.subarray(line.length)])];
  },
  'something before it': (frame, _step, random) => [pick(random, WORDS), frame],
  'something behind it': (frame, _step, random) => [Buffer.concat([frame, pick(random, WORDS)])],
  'something in it': (frame, _step, random) => [splice(random, frame, pick(random, WORDS))],
  'something instead': (_frame, _step, random) => [pick(random, WORDS)],
  'noise before it': (frame, _step, random) => [randomBytes(random, between(random, 1, 100)), frame],
  'noise instead': (_frame, _step, random) => [randomBytes(random, between(random, 1, 5000))],
  'a line without an end': (frame, _step, random) => [
    frame,
    Buffer.alloc(between(random, 1000, 100_000), pick(random, ['x', ' ', 'MSG a 1 1 ', '\0'])),
  ],
  'wrong types in the INFO': (frame, step, random) => {
    if (step !== 'info') return [Buffer.concat([frame, Buffer.from(`INFO {"${pick(random, FIELDS)}":null}\r\n`)])];
    const info = JSON.parse(frame.toString('utf8', 5)) as Record<string, unknown>;
    for (let times = between(random, 1, 4); times > 0; times--) {
      const name = pick(random, FIELDS);
      const value = pick(random, [...VALUES, undefined]);
      Object.defineProperty(info, name, { value, enumerable: true, configurable: true, writable: true });
    }
    return [Buffer.from(`INFO ${JSON.stringify(info)}\r\n`)];
  },
};
