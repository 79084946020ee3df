/** A finite read, page by page: nothing twice, nothing lost, and what is gone is told, wherever a page breaks off. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Gap } from '../../../src/subscribing/cursor.js';
import { Reading, type Next } from '../../../src/subscribing/reading.js';

/** What a server has stored, as far as a read sees it. */
class Store {
  first = 1;
  last: number;
  /** Tells channels of the same name apart. */
  generation = 0;
  readonly holes = new Set<number>();

  constructor(last: number) {
    this.last = last;
  }

  has(sequence: number): boolean {
    return sequence >= this.first && sequence <= this.last && !this.holes.has(sequence);
  }

  timeOf(sequence: number): number {
    return this.generation * 1e6 + sequence;
  }

  /** What a subscription from here on is sent. */
  *from(sequence: number): Iterable<number> {
    const start = sequence > this.last ? this.last + 1 : Math.max(sequence, this.first);
    for (let n = start; n <= this.last; n++) if (this.has(n)) yield n;
  }

  get oldest(): { sequence: number; time: number } | undefined {
    const [sequence] = this.from(1);
    return sequence === undefined ? undefined : { sequence, time: this.timeOf(sequence) };
  }

  get newest(): { sequence: number; time: number } | undefined {
    const all = [...this.from(1)];
    const sequence = all.at(-1);
    return sequence === undefined ? undefined : { sequence, time: this.timeOf(sequence) };
  }
}

/** Something that happens to a page, after so many messages of it. */
interface Fault {
  after: number;
  kind: 'break off' | 'lose one' | 'lose the rest' | 'drop old ones' | 'begin again';
  amount: number;
}

class Run {
  readonly got: number[] = [];
  readonly gaps: Gap[] = [];
  /** In the order of their coming. */
  readonly all: (number | Gap)[] = [];
  readonly store: Store;
  readonly reading: Reading;
  pages = 0;
  largest = 0;
  /** What each page has brought. */
  readonly kept: number[][] = [];

  constructor(store: Store, reading: Reading) {
    this.store = store;
    this.reading = reading;
  }

  /** Reads to the end, or until the read gives up. */
  read(faults: Fault[] = [], bytes: number | ((sequence: number) => number) = 1): Next {
    let next: Next = 'page';
    while (next !== 'over' && next !== 'stuck') {
      assert.ok(this.pages < 5000, 'it ends');
      if (next === 'page') next = this.#page(faults.shift(), bytes);
      else if (next === 'oldest') next = this.reading.oldest(this.store.oldest);
      else next = this.reading.newest(this.store.newest);
      const gaps = this.reading.takeGaps();
      this.gaps.push(...gaps);
      this.all.push(...gaps);
    }
    return next;
  }

  #page(fault: Fault | undefined, bytes: number | ((sequence: number) => number)): Next {
    this.pages++;
    const { from, to } = this.reading.page();
    assert.ok(from < to);
    const count = to - from;
    const kept: number[] = [];
    this.kept.push(kept);
    this.largest = Math.max(this.largest, count);
    let sent = 0;
    for (const sequence of this.store.from(from)) {
      if (sent++ >= count) break;
      if (fault !== undefined && sent > fault.after) {
        if (fault.kind === 'break off') return this.reading.over ? 'over' : 'page';
        if (fault.kind === 'lose the rest') break;
        if (fault.kind === 'lose one') {
          fault = undefined;
          continue;
        }
      }
      if (sequence >= to) return this.#ended(fault, false);
      const taken = this.reading.take(sequence, this.store.timeOf(sequence), () =>
        typeof bytes === 'number' ? bytes : bytes(sequence),
      );
      if (taken === 'keep' || taken === 'last') {
        this.got.push(sequence);
        kept.push(sequence);
        this.all.push(sequence);
      }
      if (taken === 'stop' || taken === 'last' || sequence >= from + count - 1) return this.#ended(fault, false);
    }
    return this.#ended(fault, true);
  }

  #ended(fault: Fault | undefined, silent: boolean): Next {
    const { store } = this;
    if (fault?.kind === 'drop old ones') store.first = Math.min(store.last + 1, store.first + fault.amount);
    if (fault?.kind === 'begin again') {
      store.generation++;
      store.first = 1;
      store.last = fault.amount;
      store.holes.clear();
    }
    return this.reading.ended(silent);
  }
}

const start = (from: number, to: number, named = true) => ({ from, to, named, notBefore: -Infinity });
const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);
const inside = (gaps: Gap[], n: number): boolean => gaps.some(({ from, to }) => n >= from && n <= to);

