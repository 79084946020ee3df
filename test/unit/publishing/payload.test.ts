import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Payloads } from '../../../src/publishing/payload.js';

describe('Payloads', () => {
  it('keep and give out every payload as it was, whatever comes before and after it', () => {
    const payload = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 50 }),
      fc.uint8Array({ maxLength: 50 }),
      fc.integer({ min: 800, max: 2048 }).map((n) => 'a'.repeat(n)),
      fc.integer({ min: 800, max: 2048 }).map((n) => new Uint8Array(n).fill(n)),
      fc.integer({ min: 1, max: 9000 }).map((n) => 'é'.repeat(n)),
      fc.integer({ min: 1, max: 9000 }).map((n) => 'e'.repeat(n)),
      fc.integer({ min: 1, max: 9000 }).map((n) => new Uint8Array(n).fill(n)),
    );
    fc.assert(
      fc.property(fc.array(payload, { minLength: 20, maxLength: 60, size: 'max' }), (list) => {
        const payloads = new Payloads();
        const kept = list.map((data) => {
          const size = Buffer.byteLength(data);
          if (typeof data === 'string') return { data, body: data, offset: 0, size };
          const copy = data.slice();
          const body = payloads.keep(copy);
          const { offset } = payloads;
          copy.fill(255);
          return { data, body, offset, size };
        });
        const out = kept.map(({ body, offset, size }) => payloads.bytes(body, offset, size));
        for (const [n, { data }] of kept.entries()) {
          const bytes = out[n] as Uint8Array;
          assert.equal(bytes.constructor, Uint8Array, 'the wrapped client copies a Buffer twice');
          assert.ok(Buffer.from(data as Uint8Array).equals(bytes));
        }
      }),
      { numRuns: 100 },
    );
  });

  it('take a view into a larger buffer for what it is', () => {
    const payloads = new Payloads();
    for (const size of [5, 5000]) {
      const whole = Buffer.alloc(size * 3, 'abc');
      const view = whole.subarray(size, 2 * size);
      const body = payloads.keep(view);
      assert.ok(view.equals(payloads.bytes(body, payloads.offset, size)));
    }
  });
});
