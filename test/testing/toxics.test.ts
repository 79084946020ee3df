import assert from 'node:assert/strict';
import fc from 'fast-check';
import { defaultBuffer, sharedLine } from '../../src/testing/line.js';
import { randomFrom } from '../../src/testing/random.js';
import { checkToxic, Link, type Toxic } from '../../src/testing/toxics.js';

interface Out {
  at: number;
  what: 'end' | 'close' | 'reset' | Buffer;
}

/** Runs a link in virtual time: what comes out, and when. */
class Bench {
  readonly link: Link;
  readonly out: Out[] = [];
  now = 0;
  over = false;

  constructor(seed = 1) {
    this.link = new Link(randomFrom(seed));
  }

  run(until: number): this {
    while (!this.over) {
      const step = this.link.next(this.now);
      if (step.do === 'write') this.out.push({ at: this.now, what: step.data });
      else if (step.do === 'wait' && step.until <= until) this.now = step.until;
      else if (step.do === 'idle' || step.do === 'wait') break;
      else {
        this.out.push({ at: this.now, what: step.do });
        this.over = step.do !== 'end';
      }
    }
    this.now = Math.max(this.now, until);
    return this;
  }

  send(data: string): this {
    this.link.receive(Buffer.from(data), this.now);
    return this.run(this.now);
  }

  get text(): string {
    return this.out.map(({ what }) => (typeof what === 'string' ? `<${what}>` : what.toString())).join('');
  }
}

const arbitraryToxic: fc.Arbitrary<Toxic> = fc.oneof(
  fc.record({ type: fc.constant('latency' as const), latency: fc.nat(500), jitter: fc.nat(600) }),
  fc.record({
    type: fc.constant('bandwidth' as const),
    rate: fc.double({ min: 0.01, max: 1000, noNaN: true }),
    buffer: fc.nat(100),
  }),
  fc.record({ type: fc.constant('slow_close' as const), delay: fc.nat(1000) }),
  fc
    .record({ average: fc.integer({ min: 1, max: 20 }), variation: fc.nat(19), delay: fc.nat(50_000) })
    .map(({ average, variation, delay }) => ({
      type: 'slicer' as const,
      average_size: average,
      size_variation: Math.min(variation, average - 1),
      delay,
    })),
  fc.constant({ type: 'stall' as const }),
);