describe('a read', () => {
  it('reads a range, with pages that grow', () => {
    const run = new Run(new Store(5000), new Reading(start(1, 5000)));
    assert.equal(run.read(), 'over');
    assert.deepEqual(run.got, range(1, 5000));
    assert.deepEqual(run.gaps, []);
    assert.ok(run.largest <= 1001, 'a page, and the message before');
    assert.ok(run.pages < 12, String(run.pages));
  });

  it('has small pages of large messages', () => {
    const run = new Run(new Store(200), new Reading(start(1, 200)));
    run.read([], 1024 * 1024);
    assert.deepEqual(run.got, range(1, 200));
    assert.equal(run.largest, 32, 'only the first page, when their size is not known');
    assert.ok(run.pages > 40);
  });

  it('ends a page whose messages are larger than those before, so that it keeps no more than a few of them', () => {
    const run = new Run(new Store(3300), new Reading(start(1, 3300)));
    assert.equal(
      run.read([], (sequence) => (sequence <= 3000 ? 5 : 1_000_000)),
      'over',
    );
    assert.deepEqual([run.got, run.gaps], [range(1, 3300), []]);
    const large = run.kept.map((page) => page.filter((sequence) => sequence > 3000).length);
    assert.ok(Math.max(...large) <= 9, String(large));
  });

  it('tells what is gone below the first message only if it was asked for by its number', () => {
    for (const named of [true, false]) {
      const store = new Store(100);
      store.first = 60;
      const run = new Run(store, new Reading(start(10, 100, named)));
      run.read();
      assert.deepEqual(run.got, range(60, 100));
      assert.deepEqual(run.gaps, named ? [{ from: 10, to: 59 }] : []);
    }
  });

  it('passes over what is missing in the store, after it has looked three times', () => {
    const store = new Store(100);
    for (const hole of [40, 41, 100]) store.holes.add(hole);
    store.last = 101;
    const run = new Run(store, new Reading(start(1, 101)));
    run.read();
    assert.deepEqual(run.got, [...range(1, 39), ...range(42, 99), 101]);
    assert.deepEqual(run.gaps, [
      { from: 40, to: 41 },
      { from: 100, to: 100 },
    ]);
  });

  it('passes over no more than what was missing each time', () => {
    const store = new Store(6);
    store.holes.add(2);
    const run = new Run(store, new Reading(start(1, 6)));
    // One of the pages that show the hole loses the next message as well, on its way.
    run.read([{ after: 1, kind: 'lose one', amount: 0 }]);
    assert.deepEqual(run.got, [1, 3, 4, 5, 6]);
    assert.deepEqual(run.gaps, [{ from: 2, to: 2 }]);
  });

  it('is over when the channel began again, and the rest is gone', () => {
    for (const last of [0, 3, 32, 33, 500]) {
      const run = new Run(new Store(100), new Reading(start(1, 100)));
      run.read([{ after: Infinity, kind: 'begin again', amount: last }]);
      assert.deepEqual(run.got, range(1, 32), String(last));
      assert.deepEqual(run.gaps, [{ from: 33, to: 100 }]);
    }
  });

  it('waits longer while nothing comes, and gives up in the end', () => {
    const reading = new Reading(start(1, 10));
    const waits: number[] = [];
    let next: Next = 'page';
    while (next === 'page') {
      reading.page();
      waits.push(reading.patience);
      assert.equal(reading.ended(true), 'newest');
      next = reading.newest({ sequence: 10, time: 10 });
    }
    assert.equal(next, 'stuck');
    assert.deepEqual(waits, [1000, 2000, 4000, 8000, 16_000]);
  });

  it('leaves out what is older than the time that was asked for', () => {
    const run = new Run(new Store(50), new Reading({ from: 1, to: 50, named: false, notBefore: 20 }));
    run.read();
    assert.deepEqual(run.got, range(20, 50));
    assert.deepEqual(run.gaps, []);
  });

  it('hands over each message once and in order, and accounts for all others', () => {
    const fault = fc.record<Fault>({
      after: fc.nat(60),
      kind: fc.constantFrom('break off', 'lose one', 'lose the rest', 'drop old ones'),
      amount: fc.nat(200),
    });
    const setting = fc.record({
      last: fc.integer({ min: 1, max: 400 }),
      first: fc.nat(100),
      from: fc.integer({ min: 1, max: 120 }),
      length: fc.nat(400),
      named: fc.boolean(),
      holes: fc.array(fc.integer({ min: 1, max: 400 }), { maxLength: 5 }),
      faults: fc.array(fc.option(fault, { nil: undefined }), { maxLength: 12 }),
      bytes: fc.oneof(
        fc.constantFrom(0, 1, 100_000, 10_000_000),
        // Small ones, and then large ones.
        fc.nat(400).map((small) => (sequence: number) => (sequence < small ? 1 : 1_000_000)),
      ),
    });
    fc.assert(
      fc.property(setting, ({ last, first, from, length, named, holes, faults, bytes }) => {
        const to = Math.min(from + length, last);
        fc.pre(to >= from);
        const store = new Store(last);
        store.first = Math.min(first, last + 1);
        for (const hole of holes) store.holes.add(hole);
        const run = new Run(store, new Reading(start(from, to, named)));
        // A page without a fault between two of them, because it may never end where all pages lose the same.
        const next = run.read(
          faults.flatMap((one) => [one as Fault, undefined as unknown as Fault]),
          bytes,
        );
        assert.equal(next, 'over');
        assert.deepEqual(
          run.got,
          [...run.got].sort((a, b) => a - b),
        );
        assert.equal(new Set(run.got).size, run.got.length);
        const orderOf = (entry: number | Gap): number => (typeof entry === 'number' ? entry : entry.from);
        assert.deepEqual(
          run.all,
          [...run.all].sort((a, b) => orderOf(a) - orderOf(b)),
          'gaps are told in their place',
        );
        const dropped = faults.some((one) => one?.kind === 'drop old ones');
        if (!dropped)
          assert.equal(
            run.got[0],
            range(from, to).find((n) => store.has(n)),
            'it begins with what is stored',
          );
        const begun = named ? from : (run.got[0] ?? Infinity);
        for (let n = from; n <= to; n++) {
          assert.ok(!(run.got.includes(n) && inside(run.gaps, n)), `${n} is not both`);
          if (store.has(n) && n >= begun) assert.ok(run.got.includes(n), `${n} is stored, and was not handed over`);
          if (n >= begun && !run.got.includes(n)) assert.ok(inside(run.gaps, n), `${n} is gone, and was not told`);
          if (n < begun) assert.ok(!inside(run.gaps, n));
        }
      }),
      { numRuns: 300 },
    );
  });
});
