import assert from 'node:assert/strict';
import { Rhythm } from '../../../src/connection/rhythm.js';

describe('rhythm', () => {
  function beat(rhythm: Rhythm, from: number, gap: number, count: number): number {
    let now = from;
    for (let i = 0; i < count; i++) rhythm.heard((now = from + i * gap));
    return now;
  }

  it('is surprised by a silence, once', () => {
    const rhythm = new Rhythm();
    const last = beat(rhythm, 0, 10, 100);
    const at = rhythm.surpriseAt!;
    assert.ok(at >= last + 50 && at < last + 100, `${at - last}`);
    rhythm.asked();
    assert.equal(rhythm.surpriseAt, undefined);
    rhythm.heard(last + 1000);
    beat(rhythm, last + 1010, 10, 20);
    assert.notEqual(rhythm.surpriseAt, undefined);
  });

  it('needs a rhythm', () => {
    const slow = new Rhythm();
    beat(slow, 0, 400, 100);
    assert.equal(slow.surpriseAt, undefined);
    const short = new Rhythm();
    beat(short, 0, 10, 5);
    assert.equal(short.surpriseAt, undefined);
    const paused = new Rhythm();
    beat(paused, 0, 10, 100);
    paused.heard(5000);
    assert.equal(paused.surpriseAt, undefined);
  });

  it('is not surprised by the pauses between bursts', () => {
    const rhythm = new Rhythm();
    for (let burst = 0; burst < 50; burst++) {
      const start = burst * 400;
      const surpriseAt = rhythm.surpriseAt;
      if (burst > 3) assert.ok(surpriseAt === undefined || surpriseAt > start, `burst ${burst}`);
      beat(rhythm, start, 1, 20);
    }
  });

  it('is that of all subscriptions together', () => {
    const rhythm = new Rhythm();
    // A thousand of them with a message a second each have no rhythm by themselves.
    for (let now = 0; now < 3000; now++) rhythm.heard(now);
    assert.ok(rhythm.surpriseAt! >= 2999 + 50 && rhythm.surpriseAt! < 2999 + 60, `${rhythm.surpriseAt}`);
  });
});
