import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import fc from 'fast-check';
import { PubMsgSize } from '../../../src/publishing/pubmsg-size.js';

interface PubMsg {
  setClientId(id: string): void;
  setGuid(guid: string): void;
  setSubject(channel: string): void;
  setData(data: Uint8Array): void;
  setConnId(id: Uint8Array): void;
  serializeBinary(): Uint8Array;
}
const { pb } = createRequire(import.meta.url)('node-nats-streaming/lib/pb') as { pb: { PubMsg: new () => PubMsg } };

/** As the wrapped client makes it. */
function encoded(clientId: string, channel: string, payload: number): number {
  const message = new pb.PubMsg();
  message.setClientId(clientId);
  message.setConnId(Buffer.alloc(22, 'c'));
  message.setGuid('g'.repeat(22));
  message.setSubject(channel);
  message.setData(new Uint8Array(payload));
  return message.serializeBinary().length;
}

describe('PubMsgSize', () => {
  it('is exactly what the wrapped client encodes', () => {
    const name = fc.integer({ min: 1, max: 300 }).map((length) => 'n'.repeat(length));
    const payload = fc.oneof(fc.constantFrom(0, 1, 127, 128, 16_383, 16_384), fc.nat(40_000));
    fc.assert(
      fc.property(name, name, payload, (clientId, channel, payload) => {
        const size = new PubMsgSize(clientId);
        const expected = encoded(clientId, channel, payload);
        assert.equal(size.of(channel, payload), expected);
        assert.equal(size.exceeds(expected, channel, payload), false);
        assert.equal(size.exceeds(expected - 1, channel, payload), true);
      }),
    );
  });

  it('counts the largest lengths, too', () => {
    const size = new PubMsgSize('c');
    for (const payload of [2_097_151, 2_097_152]) assert.equal(size.of('foo', payload), encoded('c', 'foo', payload));
  });
});