describe('testing: toxics', () => {
  it('without any, everything passes at once', () => {
    const bench = new Bench().send('one').run(5).send('two');
    bench.link.finish('end', bench.now);
    bench.run(5);
    assert.deepEqual(
      bench.out.map(({ at, what }) => [at, String(what)]),
      [
        [0, 'one'],
        [5, 'two'],
        [5, 'end'],
      ],
    );
  });

  it('latency delays, and lets nothing overtake', () => {
    const bench = new Bench();
    bench.link.apply({ type: 'latency', latency: 100, jitter: 100 }, 0);
    for (let i = 0; i < 50; i++) bench.send(`${i},`).run(bench.now + 1);
    bench.run(1000);
    assert.equal(bench.text, Array.from({ length: 50 }, (_, i) => `${i},`).join(''));
    bench.out.forEach(({ at }, i) => assert.ok(at >= i && at <= 50 + 200, `${i} at ${at}`));
    assert.ok(new Set(bench.out.map(({ at }, i) => Math.round(at - i))).size > 3, 'there is jitter');
  });

  it('bandwidth takes its time, evenly', () => {
    const bench = new Bench();
    bench.link.apply({ type: 'bandwidth', rate: 1 }, 0); // 1 byte a ms
    bench.send('x'.repeat(1000)).run(499);
    assert.ok(bench.text.length >= 300 && bench.text.length <= 499, `${bench.text.length}`);
    bench.run(1000);
    assert.equal(bench.text.length, 1000);
  });

  const arbitraryLine = fc.record({
    rate: fc.double({ min: 1, max: 2500, noNaN: true }),
    buffer: fc.double({ min: 0, max: 200, noNaN: true }),
    latency: fc.nat(100),
  });
  /** What a sender has to say: so much, after a pause of so long. */
  const arbitraryReads = fc.array(fc.record({ bytes: fc.integer({ min: 1, max: 65_536 }), pause: fc.nat(50) }), {
    minLength: 1,
    maxLength: 20,
  });

  it('bandwidth: nothing lost or reordered, never faster than the rate in any span of time, never more held than the buffer and one read', () => {
    fc.assert(
      fc.property(arbitraryLine, arbitraryReads, ({ rate, buffer, latency }, reads) => {
        const bench = new Bench();
        bench.link.apply({ type: 'bandwidth', rate, buffer }, 0);
        bench.link.apply({ type: 'latency', latency }, 0);
        const all = Buffer.concat(reads.map(({ bytes }, i) => Buffer.alloc(bytes, i + 1)));
        let sent = 0;
        for (const { bytes, pause } of reads) {
          bench.run(bench.now + pause);
          for (let waited = 0; bench.link.full; waited++) {
            assert.ok(waited < 1e6, 'the sender waits for ever');
            bench.run(bench.now + 1);
          }
          bench.link.receive(all.subarray(sent, sent + bytes), bench.now);
          sent += bytes;
          const onItsWay = latency * rate + 64 + 10 * rate;
          assert.ok(bench.link.held <= 1000 * buffer + bytes + onItsWay, `${bench.link.held} bytes are held`);
          bench.run(bench.now);
        }
        bench.run(bench.now + sent / rate + latency + 1);
        const pieces = bench.out.map(({ at, what }) => ({ at, size: what.length }));
        assert.ok(Buffer.concat(bench.out.map(({ what }) => what as Buffer)).equals(all));
        // From the start of any piece to the end of any later one.
        let low = Number.POSITIVE_INFINITY;
        let total = 0;
        for (const { at, size } of pieces) {
          total += size;
          low = Math.min(low, total - size - rate * (at - size / rate));
          assert.ok(total - rate * at <= low + 0.1, `too much by ${at}`);
          assert.ok(size <= Math.max(10 * rate, 64), `a piece of ${size} bytes`);
        }
      }),
      { numRuns: 100 },
    );
  });

  it('bandwidth: holds back a sender as soon as its buffer is full, and no sooner', () => {
    const bench = new Bench();
    bench.link.apply({ type: 'bandwidth', rate: 100, buffer: 8 }, 0);
    bench.link.receive(Buffer.alloc(8000), 0);
    assert.equal(bench.link.full, false);
    bench.link.receive(Buffer.alloc(1), 0);
    assert.equal(bench.link.full, true);
    bench.run(10);
    assert.equal(bench.link.full, false, 'the first piece is over it');
    assert.equal(defaultBuffer(1250), 125);
    assert.equal(defaultBuffer(10), 16);
  });

  it('bandwidth: bytes move the whole time', () => {
    const bench = new Bench();
    bench.link.apply({ type: 'bandwidth', rate: 62.5 }, 0); // 0.5 Mbit/s
    bench.link.receive(Buffer.alloc(62_500), 0);
    bench.run(2000);
    bench.out.forEach(({ at }, i) => {
      const before = bench.out[i - 1]?.at ?? 0;
      assert.ok(at - before <= 10.01, `nothing from ${before} to ${at}`);
    });
    assert.ok(Math.abs(bench.out.at(-1)!.at - 1000) < 0.01);
  });

  it('bandwidth: a late timer is made up for, an idle line saves nothing up', () => {
    const bench = new Bench();
    bench.link.apply({ type: 'bandwidth', rate: 10 }, 0);
    bench.link.receive(Buffer.alloc(2000), 0);
    bench.now = 95; // nobody asked for so long
    bench.run(95);
    assert.equal(Buffer.concat(bench.out.map(({ what }) => what as Buffer)).length, 900);
    bench.now = 10_000;
    bench.run(10_000);
    assert.ok(Buffer.concat(bench.out.map(({ what }) => what as Buffer)).length <= 900 + 1100);
    bench.run(20_000);
    bench.out.length = 0;
    bench.link.receive(Buffer.alloc(1000), 20_000);
    bench.run(20_000);
    assert.deepEqual(bench.out, []);
    bench.run(20_100);
    assert.equal(Buffer.concat(bench.out.map(({ what }) => what as Buffer)).length, 1000);
  });

  it('bandwidth: nothing crosses a cut path, and it is no faster afterwards', () => {
    const bench = new Bench();
    const cut: Toxic = { type: 'stall' };
    bench.link.apply({ type: 'bandwidth', rate: 10 }, 0);
    bench.link.apply(cut, 0);
    bench.link.receive(Buffer.alloc(1000), 0);
    bench.run(5000);
    bench.link.remove(cut, 5000);
    bench.run(5099);
    assert.ok(Buffer.concat(bench.out.map(({ what }) => what as Buffer)).length < 1000);
    bench.run(5100);
    assert.equal(Buffer.concat(bench.out.map(({ what }) => what as Buffer)).length, 1000);
  });

  it('bandwidth, shared: all together get the rate, each of those that have something an equal part', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 5 }), fc.integer({ min: 10, max: 2500 }), (users, rate) => {
        const toxic: Toxic & { type: 'bandwidth' } = { type: 'bandwidth', rate, shared: true };
        const line = sharedLine(toxic);
        assert.equal(sharedLine(toxic), line, 'the same object is the same line');
        assert.notEqual(sharedLine({ ...toxic }), line, 'another one is another');
        const benches = Array.from({ length: users }, () => new Bench());
        for (const bench of benches) {
          bench.link.apply(toxic, 0, line.downstream);
          bench.link.receive(Buffer.alloc(1000 * rate), 0); // a second by itself
        }
        const got = (): number[] => benches.map(({ out }) => out.reduce((sum, { what }) => sum + what.length, 0));
        for (let now = 0; now <= 1000; now++) for (const bench of benches) bench.run(now);
        const all = got().reduce((a, b) => a + b);
        assert.ok(all <= 1000 * rate && all >= 1000 * rate - users * (10 * rate + 64), `${all} of ${1000 * rate}`);
        for (const one of got()) assert.ok(Math.abs(one - all / users) <= 2 * (10 * rate + 64), `${got().join(' ')}`);
        // The first one goes away: the others get its part.
        const before = got();
        for (let now = 1001; now <= 1400; now++) for (const bench of benches.slice(1)) bench.run(now);
        const more = got().reduce((a, b) => a + b) - all;
        const expected = Math.min(400, 1000 * (users - 1)) * rate;
        assert.ok(more <= expected + 10 * rate + 64 && more >= expected - users * (10 * rate + 64), `${more}`);
        assert.equal(got()[0], before[0]);
      }),
      { numRuns: 30 },
    );
  });

  it('slicer cuts into pieces of the size it says', () => {
    const bench = new Bench();
    bench.link.apply({ type: 'slicer', average_size: 10, size_variation: 3, delay: 2000 }, 0);
    bench.send('x'.repeat(500)).run(10_000);
    assert.equal(bench.text, 'x'.repeat(500));
    for (const { what } of bench.out.slice(0, -1)) assert.ok(what.length >= 7 && what.length <= 13);
    assert.equal(bench.out.at(-1)?.at, 2 * (bench.out.length - 1));
  });

  it('slow_close delays the end only', () => {
    const bench = new Bench();
    bench.link.apply({ type: 'slow_close', delay: 70 }, 0);
    bench.send('x');
    bench.link.finish('end', 0);
    bench.run(69);
    assert.equal(bench.text, 'x');
    bench.run(70);
    assert.equal(bench.text, 'x<end>');
  });

  it('timeout swallows, stays open, and closes when its time is up', () => {
    const bench = new Bench();
    bench.link.apply({ type: 'timeout', timeout: 300 }, 0);
    bench.send('gone').run(299);
    assert.equal(bench.text, '');
    bench.run(300);
    assert.equal(bench.text, '<close>');
  });

  it('timeout 0 swallows until it is removed, what was under way too, and never goes on after a hole', () => {
    const bench = new Bench();
    bench.link.apply({ type: 'latency', latency: 50 }, 0);
    bench.send('on its way');
    const hole: Toxic = { type: 'timeout' };
    bench.link.apply(hole, 10);
    bench.send('gone');
    bench.link.finish('end', 20);
    bench.run(1_000_000);
    assert.equal(bench.text, '');
    bench.link.remove(hole, bench.now);
    bench.run(bench.now);
    assert.equal(bench.text, '<close>');
  });

  it('stall loses nothing: it comes when the path is mended', () => {
    const bench = new Bench();
    const cut: Toxic = { type: 'stall' };
    bench.send('before ').link.apply(cut, 0);
    bench.send('during ').run(10_000);
    assert.equal(bench.link.stalled, true);
    assert.equal(bench.link.held, 7);
    assert.equal(bench.text, 'before ');
    bench.link.remove(cut, bench.now);
    bench.run(bench.now).send('after');
    assert.equal(bench.text, 'before during after');
    assert.equal(bench.link.held, 0);
  });

  it('reset_peer resets at its time', () => {
    const bench = new Bench();
    bench.link.apply({ type: 'reset_peer', timeout: 40 }, 10);
    bench.send('x').run(49);
    assert.equal(bench.text, 'x');
    bench.run(50);
    assert.equal(bench.text, 'x<reset>');
  });

  it('limit_data lets exactly so much through', () => {
    fc.assert(
      fc.property(fc.nat(40), fc.array(fc.string({ minLength: 1, maxLength: 9 })), (bytes, chunks) => {
        const bench = new Bench();
        bench.link.apply({ type: 'limit_data', bytes }, 0);
        for (const chunk of chunks) bench.send(chunk.replace(/[^a-z]/g, 'x'));
        const sent = chunks.join('').replace(/[^a-z]/g, 'x');
        const expected = sent.length >= bytes && sent !== '' ? `${sent.slice(0, bytes)}<close>` : sent;
        assert.equal(bench.text, expected);
      }),
    );
  });

  it('those that only delay lose, add and reorder nothing, however they come and go', () => {
    const action = fc.oneof(
      fc.record({ do: fc.constant('send' as const), data: fc.string({ minLength: 1, maxLength: 50 }) }),
      fc.record({ do: fc.constant('add' as const), toxic: arbitraryToxic }),
      fc.record({ do: fc.constant('remove' as const), which: fc.nat() }),
      fc.record({ do: fc.constant('pass' as const), ms: fc.nat(300) }),
    );
    fc.assert(
      fc.property(fc.array(action, { maxLength: 40 }), fc.nat(), (actions, seed) => {
        const bench = new Bench(seed);
        const toxics: Toxic[] = [];
        let sent = '';
        for (const act of actions) {
          if (act.do === 'send') {
            bench.send(act.data);
            sent += act.data;
          } else if (act.do === 'add') {
            const toxic = { ...act.toxic };
            toxics.push(toxic);
            bench.link.apply(toxic, bench.now);
          } else if (act.do === 'remove' && toxics.length > 0) {
            const [toxic] = toxics.splice(act.which % toxics.length, 1);
            bench.link.remove(toxic as Toxic, bench.now);
          } else if (act.do === 'pass') {
            bench.run(bench.now + act.ms);
          }
          const soFar = Buffer.concat(bench.out.map(({ what }) => what as Buffer));
          assert.ok(Buffer.from(sent).subarray(0, soFar.length).equals(soFar), 'a prefix of what was sent');
          assert.equal(bench.link.held, Buffer.byteLength(sent) - soFar.length);
        }
        bench.link.finish('end', bench.now);
        for (const toxic of toxics) bench.link.remove(toxic, bench.now);
        bench.run(bench.now);
        assert.equal(bench.text, `${sent}<end>`);
      }),
      { numRuns: 500 },
    );
  });

  it('refuses what is none', () => {
    const refused = (toxic: unknown, message: RegExp): void =>
      assert.throws(() => checkToxic(toxic as Toxic), { code: 'ERR_STAN_INVALID_ARGUMENT', message });
    refused({ type: 'lag' }, /there is no toxic 'lag'; there are: latency, /);
    refused({ type: 'latency' }, /needs latency to be a number/);
    refused({ type: 'latency', latency: -1 }, /0 or more/);
    refused({ type: 'latency', latency: 1, delay: 3 }, /has no 'delay'/);
    refused({ type: 'latency', latency: 1, stream: 'up' }, /'upstream', 'downstream' or 'both'/);
    refused({ type: 'latency', latency: 1, toxicity: 2 }, /probability from 0 to 1/);
    refused({ type: 'bandwidth', rate: 0 }, /black hole/);
    refused({ type: 'bandwidth', rate: 1, buffer: -1 }, /needs buffer to be a number, 0 or more/);
    refused({ type: 'bandwidth', rate: 1, buffer: '8' }, /needs buffer to be a number/);
    refused({ type: 'bandwidth', rate: 1, shared: 1 }, /needs shared to be true or false, not 1/);
    refused({ type: 'slicer', average_size: 3, size_variation: 3 }, /at least 1 byte/);
    checkToxic({ type: 'timeout' });
    checkToxic({ type: 'bandwidth', rate: 1, buffer: 0, shared: true });
    checkToxic({ type: 'stall', stream: 'upstream', toxicity: 0, name: 'cut' });
  });
});
