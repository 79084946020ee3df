import assert from 'node:assert/strict';
import net, { type AddressInfo } from 'node:net';
import fc from 'fast-check';
import { makeClock, type Clock } from '../../../src/clock/clock.js';
import { patience } from '../../../src/clock/patience.js';
import { timerDelay, type ClockSources } from '../../../src/clock/sources.js';

/** An event loop of which the test says when it turns. */
class Loop implements ClockSources<number> {
  time = 1000;
  #next = 1;
  readonly timers = new Map<number, { at: number; callback: () => void; keepAlive: boolean }>();
  #immediates: (() => void)[] = [];

  monotonic(): number {
    return this.time;
  }
  wall(): number {
    return this.time;
  }
  setTimeout(callback: () => void, delay: number, keepAlive: boolean): number {
    const whole = timerDelay(delay);
    assert.ok(whole >= 1 && whole <= 2 ** 31 - 1);
    this.timers.set(this.#next, { at: this.time + whole, callback, keepAlive });
    return this.#next++;
  }
  clearTimeout(timer: number): void {
    this.timers.delete(timer);
  }
  setImmediate(callback: () => void): void {
    this.#immediates.push(callback);
  }

  /** One turn: the timers that are due, what the socket brings, the immediates. */
  turn(poll: () => void = () => {}): void {
    for (const [id, { at, callback }] of [...this.timers]) {
      if (at > this.time || !this.timers.has(id)) continue;
      this.timers.delete(id);
      callback();
    }
    poll();
    const immediates = this.#immediates;
    this.#immediates = [];
    for (const callback of immediates) callback();
  }

  /** The loop is awake for so long. */
  pass(ms: number): void {
    const end = this.time + ms;
    for (;;) {
      for (let turn = 0; turn < 3; turn++) this.turn();
      const next = Math.min(end, ...[...this.timers.values()].map(({ at }) => at));
      if (next >= end) break;
      this.time = Math.max(this.time, next);
    }
    this.time = end;
    for (let turn = 0; turn < 3; turn++) this.turn();
  }
}

function setup(): { loop: Loop; clock: Clock; calls: string[] } {
  const loop = new Loop();
  return { loop, clock: makeClock(loop), calls: [] };
}

describe('waking time', () => {
  it('is real time as long as the loop turns', () => {
    const { loop, clock, calls } = setup();
    const start = clock.now();
    clock.after(100, () => calls.push(`${clock.now() - start}`));
    loop.pass(99);
    assert.deepEqual(calls, []);
    loop.pass(1);
    assert.deepEqual(calls, ['100']);
    assert.equal(clock.now() - start, 100);
    assert.equal(loop.timers.size, 0);
  });

  it('takes off what a timer is late; of a long standstill all since the loop was seen awake', () => {
    for (const [stood, counted] of [
      [20, 120],
      [50, 100],
      [1000, 0],
    ] as const) {
      const { loop, clock } = setup();
      const start = clock.now();
      clock.after(100, () => {});
      loop.time += 100 + stood;
      loop.turn();
      assert.equal(clock.now() - start, counted, `${stood} ms late`);
    }
  });

  it('knows a standstill when it is read before the timer has fired, and counts nothing until then', () => {
    const { loop, clock, calls } = setup();
    clock.after(100, () => calls.push('due'));
    const before = clock.now();
    loop.time += 1000;
    assert.equal(clock.now(), before);
    loop.time += 70;
    assert.equal(clock.now(), before);
    loop.turn();
    loop.pass(99);
    assert.deepEqual(calls, []);
    loop.pass(1);
    assert.deepEqual(calls, ['due']);
  });

  it('calls back only when what the socket had brought is taken in', () => {
    const { loop, clock, calls } = setup();
    clock.after(100, () => calls.push('due'));
    loop.time += 110;
    loop.turn(() => calls.push('arrived'));
    assert.deepEqual(calls, ['arrived']);
    loop.turn(() => calls.push('and its follow-up'));
    assert.deepEqual(calls, ['arrived', 'and its follow-up', 'due']);
  });

  it('a callback can be cancelled until it is called', () => {
    const { loop, clock, calls } = setup();
    const cancel = clock.after(100, () => calls.push('due'));
    const other = clock.after(200, () => calls.push('other'));
    loop.time += 100;
    loop.turn(() => cancel());
    loop.turn();
    other();
    cancel();
    assert.equal(loop.timers.size, 0);
    loop.pass(1000);
    assert.deepEqual(calls, []);
  });

  it('keeps the process alive only for those that ask for it', () => {
    const { loop, clock } = setup();
    const kept = (): boolean => [...loop.timers.values()].some(({ keepAlive }) => keepAlive);
    clock.after(100, () => {}, { unref: true });
    assert.equal(kept(), false);
    const cancel = clock.after(200, () => {});
    assert.equal(kept(), true);
    cancel();
    assert.equal(kept(), false);
    clock.after(50, () => {});
    loop.pass(60);
    assert.equal(kept(), false);
    assert.equal(loop.timers.size, 1);
  });

  it('takes any delay', () => {
    const { loop, clock, calls } = setup();
    clock.after(2 ** 31 + 1000, () => calls.push('long'));
    const never = clock.after(Infinity, () => calls.push('never'));
    clock.after(-5, () => calls.push('past'));
    loop.pass(2 ** 31);
    assert.deepEqual(calls, ['past']);
    loop.pass(1000);
    assert.deepEqual(calls, ['past', 'long']);
    loop.pass(2 ** 33);
    assert.deepEqual(calls, ['past', 'long']);
    never();
    assert.equal(loop.timers.size, 0);
  });

  it('a loop that is late every time gets 100 ms for each turn, however long it is, and so deadlines come', () => {
    for (const late of [80, 200, 2500]) {
      const { loop, clock, calls } = setup();
      clock.after(1000, () => calls.push('due'));
      let turns = 0;
      for (; turns < 50 && calls.length === 0; turns++) {
        loop.time = Math.min(...[...loop.timers.values()].map(({ at }) => at), loop.time + 10_000) + late;
        loop.turn();
        loop.turn();
      }
      assert.deepEqual(calls, ['due']);
      // Nothing counts the first time.
      assert.equal(turns, 11, `late by ${late} ms each time`);
    }
  });

  it('a loop that is late no more has its whole time again', () => {
    const { loop, clock, calls } = setup();
    clock.after(1000, () => calls.push('due'));
    for (let turns = 0; turns < 3; turns++) {
      loop.time += 2500;
      loop.turn();
    }
    // Of the three turns two counted.
    loop.pass(799);
    assert.deepEqual(calls, []);
    loop.pass(2);
    assert.deepEqual(calls, ['due']);
    assert.equal(loop.timers.size, 0);
  });

  it('patience is as long as it says on a loop that turns, and does not count standstills shorter than it', () => {
    const { loop, clock, calls } = setup();
    patience(clock, 2000, () => calls.push('due'));
    loop.pass(1999);
    assert.equal(calls.join(), '');
    loop.pass(2);
    assert.equal(calls.join(), 'due');
    patience(clock, 2000, () => calls.push('again'));
    let turns = 0;
    for (; turns < 100 && calls.length === 1; turns++) {
      loop.time += 500;
      loop.turn();
    }
    assert.ok(turns >= 20, `${turns} turns`);
    assert.equal(calls.join(), 'due,again');
    const cancel = patience(clock, 2000, () => calls.push('never'));
    loop.pass(1000);
    cancel();
    assert.equal(loop.timers.size, 0);
  });

  it('tells the process of a callback that throws, and calls the others', () => {
    const { loop, clock, calls } = setup();
    clock.after(10, () => {
      throw new Error('boom');
    });
    clock.after(10, () => calls.push('other'));
    loop.time += 10;
    loop.turn();
    assert.throws(() => loop.turn(), /boom/);
    loop.turn();
    assert.deepEqual(calls, ['other']);
  });

  type Step =
    { op: 'pass' | 'stall' | 'after'; ms: number } | { op: 'turn' | 'read' } | { op: 'cancel'; which: number };
  const steps: fc.Arbitrary<Step[]> = fc.array(
    fc.oneof(
      fc.record({ op: fc.constantFrom('pass' as const, 'stall' as const, 'after' as const), ms: fc.nat(300) }),
      fc.record({ op: fc.constantFrom('turn' as const, 'read' as const) }),
      fc.record({ op: fc.constant('cancel' as const), which: fc.nat(5) }),
    ),
    { maxLength: 60 },
  );

  it('never decreases, is never ahead of real time, calls nobody too early, everybody once, and in the end all', () => {
    fc.assert(
      fc.property(steps, (steps) => {
        const { loop, clock } = setup();
        const deadlines: { due: number; awakeDue: number; called: number; cancelled: boolean; cancel: () => void }[] =
          [];
        let lastReal = loop.time;
        let last = clock.now();
        const read = (): void => {
          const now = clock.now();
          assert.ok(now >= last, 'it went back');
          assert.ok(now - last <= loop.time - lastReal, 'it ran ahead of real time');
          last = now;
          lastReal = loop.time;
        };
        for (const step of steps) {
          if (step.op === 'pass') loop.pass(step.ms);
          else if (step.op === 'stall') loop.time += step.ms;
          else if (step.op === 'turn') loop.turn();
          else if (step.op === 'read') read();
          else if (step.op === 'cancel') {
            const deadline = deadlines[step.which];
            if (deadline && deadline.called === 0) deadline.cancelled = true;
            deadline?.cancel();
          } else if (step.op === 'after') {
            const deadline = {
              due: loop.time + step.ms,
              awakeDue: clock.now() + step.ms,
              called: 0,
              cancelled: false,
              cancel: () => {},
            };
            deadline.cancel = clock.after(step.ms, () => {
              deadline.called++;
              assert.ok(loop.time >= deadline.due, 'called before its time');
              assert.ok(clock.now() >= deadline.awakeDue, 'called before its waking time');
            });
            deadlines.push(deadline);
          }
        }
        read();
        for (let n = 0; n < 10; n++) loop.pass(1000);
        for (const { called, cancelled } of deadlines) assert.equal(called, cancelled ? 0 : 1);
        assert.equal(loop.timers.size, 0, 'a timer is left');
      }),
      { numRuns: 2000 },
    );
  });

  it('after a standstill longer than the delay, what the socket had brought comes first, and the whole delay is waited', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 80, max: 5000 }), (delay, more) => {
        const { loop, clock, calls } = setup();
        clock.after(delay, () => calls.push('due'));
        loop.time += delay + more;
        loop.turn(() => calls.push('arrived'));
        loop.pass(delay - 1);
        assert.deepEqual(calls, ['arrived']);
        loop.pass(2);
        assert.deepEqual(calls, ['arrived', 'due']);
      }),
    );
  });

  it('on the real loop: a block longer than the delay, with bytes in the socket, ends with the bytes first', async () => {
    const server = net.createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const socket = net.connect((server.address() as AddressInfo).port, '127.0.0.1');
    await new Promise((resolve) => socket.once('connect', resolve));
    const calls: string[] = [];
    socket.on('data', () => calls.push('data'));
    const clock = makeClock();
    const due = new Promise<void>((resolve) => {
      clock.after(30, () => {
        calls.push('due');
        resolve();
      });
    });
    const before = clock.now();
    // The echo comes from this very process, so it is in the socket only when the server side has had its turn.
    socket.write('x');
    await new Promise((resolve) => setImmediate(resolve));
    const until = performance.now() + 300;
    while (performance.now() < until);
    assert.ok(clock.now() - before < 200, 'the block does not count');
    await due;
    assert.deepEqual(calls, ['data', 'due']);
    socket.destroy();
    server.close();
  });
});
