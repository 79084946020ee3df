import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Line, Throughput } from '../../../src/connection/throughput.js';

const KB = 1000;

describe('throughput', () => {
  it('excuses nothing when no large frame is on its way', () => {
    const throughput = new Throughput(new Line(), 1);
    assert.equal(throughput.excusedUntil, -Infinity);
    throughput.sent(900 * KB, 900 * KB, 0);
    throughput.arrived(900 * KB, 0, 3000);
    assert.equal(throughput.excusedUntil, -Infinity);
  });

  it('excuses by the largest frame, and not by the sum of all', () => {
    const throughput = new Throughput(new Line(), 1);
    for (let n = 1; n <= 500; n++) throughput.sent(n * 10 * KB, 10 * KB, 0);
    const until = throughput.excusedUntil;
    assert.ok(until > 100 && until < 500, `${until} ms`);
  });

  it('does not hold a large frame against what was sent before it', () => {
    const throughput = new Throughput(new Line(), 1);
    throughput.sent(900 * KB, 899 * KB, 0);
    assert.equal(throughput.excusedUpTo(500), -Infinity);
    assert.ok(throughput.excusedUpTo(900 * KB) > 10_000);
  });

  it('gives a line of 0.5 Mbit/s the time for a mebibyte, from the first one on', () => {
    const throughput = new Throughput(new Line(), 1);
    throughput.sent(1024 * 1024, 1024 * 1024, 0);
    assert.ok(throughput.excusedUntil > (1024 * 1024) / 62.5);
  });

  it('learns what a line does, whatever the round trip is', () => {
    for (const roundTrip of [1, 50, 600]) {
      const line = new Line();
      const throughput = new Throughput(line, roundTrip);
      throughput.arrived(100, 0, roundTrip);
      let now = 1000;
      let end = 100;
      for (let n = 0; n < 20; n++) {
        const sent = now;
        throughput.sent((end += 500 * KB), 500 * KB, sent);
        now += roundTrip + (500 * KB) / 300;
        throughput.arrived(end, sent, now);
      }
      assert.ok(line.rate > 290 && line.rate < 310, `${line.rate} bytes per ms at ${roundTrip} ms`);
    }
  });

  it('believes in no sudden speed: one sample at most doubles it', () => {
    const line = new Line();
    const before = line.rate;
    line.took(900 * KB, 1);
    assert.equal(line.rate, 2 * before);
  });

  it('learns nothing from a frame that others overtook: it may never have arrived', () => {
    const line = new Line();
    const before = line.rate;
    const throughput = new Throughput(line, 1);
    throughput.sent(900 * KB, 900 * KB, 0);
    throughput.arrived(900 * KB + 50, 2000, 2003);
    assert.equal(line.rate, before);
  });

  it('never calls a steady line dead: each answer comes before its time is over (property)', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 62.5, max: 10_000, noNaN: true }),
        fc.integer({ min: 1, max: 300 }),
        fc.array(fc.integer({ min: 5 * KB, max: 1000 * KB }), { minLength: 1, maxLength: 30 }),
        (rate, roundTrip, sizes) => {
          const throughput = new Throughput(new Line(), roundTrip);
          let now = 0;
          let end = 0;
          for (const bytes of sizes) {
            const at = now;
            throughput.sent((end += bytes), bytes, at);
            now += bytes / rate + roundTrip;
            assert.ok(now <= throughput.excusedUntil + 1.5 * roundTrip + 1, `${now} > ${throughput.excusedUntil}`);
            throughput.arrived(end, at, now);
          }
        },
      ),
    );
  });
});
