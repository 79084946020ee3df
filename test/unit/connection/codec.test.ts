import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import fc from 'fast-check';
import {
  AckFrames,
  GUID_LENGTH,
  GUID_PREFIX_LENGTH,
  guidOfPlainAck,
  MessageFrame,
  nextNumber,
  numberOf,
  PublishFrames,
  readPubAck,
} from '../../../src/connection/codec.js';

interface Protobuf {
  serializeBinary(): Uint8Array;
  [method: `set${string}`]: (value: unknown) => void;
  [method: `get${string}`]: () => unknown;
}
type ProtobufClass = (new () => Protobuf) & { deserializeBinary(bytes: Uint8Array): Protobuf };

/** The wrapped client's own classes: what they write has to be read, and what they read has to be written. */
const { pb } = createRequire(import.meta.url)('node-nats-streaming/lib/pb') as {
  pb: Record<'PubMsg' | 'PubAck' | 'MsgProto' | 'Ack', ProtobufClass>;
};

function encoded(type: ProtobufClass, fields: Record<string, unknown>): string {
  const message = new type();
  for (const [name, value] of Object.entries(fields)) message[`set${name}`]?.(value);
  return Buffer.from(message.serializeBinary()).toString('latin1');
}

const bytes = (maxLength = 300): fc.Arbitrary<Uint8Array> => fc.uint8Array({ maxLength });
/** Of every length that a varint can have, up to what a double holds exactly. */
const number = fc
  .tuple(fc.integer({ min: 0, max: 53 }), fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }))
  .map(([bits, part]) => Math.floor(2 ** bits * (1 + part)))
  .map((value) => Math.min(value, Number.MAX_SAFE_INTEGER));
const name = fc.stringMatching(/^[a-zA-Z0-9._-]{1,40}$/);

/** What a NATS frame consists of: `PUB <subject> <reply> <length>`, the payload. */
function parseFrame(frame: Buffer): { words: string[]; payload: Buffer } {
  const end = frame.indexOf('\r\n');
  const words = frame.subarray(0, end).toString('latin1').split(' ');
  const length = Number(words.at(-1));
  assert.equal(frame.length, end + 2 + length + 2, 'the length in the line is that of the payload');
  assert.equal(frame.subarray(-2).toString('latin1'), '\r\n');
  return { words, payload: frame.subarray(end + 2, -2) };
}

