import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describeNote, LiveState, renderLive, sparkline, statusLine } from '../../src/cli/verify/live-view.js';
import { cut, pad, padLeft, paintFor, widthOf, type Paint } from '../../src/cli/style.js';
import { columns } from '../../src/cli/verify/verdict-view.js';
import type { Progress } from '../../src/testing/index.js';

const plain: Paint = (_, text) => text;
const colourful = paintFor({ isTTY: true }, {});

function progress(over: Partial<Progress> = {}): Progress {
  return {
    ...{ phase: 'running', doing: '', at: 30_000, publishFor: 120_000, faultCount: Infinity, faults: 7, leader: 'b' },
    ...{ current: ['kill b', 'slow a, b, c'], pending: 12, owed: 3, connected: 4, processes: 5 },
    counters: { attempted: 6012, acknowledged: 6000, failed: 0, delivered: 29_990, losses: 9, reconnects: 8 },
    ...over,
  };
}

describe('verify: the live view', () => {
  it('shows progress, rate, leader, the faults of the moment, and counters', () => {
    const state = new LiveState();
    state.progress(progress({ at: 29_000, counters: { ...progress().counters, acknowledged: 5800 } }));
    state.progress(progress());
    state.note({ at: 29_500, kind: 'fault', text: 'kill of the leader for 900 ms: b' });
    state.note({ at: 29_600, kind: 'connection', text: 'publisher-1: loss' });
    const view = renderLive('title', progress(), state, 100, plain).join('\n');
    for (const words of ['0:30 ━', ' 2:00   25 %', 'kill b, slow a, b, c', '7 faults so far', 'leader     b']) {
      assert.ok(view.includes(words), `'${words}' is not in\n${view}`);
    }
    for (const words of [
      'acks/s',
      '200',
      '4 of 5 clients connected',
      'pending 12',
      'behind 3',
      'losses 9',
      '0:29.5  ⚡ kill',
    ]) {
      assert.ok(view.includes(words), `'${words}' is not in\n${view}`);
    }
    assert.ok(!view.includes('publisher-1: loss'), 'these come by the dozen');
  });

  it('counts faults where the end is so many of them, and says what it does outside of the run', () => {
    const byCount = renderLive('t', progress({ publishFor: Infinity, faultCount: 14 }), new LiveState(), 100, plain);
    assert.match(byCount.join('\n'), / 14 faults {3}50 %/);
    const settling = progress({ phase: 'settling', doing: 'waiting for deliveries' });
    assert.match(renderLive('t', settling, new LiveState(), 100, plain).join('\n'), /waiting for deliveries …/);
  });

  it('never is wider than the terminal, nor of another height, whatever happens', () => {
    const text = fc.string({ unit: 'binary', maxLength: 200 }).map((s) => s.replace(/[\u0000-\u001f\u007f-\u009f]/g, ' ')); // prettier-ignore
    const height = renderLive('t', progress(), new LiveState(), 100, plain).length;
    fc.assert(
      fc.property(
        fc.integer({ min: 20, max: 200 }),
        text,
        fc.array(text),
        fc.nat(1e9),
        (width, word, current, count) => {
          const state = new LiveState();
          state.note({ at: count, kind: 'trouble', text: word });
          const counters = {
            attempted: count,
            acknowledged: count,
            failed: count,
            delivered: count,
            losses: 1,
            reconnects: 1,
          };
          const lines = renderLive(word, progress({ current, counters, at: count }), state, width, colourful);
          assert.equal(lines.length, height);
          for (const line of lines) assert.ok(widthOf(line) <= width, line);
        },
      ),
      { numRuns: 30 },
    );
  });

  it('a log gets a line with all of it', () => {
    const line = statusLine(progress(), new LiveState());
    assert.match(line, /^0:30 {2}6.000 acknowledged .*12 pending.*b leads, broken: kill b, slow/);
    assert.equal(describeNote({ at: 61_250, kind: 'trouble', text: 'gap' }, plain), '1:01.2  ✗ gap');
  });

  it('a sparkline: an outage is a hole, the highest is full', () => {
    assert.equal(sparkline([0, 1, 50, 100]), ' ▁▅█');
    assert.equal(sparkline([]), '');
  });

  it('colours where there is a terminal that wants them', () => {
    assert.equal(colourful('bad', 'x'), '\u001b[31mx\u001b[39m');
    for (const env of [{ NO_COLOR: '1' }, { TERM: 'dumb' }])
      assert.equal(paintFor({ isTTY: true }, env)('bad', 'x'), 'x');
    assert.equal(paintFor({}, {})('bad', 'x'), 'x');
  });

  it('widths do not count colours; what is cut keeps them', () => {
    const red = colourful('bad', 'abcdef');
    assert.equal(widthOf(red), 6);
    assert.equal(cut(red, 4), '\u001b[31mabc\u001b[39m…');
    assert.equal(cut(red, 6), red);
    assert.deepEqual([pad('ab', 4), padLeft('ab', 4)], ['ab  ', '  ab']);
    assert.deepEqual(columns(['name', 'n'], [['a', colourful('bad', '12')]], plain), [
      '  name   n',
      `  a     ${colourful('bad', '12')}`,
    ]);
  });
});
