/** Both clocks are scripted: a test cannot put its host to sleep, nor set its clock. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { sleepTime } from '../../../src/clock/sleep-time.js';

class Host {
  #monotonic = 500;
  #wall = 1_700_000_000_000;
  readonly now: () => number;
  /** How often the wall clock was looked at. */
  looks = 0;
  /** The next time it is read, the process is interrupted for so long before it can read the other one. */
  interruption = 0;

  constructor() {
    this.now = sleepTime({
      monotonic: () => this.#monotonic,
      wall: () => {
        this.looks++;
        const wall = Math.floor(this.#wall);
        this.pass(this.interruption);
        this.interruption = 0;
        return wall;
      },
    });
  }

  pass(ms: number): void {
    this.#monotonic += ms;
    this.#wall += ms;
  }

  sleep(ms: number): void {
    this.#wall += ms;
  }

  /** Sets the wall clock. */
  set(by: number): void {
    this.#wall += by;
  }
}

/** By less than this it is off after a step: the wall clock counts whole milliseconds. */
const GRAIN = 1;

function elapsed(host: Host, act: () => void): number {
  const before = host.now();
  act();
  host.pass(2);
  return host.now() - before;
}

const about = (actual: number, expected: number): void =>
  assert.ok(Math.abs(actual - expected) <= GRAIN, `${actual}, not ${expected}`);

describe('the clock that sleeps count for', () => {
  it('goes on while the host sleeps', () => {
    const host = new Host();
    about(
      elapsed(host, () => host.pass(1000)),
      1002,
    );
    about(
      elapsed(host, () => host.sleep(3_600_000)),
      3_600_002,
    );
    about(
      elapsed(host, () => host.sleep(60_000)),
      60_002,
    );
  });

  it('takes a clock that is set forward for a sleep, and one that is set back for nothing', () => {
    const host = new Host();
    about(
      elapsed(host, () => host.set(5000)),
      5002,
    );
    about(
      elapsed(host, () => host.set(-3_600_000)),
      2,
    );
  });

  it('sees a sleep after the clock was set back', () => {
    const host = new Host();
    elapsed(host, () => host.set(-3_600_000));
    about(
      elapsed(host, () => host.sleep(60_000)),
      60_002,
    );
  });

  it('takes an interruption between its two readings for no sleep', () => {
    const host = new Host();
    host.interruption = 2000;
    about(
      elapsed(host, () => host.pass(10)),
      12,
    );
    host.pass(10);
    host.interruption = 2000;
    about(
      elapsed(host, () => host.pass(10)),
      2012,
    );
    about(
      elapsed(host, () => host.pass(10)),
      12,
    );
  });

  it('costs a busy subscription no look at the wall clock for each message', () => {
    const host = new Host();
    const before = host.looks;
    for (let i = 0; i < 1000; i++) {
      host.pass(0.01);
      host.now();
    }
    assert.ok(host.looks - before <= 12, `${host.looks - before} looks`);
  });

  it('never decreases, and between any two moments is neither less than the monotonic clock nor than what was slept', () => {
    const step = fc.record({
      do: fc.constantFrom('pass' as const, 'sleep' as const, 'back' as const),
      ms: fc.integer({ min: 2, max: 10_000_000 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const host = new Host();
        const moments = [{ told: host.now(), true: 0 }];
        let real = 0;
        for (const { do: what, ms } of steps) {
          if (what === 'pass') host.pass(ms);
          else if (what === 'sleep') host.sleep(ms);
          else host.set(-ms);
          host.pass(2);
          real += (what === 'back' ? 0 : ms) + 2;
          moments.push({ told: host.now(), true: real });
        }
        // What it was set back by, and is too little to be seen, shortens later sleeps.
        const unseen = 100 + GRAIN * steps.length;
        for (const [i, later] of moments.entries()) {
          for (const earlier of moments.slice(0, i)) {
            const told = later.told - earlier.told;
            assert.ok(told >= later.true - earlier.true - unseen, `${told} of ${later.true - earlier.true}`);
            assert.ok(told <= later.true - earlier.true + GRAIN * steps.length);
            assert.ok(told >= 0);
          }
        }
      }),
    );
  });
});
