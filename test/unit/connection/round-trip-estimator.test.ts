import assert from 'node:assert/strict';
import fc from 'fast-check';
import { RoundTripEstimator, MIN_MARGIN, MIN_THRESHOLD } from '../../../src/connection/round-trip-estimator.js';

describe('the round-trip estimator', () => {
  it('is never suspicious of less than 150 ms', () => {
    const estimator = new RoundTripEstimator(0.5, 0);
    for (let now = 1; now < 1000; now++) estimator.sample(0.5, now);
    assert.equal(estimator.threshold(1000), MIN_THRESHOLD);
    assert.equal(estimator.margin(1000), MIN_MARGIN);
  });

  it('follows the round trips of a slow path from the first sample on', () => {
    assert.ok(new RoundTripEstimator(600, 0).threshold(0) >= 1200);
  });

  it('forgets one long round trip after a while', () => {
    const estimator = new RoundTripEstimator(1, 0);
    for (let now = 1; now <= 100; now++) estimator.sample(1, now);
    estimator.sample(1000, 101);
    assert.ok(estimator.threshold(101) > 1000);
    for (let now = 102; now < 60_000; now += 10) estimator.sample(1, now);
    assert.equal(estimator.threshold(60_000), MIN_THRESHOLD);
  });

  it('counts the silence from what is owed or from the last sign of life, whichever is later', () => {
    const estimator = new RoundTripEstimator(1, 0);
    assert.equal(estimator.silence(100, 350), 250);
    estimator.heard(300);
    assert.equal(estimator.silence(100, 350), 50);
    assert.equal(estimator.silence(320, 350), 30);
  });

  it('never calls a steady leader silent (property)', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0.1, max: 2000, noNaN: true }),
        fc.array(fc.double({ min: 0.5, max: 1.2, noNaN: true }), { minLength: 1, maxLength: 200 }),
        (base, jitter) => {
          // One question at a time on a path with up to 20 % more and half less than the first sample.
          const estimator = new RoundTripEstimator(base, 0);
          let now = 0;
          for (const factor of jitter) {
            const asked = now;
            now += base * factor;
            assert.ok(estimator.silence(asked, now) < estimator.threshold(now));
            estimator.sample(base * factor, now);
          }
        },
      ),
    );
  });

  it('silence is never negative and never more than the time that passed (property)', () => {
    const time = fc.double({ min: 0, max: 10_000, noNaN: true });
    fc.assert(
      fc.property(time, time, time, (owed, heard, now) => {
        const estimator = new RoundTripEstimator(1, 0);
        estimator.heard(heard);
        const silence = estimator.silence(owed, now);
        assert.ok(silence >= 0 && silence <= Math.max(0, now - Math.max(owed, heard)));
      }),
    );
  });
});
