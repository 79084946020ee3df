import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describeNote, LiveState, renderLive, sparkline, statusLine } from '../../src/cli/verify/live-view.js';
import { pad, padLeft, paintFor, widthOf, type Paint } from '../../src/cli/style.js';
import { flow, wrap } from '../../src/cli/text.js';
import { columns, commandLines } from '../../src/cli/verify/verdict-view.js';
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
    const view = renderLive(['title'], progress(), state, 100, plain).join('\n');
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
    const byCount = renderLive(['t'], progress({ publishFor: Infinity, faultCount: 14 }), new LiveState(), 100, plain);
    assert.match(byCount.join('\n'), / 14 faults {3}50 %/);
    const settling = progress({ phase: 'settling', doing: 'waiting for deliveries' });
    assert.match(renderLive(['t'], settling, new LiveState(), 100, plain).join('\n'), /waiting for deliveries …/);
  });

  it('never is wider than the terminal, whatever happens, and has one height where little happens', () => {
    const text = fc.string({ unit: 'binary', maxLength: 200 }).map((s) => s.replace(/[\u0000-\u001f\u007f-\u009f]/g, ' ')); // prettier-ignore
    const height = renderLive(['t'], progress(), new LiveState(), 100, plain).length;
    assert.equal(renderLive(['t'], progress({ current: [] }), new LiveState(), 60, plain).length, height);
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
          const lines = renderLive([word], progress({ current, counters, at: count }), state, width, colourful);
          assert.ok(lines.length >= height);
          for (const line of lines) assert.ok(widthOf(line) <= width, line);
        },
      ),
      { numRuns: 30 },
    );
  });

  it('cuts nothing in a narrow terminal: every word is there, in one piece', () => {
    const state = new LiveState();
    state.ending = 'ending the run: what is broken is mended';
    for (let at = 0; at <= 30_000; at += 500) state.progress(progress({ at }));
    state.note({ at: 29_500, kind: 'fault', text: 'black-hole of the way to the leader for 900 ms: b' });
    const title = ['resilient-stan verify', 'seed 1234567890', 'pipelined', '3 nodes, clustered'];
    const words = (lines: string[]): string[] => lines.join('\n').split(/\s+/).filter((word) => !/[━▁-█·]/.test(word)).sort(); // prettier-ignore
    const whole = words(renderLive(title, progress(), state, 100, plain));
    for (const width of [39, 69, 119]) {
      assert.deepEqual(words(renderLive(title, progress(), state, width, plain)), whole, `${width} columns`);
    }
  });

  it('says of a rate that is too much that it falls behind, and not of an outage', () => {
    const at = (times: number, perStep: (i: number) => number) => {
      const state = new LiveState(200);
      let acknowledged = 0;
      for (let i = 0; i <= times; i++) {
        acknowledged += perStep(i);
        state.progress(progress({ at: i * 500, pending: 500, counters: { ...progress().counters, acknowledged } }));
      }
      return renderLive(['t'], progress(), state, 100, plain).join('\n');
    };
    assert.match(at(20, () => 60), /of 200 asked for: it falls behind/); // prettier-ignore
    assert.doesNotMatch(
      at(20, () => 100),
      /falls behind/,
    );
    assert.doesNotMatch(
      at(20, (i) => (i === 18 ? 0 : 60)),
      /falls behind/,
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

  it('widths do not count colours, and count what is as wide as two', () => {
    assert.equal(widthOf(colourful('bad', 'abcdef')), 6);
    assert.deepEqual(['⚡', '✓', '日本', 'e\u0301', '━'].map(widthOf), [2, 1, 4, 1, 1]);
    assert.deepEqual([pad('ab', 4), padLeft('ab', 4)], ['ab  ', '  ab']);
  });

  it('a long text is broken between its words, indented, and each line has its own colours', () => {
    assert.deepEqual(wrap(`✗ ${colourful('bad', 'one two')} three`, 9, 2), [
      '✗ \u001b[31mone two\u001b[39m',
      '  three',
    ]);
    assert.deepEqual(wrap(colourful('bad', 'one two'), 5, 2), ['\u001b[31mone\u001b[39m', '  \u001b[31mtwo\u001b[39m']);
    assert.deepEqual(wrap('abcdef', 4), ['abcd', 'ef'], 'a word that is longer than a line');
    assert.deepEqual(wrap('a b', 80), ['a b']);
    assert.deepEqual(flow(['one two', 'three', 'four'], 14, 2, ' · '), ['one two', '  three · four']);
    const words = fc.array(fc.stringMatching(/^[a-z]{1,12}$/), { maxLength: 30 });
    fc.assert(
      fc.property(words, fc.integer({ min: 20, max: 60 }), fc.nat(8), (given, width, indent) => {
        const lines = wrap(colourful('warn', given.join(' ')), width, indent);
        assert.ok(lines.every((line) => widthOf(line) <= width));
        const text = lines.join(' ').replace(/\u001b\[\d+m/g, '');
        assert.deepEqual(text.split(/ +/).filter(Boolean), given);
      }),
    );
  });

  describe('a table', () => {
    const [heads, row] = [
      ['name', 'handled twice', 'n'],
      ['a', '3', colourful('bad', '12')],
    ];

    it('aligns its columns, and does not count colours', () => {
      assert.deepEqual(columns(['name', 'n'], [['a', colourful('bad', '12')]], plain), [
        '  name   n',
        `  a     ${colourful('bad', '12')}`,
      ]);
    });

    it('breaks its heads where it is too wide, and then itself, into blocks with the first column each', () => {
      assert.equal(columns(heads, [row], plain, 25)[0], '  name  handled twice   n');
      assert.deepEqual(columns(heads, [row], plain, 20), [
        '        handled    ',
        '  name    twice   n',
        `  a           3  ${colourful('bad', '12')}`,
      ]);
      assert.deepEqual(columns(heads, [row], plain, 15), [
        '        handled',
        '  name    twice',
        '  a           3',
        '',
        '  name   n',
        `  a     ${colourful('bad', '12')}`,
      ]);
    });

    it('never is wider than the terminal, unless one column is, and shows every cell', () => {
      const cell = fc.stringMatching(/^[a-z]{1,9}$/);
      const table = fc.integer({ min: 2, max: 12 }).chain((n) => {
        const line = fc.array(cell, { minLength: n, maxLength: n });
        return fc.tuple(line, fc.array(line, { minLength: 1, maxLength: 5 }));
      });
      fc.assert(
        fc.property(table, fc.integer({ min: 24, max: 130 }), ([names, rows], width) => {
          const lines = columns(names, rows, plain, width);
          for (const line of lines) assert.ok(line.length <= width, line);
          const shown = lines.join(' ').split(/ +/);
          for (const text of [...names, ...rows.flat()]) assert.ok(shown.includes(text), text);
        }),
      );
    });
  });

  it('a command that is too long for a line goes on in the next one, as a shell reads it', () => {
    const command = 'npx resilient-stan verify --seed 42 --minutes 2 --ordering strict';
    assert.deepEqual(commandLines('  again:  ', command, 120), [`  again:  ${command}`]);
    for (const width of [69, 39]) {
      const lines = commandLines('  again:  ', command, width);
      assert.ok(lines.length > 1 && lines.every((line) => line.length <= width), lines.join('\n'));
      const typed = lines.join('\n').replace(/^ *again:\s*/, '').replace(/\\\n */g, ''); // prettier-ignore
      assert.equal(typed, command);
    }
  });
});
