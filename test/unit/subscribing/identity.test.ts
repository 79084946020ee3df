/** Whether a channel is still the one that is known: asked once for all who know something of it. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Identity, type Judgement } from '../../../src/subscribing/identity.js';
import type { Position } from '../../../src/subscribing/cursor.js';

const DATE = {};
const at = (sequence: number, time = sequence * 10): Position => ({ sequence, time });

/** A channel as it is now: what a look from a sequence on sees, and, if there is nothing, what the last message is. */
class Channel {
  constructor(
    readonly first: number,
    readonly times: number[],
  ) {}

  from(sequence: number): Position | undefined {
    const last = this.first + this.times.length - 1;
    if (this.times.length === 0) return undefined;
    const seen = Math.max(sequence, this.first);
    return seen <= last ? at(seen, this.times[seen - this.first]) : sequence > last ? this.last() : undefined;
  }

  last(): Position | undefined {
    const sequence = this.first + this.times.length - 1;
    return this.times.length === 0 ? undefined : at(sequence, this.times.at(-1));
  }
}

/** @returns how many looks it took */
function settle(identity: Identity<string>, channel: Channel, told: Map<string, Judgement | undefined>): number {
  for (let looks = 0; ; looks++) {
    const next = identity.next();
    if (next === undefined) return looks;
    assert.ok(looks < 1000);
    for (const [asker, judgement] of identity.saw(next, channel.from(next.position.sequence))) {
      assert.ok(!told.has(asker), 'told twice');
      told.set(asker, judgement);
    }
  }
}

describe('the identity of a channel', () => {
  it('is shown to a thousand by one look, at the highest', () => {
    const identity = new Identity<string>();
    for (let i = 1; i <= 1000; i++) assert.equal(identity.ask(`s${i}`, at(i), DATE), undefined);
    assert.deepEqual(identity.next(), { position: at(1000), date: DATE });
    const told = new Map<string, Judgement | undefined>();
    assert.equal(
      settle(
        identity,
        new Channel(
          1,
          Array.from({ length: 1000 }, (_, i) => (i + 1) * 10),
        ),
        told,
      ),
      1,
    );
    assert.equal(told.size, 1000);
    for (const judgement of told.values()) assert.deepEqual(judgement, { same: true, shown: 1000 });
  });

  it('is told at once to who comes later', () => {
    const identity = new Identity<string>();
    identity.ask('a', at(5), DATE);
    identity.saw(identity.next()!, at(5));
    assert.deepEqual(identity.ask('b', at(5), DATE), { same: true, shown: 5 });
    assert.deepEqual(identity.ask('c', at(2), DATE), { same: true, shown: 5 });
    assert.equal(identity.ask('d', at(6), DATE), undefined, 'of a later message nothing is known');
    assert.equal(identity.next()?.position.sequence, 6);
  });

  it('is not vouched for by what was known on another session', () => {
    const identity = new Identity<string>();
    identity.ask('of the new channel', at(100), DATE);
    // It could not learn that the channel had started over, so it knows a message of the one before.
    identity.ask('of the old channel', at(5, 7), {});
    const told = new Map<string, Judgement | undefined>();
    const looks = settle(
      identity,
      new Channel(
        1,
        Array.from({ length: 100 }, (_, i) => (i + 1) * 10),
      ),
      told,
    );
    assert.equal(looks, 2);
    assert.equal(told.get('of the new channel')?.same, true);
    assert.equal(told.get('of the old channel')?.same, false);
  });

  it('is another when its last message is below, or that number is of another message', () => {
    for (const [seen, same] of [
      [at(3, 30), false],
      [at(5, 51), false],
      [at(5, 50), true],
      // Gone by retention: nothing speaks against it.
      [at(8, 80), true],
    ] as const) {
      const identity = new Identity<string>();
      identity.ask('a', at(5), DATE);
      assert.deepEqual(identity.saw(identity.next()!, seen), [['a', { same, shown: seen.sequence }]]);
    }
  });

  it('of a channel that started over is clear to all after two looks', () => {
    const identity = new Identity<string>();
    for (let i = 1; i <= 1000; i++) identity.ask(`s${i}`, at(i), DATE);
    const told = new Map<string, Judgement | undefined>();
    assert.equal(settle(identity, new Channel(1, [99_990]), told), 2);
    assert.equal(told.size, 1000);
    for (const judgement of told.values()) assert.equal(judgement?.same, false);
  });

  it('is told to nobody when nothing could be learned, and can be asked for again', () => {
    const identity = new Identity<string>();
    identity.ask('a', at(5), DATE);
    assert.deepEqual(identity.saw(identity.next()!, undefined), [['a', undefined]]);
    assert.equal(identity.next(), undefined);
    assert.equal(identity.ask('a', at(5), DATE), undefined);
    assert.equal(identity.next()?.position.sequence, 5);
  });

  it('is the same as if each had looked for itself, after about as many looks as halving takes', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 40 }),
        // The first that is there, and from which sequence on they are others.
        fc.integer({ min: 1, max: 70 }),
        fc.integer({ min: 1, max: 70 }),
        fc.integer({ min: 1, max: 60 }),
        (known, first, otherFrom, length) => {
          const times = Array.from({ length }, (_, i) => {
            const sequence = first + i;
            return sequence < otherFrom ? sequence * 10 : 10_000 + sequence;
          });
          const channel = new Channel(first, times);
          const identity = new Identity<string>();
          for (const sequence of known) identity.ask(String(sequence), at(sequence), DATE);
          const told = new Map<string, Judgement | undefined>();
          const looks = settle(identity, channel, told);
          assert.ok(looks <= 3 + Math.ceil(Math.log2(known.length)), `${looks} looks for ${known.length}`);
          for (const sequence of known) {
            const seen = channel.from(sequence)!;
            const other = seen.sequence < sequence || (seen.sequence === sequence && seen.time !== sequence * 10);
            assert.equal(told.get(String(sequence))?.same, !other, `of ${sequence}`);
          }
        },
      ),
    );
  });
});
