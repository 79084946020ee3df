import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Receipt } from '../../../src/connection/protocol.js';
import { Unanswered } from '../../../src/connection/unanswered.js';

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

function receipt(number: number, fields: Partial<Receipt> = {}): Mutable<Receipt> {
  return {
    number,
    at: number,
    probe: false,
    owed: true,
    askAfter: number,
    awaited: true,
    end: 0,
    answered: () => {},
    ...fields,
  };
}

describe('Unanswered', () => {
  it('knows the oldest that an answer is owed for, and passes by what is owed none', () => {
    const table = new Unanswered();
    const [first, second, third] = [receipt(1), receipt(2), receipt(3)] as const;
    for (const each of [first, second, third]) table.add(each.number, each);
    assert.equal(table.oldestOwed, first);
    first.owed = false;
    assert.equal(table.oldestOwed, second);
    assert.equal(table.take(2), second);
    assert.equal(table.take(2), undefined);
    assert.equal(table.oldestOwed, third);
    first.owed = true;
    assert.equal(table.oldestOwed, first, 'it is owed again');
  });

  it('knows that a probe comes before all, until it is answered or over', () => {
    const table = new Unanswered();
    const [first, probe, other] = [receipt(1), receipt(2, { probe: 'all' }), receipt(3, { probe: 'channel' })] as const;
    for (const each of [first, probe, other]) table.add(each.number, each);
    assert.equal(table.oldestOwed, probe);
    probe.owed = false;
    assert.equal(table.oldestOwed, first);
    probe.owed = true;
    table.take(2);
    assert.equal(table.oldestOwed, first);
  });

  it('forgets what is not awaited up to a sending, and nothing else', () => {
    const table = new Unanswered();
    const all = [1, 2, 3, 4].map((number) => receipt(number, { awaited: number === 2 }));
    for (const each of all) table.add(each.number, each);
    table.forget(all[1] as Receipt);
    assert.equal(table.size, 3);
    table.forget(receipt(5));
    assert.equal(table.size, 1);
    table.clear();
    assert.equal(table.size, 0);
    assert.equal(table.oldestOwed, undefined);
  });

  it('does not grow without end with messages that were given up', () => {
    const table = new Unanswered();
    for (let number = 1; number <= 50_000; number++) {
      table.add(number, receipt(number, { awaited: number % 100 === 0, owed: number % 100 === 0 }));
    }
    assert.ok(table.size <= 10_000, `${table.size} are kept`);
    assert.equal(table.oldestOwed?.number, 100);
    for (let number = 100; number <= 50_000; number += 100) assert.notEqual(table.take(number), undefined);
  });

  it('is what a list would be', () => {
    const step = fc.oneof(
      fc.record({
        op: fc.constant('add' as const),
        probe: fc.constantFrom(false as const, 'channel' as const, 'all' as const),
      }),
      fc.record({ op: fc.constantFrom('take' as const, 'owed' as const, 'awaited' as const), of: fc.nat(20) }),
      fc.record({ op: fc.constant('forget' as const), of: fc.nat(20) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const table = new Unanswered();
        let list: Mutable<Receipt>[] = [];
        let number = 0;
        let probe: Receipt | undefined;
        for (const each of steps) {
          if (each.op === 'add') {
            const added = receipt(++number, { probe: each.probe });
            list.push(added);
            if (each.probe === 'all') probe = added;
            table.add(number, added);
            continue;
          }
          const chosen = list[each.of % Math.max(1, list.length)];
          if (chosen === undefined) continue;
          if (each.op === 'owed') chosen.owed = !chosen.owed;
          else if (each.op === 'awaited') chosen.awaited = !chosen.awaited;
          else if (each.op === 'take') {
            assert.equal(table.take(chosen.number), chosen);
            list = list.filter((other) => other !== chosen);
          } else {
            table.forget(chosen);
            list = list.filter((other) => other.number > chosen.number || other.awaited);
          }
          assert.equal(table.size, list.length);
          const stands = probe !== undefined && list.some((other) => other === probe) && probe.owed;
          assert.equal(table.oldestOwed, stands ? probe : list.find(({ owed }) => owed));
        }
      }),
    );
  });
});