describe('the codec', () => {
  describe('of delivered messages', () => {
    it('reads what protobuf writes', () => {
      fc.assert(
        fc.property(
          fc.record({
            Sequence: number,
            Subject: name,
            Reply: fc.string({ maxLength: 20 }),
            Data: bytes(),
            Timestamp: number,
            Redelivered: fc.boolean(),
            RedeliveryCount: fc.nat(),
            Crc32: fc.nat(),
          }),
          (fields) => {
            const message = new MessageFrame(encoded(pb.MsgProto, fields));
            assert.equal(message.getSequence(), fields.Sequence);
            assert.equal(message.getTimestampRaw(), fields.Timestamp);
            assert.equal(message.isRedelivered(), fields.Redelivered);
            assert.equal(message.getRedeliveryCount(), fields.RedeliveryCount);
            assert.deepEqual(message.getRawData(), Buffer.from(fields.Data));
          },
        ),
      );
    });

    it('reads timestamps as the wrapped client does, beyond what a double holds exactly', () => {
      fc.assert(
        fc.property(fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }), (nanoseconds) => {
          const frame = [0x28];
          for (let rest = nanoseconds; ; rest >>= 7n) {
            frame.push(Number(rest & 0x7fn) | (rest < 128n ? 0 : 0x80));
            if (rest < 128n) break;
          }
          const theirs = pb.MsgProto.deserializeBinary(Uint8Array.from(frame)).getTimestamp?.();
          const message = new MessageFrame(Buffer.from(frame).toString('latin1'));
          const ours = message.getTimestampRaw();
          assert.equal(message.getTimestampNanos(), nanoseconds);
          assert.equal(ours, theirs);
          assert.equal(ours, Number(nanoseconds));
        }),
      );
    });

    it('gives each payload a buffer of its own', () => {
      const message = new MessageFrame(encoded(pb.MsgProto, { Data: Uint8Array.of(1, 2, 3) }));
      message.getRawData().fill(0);
      assert.deepEqual(message.getRawData(), Buffer.of(1, 2, 3));
    });

    it('passes over fields it does not know', () => {
      // 15: a varint; 16: eight bytes; 17: bytes; 18: four bytes; and then the sequence.
      const unknown = [
        0x78, 0xff, 0x01, 0x81, 0x01, 1, 2, 3, 4, 5, 6, 7, 8, 0x8a, 0x01, 2, 9, 9, 0x95, 0x01, 1, 2, 3, 4,
      ];
      const frame = Buffer.from([...unknown, 0x08, 42]).toString('latin1');
      assert.equal(new MessageFrame(frame).getSequence(), 42);
    });

    it('takes a frame without anything for a message without anything', () => {
      const message = new MessageFrame('');
      assert.equal(message.getSequence(), 0);
      assert.equal(message.getRawData().length, 0);
    });
  });

  describe('of malformed frames', () => {
    it('throws an error, and nothing else ever happens', () => {
      const read = [(frame: string) => new MessageFrame(frame), readPubAck];
      fc.assert(
        fc.property(bytes(40), (garbage) => {
          const frame = Buffer.from(garbage).toString('latin1');
          for (const each of read) {
            try {
              each(frame);
            } catch (error) {
              assert.match((error as Error).message, /malformed/);
            }
          }
        }),
        { numRuns: 2000 },
      );
    });

    it('throws wherever a field is cut off', () => {
      const message = encoded(pb.MsgProto, { Data: new Uint8Array(200).fill(7) });
      for (let length = 1; length < message.length; length++) {
        assert.throws(() => new MessageFrame(message.slice(0, length)), /malformed/, `after ${length} bytes`);
      }
      const ack = encoded(pb.PubAck, { Guid: 'g'.repeat(GUID_LENGTH) });
      for (let length = 1; length < ack.length; length++) {
        assert.throws(() => readPubAck(ack.slice(0, length)), /malformed/, `after ${length} bytes`);
      }
    });
  });

  describe('of acknowledged publishes', () => {
    const guid = fc.string({ minLength: GUID_LENGTH, maxLength: GUID_LENGTH, unit: 'grapheme-ascii' });

    it('reads what protobuf writes', () => {
      fc.assert(
        fc.property(guid, fc.string({ unit: 'grapheme', maxLength: 60 }), (Guid, ErrorText) => {
          const frame = encoded(pb.PubAck, { Guid, Error: ErrorText });
          assert.deepEqual(readPubAck(frame), { guid: Guid, error: ErrorText });
          assert.equal(guidOfPlainAck(frame), ErrorText === '' ? Guid : undefined);
        }),
      );
    });

    it('sees that there is more than a GUID, or another one', () => {
      assert.equal(guidOfPlainAck(encoded(pb.PubAck, { Guid: 'short' })), undefined);
      assert.equal(guidOfPlainAck(encoded(pb.PubAck, { Error: 'e'.repeat(GUID_LENGTH) })), undefined);
      assert.equal(guidOfPlainAck(''), undefined);
    });
  });

  describe('of publishes', () => {
    const frames = (guid: string): PublishFrames =>
      new PublishFrames({
        subject: '_STAN.pub.cluster',
        inbox: '_STAN.acks.inbox',
        clientId: 'client',
        connectionId: Buffer.from('connection'),
        guid,
      });
    const prefix = 'p'.repeat(GUID_PREFIX_LENGTH);

    it('writes what protobuf reads, and finds the number in the GUID again', () => {
      const ours = frames(prefix);
      fc.assert(
        fc.property(name, bytes(), number, (channel, data, n) => {
          const wanted = n % 2 ** 40;
          const { words, payload } = parseFrame(ours.frame(channel, data, wanted));
          assert.deepEqual(words.slice(0, 3), ['PUB', `_STAN.pub.cluster.${channel}`, '_STAN.acks.inbox']);
          const message = pb.PubMsg.deserializeBinary(payload);
          assert.equal(message.getClientId?.(), 'client');
          assert.equal(Buffer.from(message.getConnId?.() as Uint8Array).toString(), 'connection');
          assert.equal(message.getSubject?.(), channel);
          assert.deepEqual(Buffer.from(message.getData?.() as Uint8Array), Buffer.from(data));
          const guid = message.getGuid?.() as string;
          assert.equal(guid.length, GUID_LENGTH);
          assert.ok(guid.startsWith(prefix));
          assert.equal(numberOf(guid), wanted);
        }),
      );
    });

    it('writes payloads of every size around the limits of its length fields', () => {
      const ours = frames(prefix);
      for (const size of [0, 1, 9, 10, 127, 128, 999, 1000, 16_383, 16_384, 1_000_000]) {
        const { payload } = parseFrame(ours.frame('foo', new Uint8Array(size).fill(size), 1));
        assert.equal((pb.PubMsg.deserializeBinary(payload).getData?.() as Uint8Array).length, size);
      }
    });

    it('forgets channels rather than growing', () => {
      const ours = frames(prefix);
      for (let i = 0; i < 3000; i++) {
        const { payload } = parseFrame(ours.frame(`foo.${i}`, new Uint8Array(1), i));
        assert.equal(pb.PubMsg.deserializeBinary(payload).getSubject?.(), `foo.${i}`);
      }
    });

    it('starts its numbers over before a GUID cannot hold them', () => {
      assert.equal(nextNumber(1), 2);
      assert.equal(nextNumber(2 ** 40 - 1), 0);
    });
  });

  it('writes acknowledgements that protobuf reads', () => {
    fc.assert(
      fc.property(name, number, (channel, sequence) => {
        const { words, payload } = parseFrame(new AckFrames('_STAN.inbox', channel).frame(sequence));
        assert.deepEqual(words.slice(0, 2), ['PUB', '_STAN.inbox']);
        const ack = pb.Ack.deserializeBinary(payload);
        assert.equal(ack.getSubject?.(), channel);
        assert.equal(ack.getSequence?.(), sequence);
      }),
    );
  });
});
