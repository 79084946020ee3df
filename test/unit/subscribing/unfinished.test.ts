import assert from 'node:assert/strict';
import fc from 'fast-check';
import { rangesOf } from '../../../src/subscribing/range-set.js';
import { fetchRanges, UnfinishedMessages, type Unfinished } from '../../../src/subscribing/unfinished.js';

const message = (sequence: number, due = 0): Omit<Unfinished, 'waits'> => ({
  sequence,
  time: sequence * 10,
  due,
  session: 1,
  fetched: false,
  reservedUntil: 0,
  handed: undefined,
});

describe('unfinished messages', () => {
  it('are taken when their time has come, and once', () => {
    const messages = new UnfinishedMessages();
    assert.equal(messages.earliest, Infinity);
    messages.add(message(3, 500));
    messages.add(message(1, 300));
    messages.add(message(2, 900));
    assert.equal(messages.earliest, 300);
    const due = messages.takeDue(600, 10);
    assert.deepEqual(
      due.map(({ sequence }) => sequence),
      [3, 1],
    );
    assert.equal(messages.earliest, 900);
    assert.deepEqual(messages.takeDue(600, 10), []);
    messages.postpone(due[0]!, 700);
    assert.equal(messages.earliest, 700);
    messages.delete(2);
    assert.deepEqual(messages.takeDue(1000, 10), [due[0]]);
    assert.equal(messages.size, 2, 'until they are finished');
  });

  it('are taken so many at a time', () => {
    const messages = new UnfinishedMessages();
    for (let n = 1; n <= 5; n++) messages.add(message(n, n));
    assert.equal(messages.takeDue(10, 3).length, 3);
    assert.equal(messages.earliest, 4);
    assert.equal(messages.takeDue(10, 3).length, 2);
  });

  it('are hastened, but never put off', () => {
    const messages = new UnfinishedMessages();
    messages.add(message(1, 9000));
    messages.add(message(2, 9000));
    messages.add(message(3, 100));
    messages.hasten(({ sequence }) => sequence !== 2, 1000);
    assert.deepEqual(
      [1, 2, 3].map((n) => messages.get(n)!.due),
      [1000, 9000, 100],
    );
    assert.equal(messages.earliest, 100);
  });

  it('that were finished meanwhile stay so', () => {
    const messages = new UnfinishedMessages();
    messages.add(message(1));
    const [due] = messages.takeDue(0, 1);
    messages.delete(1);
    messages.postpone(due!, 5);
    assert.equal(messages.earliest, Infinity);
  });

  it('never have a deadline before the earliest', () => {
    const step = fc.record({
      kind: fc.constantFrom('add', 'delete', 'take', 'postpone', 'hasten'),
      sequence: fc.integer({ min: 1, max: 6 }),
      at: fc.integer({ min: 0, max: 50 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const messages = new UnfinishedMessages();
        for (const { kind, sequence, at } of steps) {
          const known = messages.get(sequence);
          if (kind === 'add') messages.add(message(sequence, at));
          else if (kind === 'delete') messages.delete(sequence);
          else if (kind === 'take') for (const due of messages.takeDue(at, 3)) assert.equal(due.due, Infinity);
          else if (kind === 'hasten') messages.hasten(() => true, at);
          else if (known !== undefined) messages.postpone(known, at);
          for (const { due } of messages) assert.ok(due >= messages.earliest);
        }
      }),
    );
  });
});

describe('what is asked for', () => {
  it('is asked for together when it is near', () => {
    const of = (...sequences: number[]): unknown =>
      fetchRanges(
        sequences.map((n) => ({ ...message(n), waits: 0 })),
        1000,
      ).map(({ from, to, wanted }) => [from, to, wanted.size]);
    assert.deepEqual(of(), []);
    assert.deepEqual(of(7), [[7, 7, 1]]);
    assert.deepEqual(of(9, 7, 50), [[7, 50, 3]]);
    assert.deepEqual(of(7, 500, 501), [
      [7, 7, 1],
      [500, 501, 2],
    ]);
    assert.equal((of(...Array.from({ length: 1500 }, (_, i) => i + 1)) as unknown[]).length, 2);
  });

  it('and is gone is told in runs', () => {
    assert.deepEqual(rangesOf([]), []);
    assert.deepEqual(rangesOf([5, 3, 4, 9]), [
      { from: 3, to: 5 },
      { from: 9, to: 9 },
    ]);
  });
});
