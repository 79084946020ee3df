/** The parts of the game that decide: its command line, its tally, its row of dots. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { readCommandLine, UsageError } from '../../examples/game/command-line.js';
import { clock, Row } from '../../examples/game/row.js';
import { Tally } from '../../examples/game/tally.js';

describe('the command line of the game', () => {
  it('by default boots a cluster and plays until Ctrl-C', () => {
    assert.deepEqual(readCommandLine([]), {
      servers: [],
      clusterId: 'test-cluster',
      monkey: false,
      seconds: undefined,
      help: false,
    });
  });

  it('takes servers with commas or spaces between them, and options anywhere', () => {
    const game = readCommandLine(['nats://a,nats://b', '--seconds=2.5', 'c:4223', '--cluster-id', 'mine']);
    assert.deepEqual(game.servers, ['nats://a', 'nats://b', 'c:4223']);
    assert.equal(game.seconds, 2.5);
    assert.equal(game.clusterId, 'mine');
    assert.equal(readCommandLine(['--monkey', '--seconds', '30']).monkey, true);
  });

  for (const [args, expected] of [
    [['--second', '5'], /no option --second: did you mean --seconds\?/],
    [['--Monky'], /did you mean --monkey\?/],
    [['--clusterid', 'x'], /did you mean --cluster-id\?/],
    [['--frobnicate'], /no option --frobnicate: there are --monkey, --seconds, --cluster-id, --help/],
    [['-x'], /no option -x/],
    [['--seconds'], /--seconds needs a value, as in --seconds 30/],
    [['--seconds', ''], /--seconds needs a value/],
    [['--seconds', 'ten'], /above 0 .* not 'ten'/],
    [['--seconds', '0'], /above 0 .* not '0'/],
    [['--seconds=-5'], /above 0 .* not '-5'/],
    [['--seconds', '-5'], /above 0 .* not '-5'/],
    [['--seconds', '1e9'], /up to 2147483, not '1e9'/],
    [['--monkey=3'], /--monkey takes no value/],
    [['--monkey', 'nats://a'], /not yours/],
  ] as const) {
    it(`refuses ${args.join(' ')}`, () => {
      assert.throws(
        () => readCommandLine(args),
        (error: Error) => error instanceof UsageError && expected.test(error.message),
      );
    });
  }

  it('tells who forgot the -- that npm wants', () => {
    const npm = { npm_lifecycle_event: 'example', npm_config_monkey: 'true' };
    assert.throws(() => readCommandLine([], npm), /npm run example -- --monkey/);
    assert.equal(readCommandLine(['--monkey'], npm).monkey, true);
    assert.equal(readCommandLine([], { npm_config_monkey: 'true' }).monkey, false, 'not run by npm');
  });
});

describe('the tally of the game', () => {
  it('counts each message once, and copies apart', () => {
    const tally = new Tally('r');
    const [a, b, c, d] = [0, 100, 200, 300].map((at) => tally.next(at));
    for (const { number } of [a!, b!, c!]) tally.acknowledged(number);
    assert.ok(tally.received(a!.value, 50));
    assert.ok(tally.received(a!.value, 60));
    assert.ok(tally.received(d!.value, 400), 'received before its acknowledgement');
    assert.equal(tally.complete, false);
    assert.deepEqual(tally.result(1000), {
      published: 4,
      acknowledged: 3,
      received: 2,
      lost: 2,
      open: 0,
      duplicates: 1,
      longestPause: 600,
    });
    tally.received(b!.value, 1000);
    tally.received(c!.value, 1000);
    assert.equal(tally.complete, true);
    assert.equal(tally.result(5000).longestPause, 600, 'the pause after the last message is none');
  });

  it('leaves out what others publish on the channel, and what was never published', () => {
    const tally = new Tally('r');
    tally.next(0);
    for (const value of ['', 'msg', 'msg r', 'msg s 0', 'msg r 1', 'msg r -1', 'msg r x', 'msg r 0.5']) {
      assert.equal(tally.received(value, 1), false, value);
    }
    assert.equal(tally.received('msg r 0', 1), true);
  });

  it('finds every message that is lost, whatever the order of things', () => {
    const fates = fc.array(fc.record({ acknowledged: fc.boolean(), copies: fc.nat(3) }), { maxLength: 50 });
    fc.assert(
      fc.property(fates, (fates) => {
        const tally = new Tally('r');
        for (const { acknowledged, copies } of fates) {
          const { value, number } = tally.next(0);
          for (let copy = 0; copy < copies; copy++) tally.received(value, 0);
          if (acknowledged) tally.acknowledged(number);
        }
        const { lost, open, received, duplicates } = tally.result(0);
        assert.equal(lost, fates.filter(({ acknowledged, copies }) => acknowledged && copies === 0).length);
        assert.equal(open, fates.filter(({ acknowledged, copies }) => !acknowledged && copies === 0).length);
        assert.equal(
          received + duplicates,
          fates.reduce((sum, { copies }) => sum + copies, 0),
        );
      }),
    );
  });
});

describe('the row of dots', () => {
  const screen = (options: { isTTY?: boolean; columns?: number; hasColors?: () => boolean } = {}) => {
    let text = '';
    const out = { ...options, write: (more: string) => void (text += more) };
    let now = 0;
    const row = new Row(out, () => now);
    return { row, text: () => text, at: (ms: number) => void (now = ms) };
  };

  it('on a terminal grows at once, and breaks where it ends', () => {
    const { row, text, at } = screen({ isTTY: true, columns: 30, hasColors: () => false });
    row.dot();
    assert.equal(text(), '  0:00  .');
    at(61_000);
    for (let i = 0; i < 25; i++) row.dot();
    row.word('lost', 'bad');
    row.word('back', 'good');
    row.line('a line');
    const lines = text().split('\n');
    assert.deepEqual(lines, [`  0:00  ${'.'.repeat(21)}`, '  1:01  ..... lost back ', 'a line', '']);
    assert.ok(lines.every((line) => line.length < 30));
  });

  it('paints on a terminal that has colours, and nowhere else', () => {
    for (const [terminal, painted] of [
      [{ isTTY: true }, true],
      [{ isTTY: true, hasColors: () => false }, false],
      [{ hasColors: () => true }, false],
    ] as const) {
      const { row, text } = screen(terminal);
      row.word('lost', 'bad');
      row.line('well', 'good');
      assert.equal(text().includes('\x1b['), painted, JSON.stringify(terminal));
    }
  });

  it('elsewhere comes in whole lines, and at once when something happens', () => {
    const { row, text } = screen();
    for (let i = 0; i < 49; i++) row.dot();
    assert.equal(text(), '');
    row.dot();
    assert.equal(text(), `  0:00  ${'.'.repeat(50)}\n`);
    row.dot();
    row.word('lost', 'bad');
    assert.equal(text().split('\n')[1], '  0:00  . lost');
    row.dot();
    row.end();
    row.end();
    assert.equal(text().split('\n')[2], '  0:00  .');
    assert.equal(text().split('\n').length, 4);
  });

  it('tells the time', () => {
    assert.deepEqual([0, 999, 59_999, 60_000, 3_600_000].map(clock), ['0:00', '0:00', '0:59', '1:00', '60:00']);
  });
});
