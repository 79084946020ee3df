/**
 * The pure readers of what comes from outside, under random bytes and spoilt frames: each gives a value or throws an Error,
 * and none reads past the end, loops, or takes more than there is. `FUZZ_RUNS` sets how many; default 2000 each.
 */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { guidOfPlainAck, MessageFrame, numberOf, readPubAck } from '../../src/connection/codec.js';
import { readFrames } from '../../src/connection/inbound.js';
import { parseServers } from '../../src/connection/servers.js';
import { InvalidArgumentError } from '../../src/errors.js';
import { randomFrom } from '../../src/testing/random.js';
import { encode } from '../support/peer.js';
import { MUTATIONS } from './mutations.js';

const numRuns = Number(process.env['FUZZ_RUNS'] ?? 2000);

const bytes = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array));
const good = fc.oneof(
  fc
    .record({
      sequence: fc.nat(),
      subject: fc.string({ maxLength: 20 }),
      data: fc.uint8Array({ maxLength: 50 }),
      timestamp: fc.nat(),
      redelivered: fc.boolean(),
      redeliveryCount: fc.nat(100),
    })
    .map((fields) => encode('MsgProto', fields)),
  fc
    .record({ guid: fc.string({ maxLength: 30 }), error: fc.string({ maxLength: 30 }) })
    .map((f) => encode('PubAck', f)),
);
const frameOf = (body: Buffer): Buffer =>
  Buffer.concat([Buffer.from(`MSG _INBOX.x 1 ${body.length}\r\n`), body, Buffer.from('\r\n')]);
/** What a liar makes of good frames, as it would arrive. */
const spoilt = fc
  .tuple(fc.array(good, { minLength: 1, maxLength: 5 }), fc.constantFrom(...Object.keys(MUTATIONS)), fc.nat())
  .map(([bodies, mutation, seed]) => {
    const random = randomFrom(seed);
    return Buffer.concat(bodies.flatMap((body) => MUTATIONS[mutation]!(frameOf(body), 'message', random)));
  });
const body = fc.oneof(bytes, good, spoilt);

describe('readers of what comes from outside, under random bytes', function () {
  this.timeout(120_000 + numRuns);

  it('a message: a value or an Error, and its payload is a part of it', () => {
    fc.assert(
      fc.property(body, (raw) => {
        const text = raw.toString('latin1');
        let message: MessageFrame;
        try {
          message = new MessageFrame(text);
        } catch (error) {
          assert.ok(error instanceof Error);
          assert.ok(error.message.length < 200);
          return;
        }
        assert.ok(raw.includes(message.getRawData()));
        for (const number of [message.getSequence(), message.getTimestampRaw(), message.getRedeliveryCount()]) {
          assert.ok(number >= 0 && number <= 2 ** 64, String(number));
        }
      }),
      { numRuns },
    );
  });

  it('an acknowledgement of a publish: a value or an Error', () => {
    fc.assert(
      fc.property(body, (raw) => {
        const text = raw.toString('latin1');
        const plain = guidOfPlainAck(text);
        if (plain !== undefined) assert.equal(typeof numberOf(plain), 'number');
        try {
          const { guid, error } = readPubAck(text);
          assert.ok(Buffer.byteLength(guid) <= raw.length * 3 && Buffer.byteLength(error) <= raw.length * 3);
          assert.equal(typeof numberOf(guid), 'number');
        } catch (error) {
          assert.ok(error instanceof Error);
          assert.ok(error.message.length < 200);
        }
      }),
      { numRuns },
    );
  });

  it('frames: as many bytes are read as there are, whatever they are, and it comes to an end in any pieces', () => {
    fc.assert(
      fc.property(fc.oneof(spoilt, bytes), fc.nat(50), (raw, piece) => {
        let taken = 0;
        const receiver = (sid: number) => (sid === 1 ? (payload: string) => void (taken += payload.length) : undefined);
        let inbound: Buffer = Buffer.alloc(0);
        for (let at = 0; at < raw.length; at += piece + 1) {
          inbound = Buffer.concat([inbound, raw.subarray(at, at + piece + 1)]);
          const { consumed, parse } = readFrames(inbound, receiver, () => true);
          assert.ok(consumed >= 0 && consumed <= inbound.length, `${consumed} of ${inbound.length}`);
          assert.ok(parse >= 0, `${parse} for the parser`);
          inbound = inbound.subarray(consumed);
          // What is not for us is for somebody else.
          inbound = inbound.subarray(Math.min(parse, inbound.length));
        }
        assert.ok(taken <= raw.length);
      }),
      { numRuns },
    );
  });

  it('a server list: addresses that can be dialled, or an InvalidArgumentError', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 60 }),
      fc
        .tuple(
          fc.constantFrom('', 'nats://', 'tls://', 'NATS://', 'http://', '//'),
          fc.constantFrom('', 'me:pw@', 'token@', '@', 'a@b@', '%@', '%00:%0d%0a@'),
          fc.oneof(
            fc.constantFrom('localhost', '127.0.0.1', '[::1]', '::1', '256.1.1.1', 'x\r\ny', '', '.'),
            fc.string(),
          ),
          fc.oneof(fc.constantFrom('', ':4222', ':0', ':99999', ':-1', ':1e3', ':4222/', ':4222?x'), fc.string()),
        )
        .map((parts) => parts.join('')),
    );
    fc.assert(
      fc.property(fc.oneof(text, fc.array(text, { maxLength: 4 }), fc.anything()), (servers) => {
        let addresses;
        try {
          addresses = parseServers(servers);
        } catch (error) {
          assert.ok(error instanceof InvalidArgumentError, String(error));
          assert.match(error.message, /^[^\p{Cc}]+$/u);
          return;
        }
        for (const { url, host, port } of addresses) {
          assert.match(url, /^(nats|tls):\/\/[^\s\p{Cc}@/]+:\d+$/u);
          assert.ok(host.length > 0 && port >= 1 && port <= 65535);
        }
      }),
      { numRuns },
    );
  });
});
