/** When something may be asked that the user has not called for. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Pacing, URGENCIES, type Hindrances, type Urgency } from '../../../src/subscribing/pacing.js';

/** ms. */
const LONGEST_REST = 1000;
const FREE: Hindrances = { busy: false, full: false };
const BUSY: Hindrances = { busy: true, full: false };
const FULL: Hindrances = { busy: false, full: true };

function pacing(...urgencies: Urgency[]): Pacing<string> {
  const made = new Pacing<string>();
  for (const [i, urgency] of urgencies.entries()) made.add(`${urgency}${i}`, urgency);
  return made;
}

describe('what is asked beside the subscriptions', () => {
  it('is asked in the order of its urgency, and of its coming', () => {
    const one = pacing('routine', 'missing', 'closing', 'held', 'routine', 'held');
    const order: string[] = [];
    for (let now = 0; now < 100; now += 10) {
      const next = one.next(now, FREE);
      if (next === undefined) break;
      order.push(next);
      one.answered(next, now);
    }
    assert.deepEqual(order, ['closing2', 'held3', 'held5', 'missing1', 'routine0', 'routine4']);
  });

  it('waits for its answer alone, but for what is urgent', () => {
    const one = pacing('routine', 'routine');
    assert.equal(one.next(0, FREE), 'routine0');
    assert.equal(one.next(0, FREE), undefined);
    one.add('urgent', 'held');
    one.add('more', 'held');
    assert.equal(one.next(0, FREE), 'urgent');
    assert.equal(one.next(0, FREE), undefined, 'two at a time are enough');
    one.add('end', 'closing');
    assert.equal(one.next(0, FREE), 'end', 'an end is never held up');
    one.answered('end', 1);
    one.answered('urgent', 1);
    assert.equal(one.next(1, FREE), 'more', 'there is no rest for what is urgent');
  });

  it('does not wait for a rest or for other requests if a caller waits, but for room', () => {
    const one = pacing('routine', 'asked', 'asked');
    one.add('sure', 'confirming');
    assert.equal(one.next(0, FULL), 'sure', 'what confirms an answer makes room');
    one.answered('sure', 0);
    one.add('urgent', 'held');
    assert.equal(one.next(0, BUSY), 'urgent');
    assert.equal(one.next(0, FULL), undefined, 'too many wait for messages');
    assert.equal(one.next(0, BUSY), 'asked1');
    assert.equal(one.next(0, FREE), undefined, 'two at a time');
    one.answered('urgent', 100);
    assert.equal(one.next(100, BUSY), 'asked2');
    one.answered('asked1', 100);
    one.answered('asked2', 100);
    assert.equal(one.next(100, FREE), undefined, 'what nobody waits for rests');
  });

  it('rests twice as long as an answer took', () => {
    const one = pacing('routine', 'routine');
    one.next(0, FREE);
    one.answered('routine0', 30);
    assert.equal(one.next(89, FREE), undefined);
    assert.equal(one.wakeAt(40), 90);
    assert.equal(one.next(90, FREE), 'routine1');
  });

  it('rests for a look and its end together', () => {
    const one = pacing('routine', 'routine');
    one.next(0, FREE);
    one.add('end', 'closing');
    one.answered('routine0', 10);
    assert.equal(one.next(10, FREE), 'end');
    one.answered('end', 15);
    // Until 30 for the first, and for 10 ms more for the second.
    assert.equal(one.next(39, FREE), undefined);
    assert.equal(one.next(40, FREE), 'routine1');
  });

  it('rests a second at most', () => {
    const one = pacing('routine', 'routine');
    one.next(0, FREE);
    one.answered('routine0', 60_000);
    assert.equal(one.next(61_000, FREE), 'routine1');
  });

  it('waits until the requests of the user are answered', () => {
    const one = pacing('routine', 'held');
    assert.equal(one.next(0, BUSY), 'held1');
    one.answered('held1', 0);
    assert.equal(one.next(0, BUSY), undefined);
    assert.equal(one.wakeAt(10), 10);
    assert.equal(one.next(10, FREE), 'routine0');
  });

  it('but not for ever', () => {
    const one = pacing('routine', 'routine');
    assert.equal(one.next(0, BUSY), undefined);
    assert.equal(one.next(4999, BUSY), undefined);
    assert.equal(one.next(5000, BUSY), 'routine0');
    one.answered('routine0', 5000);
    assert.equal(one.next(5001, BUSY), undefined);
    assert.equal(one.next(10_001, BUSY), 'routine1');
  });

  it('is not begun while too much is under way, only ended', () => {
    const one = pacing('routine', 'missing', 'closing');
    assert.equal(one.next(0, FULL), 'closing2');
    one.answered('closing2', 0);
    assert.equal(one.next(0, FULL), undefined);
    assert.equal(one.next(0, FREE), 'missing1');
  });

  it('can become more urgent, and not less', () => {
    const one = pacing('routine', 'routine', 'missing');
    one.hurry('routine1', 'held');
    one.hurry('missing2', 'routine');
    one.hurry('unknown', 'held');
    assert.equal(one.next(0, FREE), 'routine1');
    one.answered('routine1', 0);
    assert.equal(one.next(0, FREE), 'missing2');
  });

  it('is forgotten with its session', () => {
    const one = pacing('held', 'routine', 'missing', 'held');
    assert.equal(one.next(0, FREE), 'held0');
    assert.deepEqual(one.clear().sort(), ['held3', 'missing2', 'routine1']);
    assert.equal(one.asked, 0);
    assert.equal(one.next(0, FREE), undefined);
    assert.equal(one.wakeAt(1), undefined);
    one.answered('held0', 100_000);
    one.add('new', 'routine');
    assert.equal(one.next(1, FREE), 'new', 'a late answer of an old session costs no rest');
  });

  it('is all asked in the end, one that is paced at a time, and takes a third of the time', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ urgency: fc.constantFrom(...URGENCIES), took: fc.integer({ min: 1, max: 300 }) }), {
          maxLength: 40,
        }),
        (requests) => {
          const one = new Pacing<(typeof requests)[number]>();
          for (const request of requests) one.add(request, request.urgency);
          const asked = new Map<(typeof requests)[number], number>();
          let done = 0;
          let pacedTime = 0;
          const urgent = requests.filter(({ urgency }) => urgency !== 'missing' && urgency !== 'routine').length;
          let now = 0;
          for (; done < requests.length; now++) {
            for (const [request, until] of asked) {
              if (until > now) continue;
              asked.delete(request);
              one.answered(request, now);
              done++;
            }
            for (let next = one.next(now, FREE); next !== undefined; next = one.next(now, FREE)) {
              asked.set(next, now + next.took);
              pacedTime += next.took;
            }
            const urgencies = [...asked.keys()].map(({ urgency }) => urgency);
            assert.ok(urgencies.filter((urgency) => urgency !== 'closing').length <= 2);
            assert.ok(urgencies.filter((urgency) => urgency === 'missing' || urgency === 'routine').length <= 1);
            if (asked.size === 0 && done < requests.length) assert.ok(one.wakeAt(now + 1)! > now);
            assert.ok(now < 100_000);
          }
          // The rest after the last one is still to come.
          if (urgent === 0) assert.ok(now + LONGEST_REST >= 3 * pacedTime, `${now} ms for ${pacedTime}`);
        },
      ),
    );
  });
});
