import assert from 'node:assert/strict';
import { renderVerdict } from '../../src/cli/verify/verdict-view.js';
import fc from 'fast-check';
import type { ReportData, ReportFault, ReportMark } from '../../src/testing/report/data.js';
import { isClean } from '../../src/testing/report/data.js';
import { formatBytes, formatCount, formatDuration, formatTime, plural } from '../../src/testing/report/format.js';
import { renderHtml } from '../../src/testing/report/html.js';
import { inLanes } from '../../src/testing/report/lanes.js';
import { lifelines } from '../../src/testing/report/lifelines.js';
import { medians, peaks, sums } from '../../src/testing/report/resample.js';
import { linear, logarithmic, niceTicks, powerTicks, timeTicks } from '../../src/testing/report/scale.js';
import { percentile } from '../../src/testing/report/statistics.js';
import {
  findings,
  furtherFigures,
  headline,
  judgement,
  notices,
  recoveries,
  totalsOf,
} from '../../src/testing/report/summary.js';
import { THEME, TIMELINE_STYLE } from '../../src/testing/report/theme.js';
import { renderTimeline, timelineRange } from '../../src/testing/report/timeline.js';
import { violationsOf, type PublisherVerdict, type SubscriptionVerdict } from '../../src/testing/continuity/verdict.js';

function publisher(over: Partial<PublisherVerdict> = {}): PublisherVerdict {
  return {
    ...{ name: 'publisher-1', attempted: 1000, acknowledged: 1000, notSent: 0, rejected: 0, unknown: 0, abandoned: 0 },
    ...{ unsettled: 0, settledTwice: 0, longestStall: { ms: 812, at: 4000 } },
    ...over,
  };
}

function subscription(over: Partial<SubscriptionVerdict> = {}): SubscriptionVerdict {
  return {
    ...{
      name: 'plain',
      kind: 'plain',
      received: 1000,
      lost: { total: 0, prefix: 0, middle: 0, tail: 0 },
      recovered: 0,
    },
    ...{ ghosts: 0, aliens: 0, duplicated: 2, handledTwice: 0, repeated: 0, reordered: 0, outOfSequence: 0, resets: 0 },
    ...{
      underWay: 0,
      afterTakeover: 0,
      threw: 0,
      told: 0,
      gone: 0,
      falseGaps: 0,
      toldTwice: 0,
      untold: 0,
      unattended: 0,
      serverLost: 0,
    },
    ...{ longestStall: { ms: 900, at: 4100 }, examples: {} },
    ...over,
  };
}

function report(
  over: Partial<ReportData> = {},
  subscriptions = [subscription()],
  publishers = [publisher()],
): ReportData {
  const ordering = over.settings?.ordering ?? 'strict';
  const violations = violationsOf(publishers, subscriptions, { ordering });
  const duration = over.duration ?? 20_000;
  const length = Math.ceil(duration / 100);
  const of = <T>(value: T): T[] => Array.from({ length }, () => value);
  return {
    ...{ format: 1, startedAt: '2024-01-02T03:04:05.678Z', duration, end: 'complete' },
    client: { name: 'resilient-stan', version: '0.1.0' },
    settings: {
      ...{ seed: 42, publishFor: 20_000, ordering, rate: 200, size: 0, faults: ['kill', 'reset'] },
      cluster: { mode: 'clustered', nodes: 3 },
    },
    environment: { node: '20.0.0', platform: 'linux x64', cpus: 2, server: '0.25.6' },
    replay: 'npx resilient-stan verify --seed 42',
    verdict: { clean: violations.length === 0, violations, ordering, publishers, subscriptions, faults: [] },
    incidents: [],
    faults: [
      fault({ kind: 'kill', label: 'kill b', at: 4000, until: 6000, toNextAck: 700, toNextDelivery: { plain: 710 } }),
      fault({ kind: 'reset', label: 'reset', at: 9000, toNextAck: 40, toNextDelivery: { plain: 55 } }),
    ],
    processes: [
      {
        ...{ name: 'publisher-1', role: 'publisher', parts: ['publisher-1'], lives: 1 },
        samples: [0, 5000, 10_000].map((at) => ({ at, life: 1, heap: 9e6, rss: 6e7, handles: 5, listeners: 12 })),
      },
    ],
    marks: [
      mark({ at: 0, kind: 'connected' }),
      mark({ at: 4001, kind: 'loss', text: 'disconnect' }),
      mark({ at: 4700, kind: 'reconnect', text: 'after 699 ms' }),
    ],
    leaders: [
      { at: 0, node: 'b' },
      { at: 4000, node: undefined },
      { at: 4600, node: 'c' },
    ],
    series: {
      interval: 100,
      ...{ acknowledged: of(20), failed: of(0), delivered: of(20) },
      ...{ ackLatency: { p50: of(3), max: of(9) }, deliveryLatency: { p50: of(4), max: of(11) } },
    },
    ...over,
  };
}

function fault(over: Partial<ReportFault>): ReportFault {
  return { kind: 'kill', name: `${over.label} of something`, label: 'kill', at: 0, toNextDelivery: {}, ...over };
}

function mark(over: Partial<ReportMark>): ReportMark {
  return { at: 0, process: 'publisher-1', kind: 'connected', ...over };
}

/** Every element is closed, in its order, and every `&` begins an entity: what an XML parser would insist on. */
function assertWellFormed(markup: string): void {
  const open: string[] = [];
  for (const [tag, slash, name, selfClosed] of markup.matchAll(
    /<(\/?)([a-zA-Z][\w-]*)(?:\s+[\w:-]+="[^"<]*")*(\/?)>/g,
  )) {
    if (slash) assert.equal(open.pop(), name, tag);
    else if (!selfClosed) open.push(name!);
  }
  assert.deepEqual(open, []);
  const rest = markup.replace(/<\/?[a-zA-Z][\w-]*(?:\s+[\w:-]+="[^"<]*")*\/?>/g, '');
  assert.doesNotMatch(rest, /</);
  assert.doesNotMatch(markup, /&(?!amp;|lt;|gt;|quot;|#39;)/);
}

describe('testing: report', () => {
  describe('numbers', () => {
    it('are grouped, and never longer than people read', () => {
      assert.equal(formatCount(1_234_567), '1\u202f234\u202f567');
      assert.equal(formatCount(999), '999');
      assert.deepEqual(
        [0, 0.4, 87, 999, 999.6, 1234, 9949, 9951, 59_400, 59_600, 61_000, 3_720_000].map(formatDuration),
        [
          '0 ms',
          '<\u202f1 ms',
          '87 ms',
          '999 ms',
          '1.0 s',
          '1.2 s',
          '9.9 s',
          '10 s',
          '59 s',
          '1 min',
          '1 min 1 s',
          '1 h 2 min',
        ],
      );
      assert.deepEqual([0, 65_999, 3_605_000].map(formatTime), ['0:00', '1:05', '1:00:05']);
      assert.deepEqual([12, 1200, 12_345_678].map(formatBytes), ['12 B', '1.2 kB', '12.3 MB']);
      assert.deepEqual([plural(1, 'fault'), plural(0, 'publish', 'publishes')], ['1 fault', '0 publishes']);
    });

    it('of bytes are in a unit of which there are less than a thousand, and as exact as they are shown', () => {
      assert.deepEqual([0, 999, 1000, 999_949, 999_950, 2 ** 30, 999_999_999, 1e12, 2 ** 53].map(formatBytes), [
        '0 B',
        '999 B',
        '1.0 kB',
        '999.9 kB',
        '1.0 MB',
        '1.1 GB',
        '1.0 GB',
        '1.0 TB',
        '9.0 PB',
      ]);
      const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
      fc.assert(
        fc.property(fc.integer({ min: 0, max: 53 }), fc.double({ min: 1, max: 2, noNaN: true }), (power, factor) => {
          const bytes = Math.min(Math.floor(2 ** power * factor), Number.MAX_SAFE_INTEGER);
          const [, number, unit] = /^(\d+(?:\.\d)?) (\w+)$/.exec(formatBytes(bytes))!;
          assert.ok(Number(number) < 1000 && (Number(number) >= 1 || unit === 'B'), formatBytes(bytes));
          const size = 1000 ** units.indexOf(unit!);
          assert.ok(Math.abs(Number(number) * size - bytes) <= 0.0501 * size, `${bytes}: ${formatBytes(bytes)}`);
        }),
      );
    });

    it('percentile: the nearest rank', () => {
      assert.equal(percentile([], 0.5), undefined);
      assert.equal(percentile([3, 1, 2], 0.5), 2);
      assert.equal(percentile([3, 1, 2], 0.95), 3);
      fc.assert(
        fc.property(
          fc.array(fc.integer(), { minLength: 1 }),
          fc.double({ min: 0, max: 1, noNaN: true }),
          (all, share) => {
            const value = percentile(all, share)!;
            assert.ok(all.includes(value));
            assert.ok(all.filter((other) => other <= value).length >= share * all.length - 1e-9);
          },
        ),
      );
    });
  });

  describe('axes', () => {
    it('place the ends of the range at the ends', () => {
      const x = linear([10, 20], [0, 100]);
      assert.deepEqual([x(10), x(15), x(20)], [0, 50, 100]);
      const y = logarithmic([1, 1000], [90, 0]);
      assert.deepEqual([y(1), y(10), y(1000)].map(Math.round), [90, 60, 0]);
      assert.equal(y(0), 90);
    });

    it('ticks are round, in order, and cover what is there', () => {
      fc.assert(
        fc.property(fc.double({ min: 0, max: 1e9, noNaN: true }), (max) => {
          const ticks = niceTicks(max, 4);
          assert.equal(ticks[0], 0);
          assert.ok(ticks.at(-1)! >= max && ticks.length >= 2 && ticks.length <= 8, String(ticks));
          const powers = powerTicks(Math.min(max, 1), max);
          assert.ok(powers.length >= 2 && powers.at(-1)! >= max * 0.999999, String(powers));
        }),
      );
      fc.assert(
        fc.property(fc.integer({ min: 0, max: 1e8 }), fc.integer({ min: 2, max: 20 }), (duration, count) => {
          const ticks = timeTicks(duration, count);
          assert.ok(ticks.length <= count + 1 && ticks.every((tick) => tick <= duration));
        }),
      );
    });

    it('fewer buckets lose no message, no peak, and invent nothing', () => {
      const numbers = fc.array(fc.option(fc.nat(1000), { nil: null }));
      fc.assert(
        fc.property(numbers, fc.integer({ min: 1, max: 7 }), (values, by) => {
          const counts = values.map((value) => value ?? 0);
          const total = (all: number[]): number => all.reduce((sum, value) => sum + value, 0);
          assert.equal(total(sums(counts, by)), total(counts));
          assert.equal(
            Math.max(...peaks(values, by).map((v) => v ?? -1), -1),
            Math.max(...values.map((v) => v ?? -1), -1),
          );
          for (const [i, median] of medians(values, by).entries()) {
            const chunk = values.slice(i * by, (i + 1) * by);
            assert.ok(median === null ? chunk.every((v) => v === null) : chunk.includes(median));
          }
        }),
      );
    });
  });

  it('lanes: nothing covers anything, and no lane is opened while another is free', () => {
    const band = fc.tuple(fc.nat(1000), fc.integer({ min: 1, max: 200 }));
    fc.assert(
      fc.property(fc.array(band), (bands) => {
        const sorted = bands.sort(([a], [b]) => a - b);
        const placed = inLanes(sorted, ([from, length]) => [from, from + length]);
        placed.forEach(({ item, lane }, i) => {
          const before = placed.slice(0, i);
          const overlaps = (other: (typeof placed)[number]): boolean => other.item[0] + other.item[1] > item[0];
          assert.ok(before.every((other) => other.lane !== lane || !overlaps(other)));
          for (let lower = 0; lower < lane; lower++) {
            assert.ok(before.some((other) => other.lane === lower && overlaps(other)));
          }
        });
      }),
    );
  });

  it('lifelines: connected from connect or reconnect to loss or death', () => {
    const marks = [
      mark({ at: 0, kind: 'connected' }),
      mark({ at: 10, kind: 'loss' }),
      mark({ at: 15, kind: 'gap' }),
      mark({ at: 20, kind: 'reconnect' }),
      mark({ at: 30, kind: 'killed' }),
      mark({ at: 40, kind: 'connected' }),
    ];
    const lines = [
      { from: 0, to: 10 },
      { from: 20, to: 30 },
      { from: 40, to: 100 },
    ];
    assert.deepEqual(lifelines(marks, 100), lines);
    assert.deepEqual(lifelines([], 100), []);
  });

  describe('the verdict in words', () => {
    it('clean: what there was, and that nothing is wrong', () => {
      const data = report();
      assert.ok(isClean(data));
      assert.deepEqual(judgement(data), { word: 'Clean', good: true });
      assert.deepEqual(findings(data), []);
      assert.match(
        headline(data),
        /^1.000 messages acknowledged through 2 faults: none lost, none out of order, none handled twice$/,
      );
    });

    it('not clean: for a lost message, a failed publish, an incident, a failure, an interruption', () => {
      const lost = report({}, [subscription({ lost: { total: 3, prefix: 0, middle: 1, tail: 2 } })]);
      assert.match(headline(lost), /3 lost/);
      assert.deepEqual(judgement(lost), { word: 'Not clean', good: false });
      const failed = report({}, [subscription()], [publisher({ unknown: 2, unsettled: 1 })]);
      assert.match(headline(failed), /1 never settled, 2 publishes failed/);
      const grown = report({ incidents: ['its heap grew'] });
      assert.deepEqual([isClean(grown), findings(grown)], [false, ['its heap grew']]);
      const broken = report({ end: 'failed', failure: 'no quorum' });
      assert.deepEqual([judgement(broken).word, findings(broken)], ['Failed', ['no quorum']]);
      const interrupted = report({ end: 'interrupted' });
      assert.deepEqual([isClean(interrupted), judgement(interrupted).word], [false, 'Interrupted']);
      assert.match(headline(interrupted), /^Interrupted after 20 s\./);
      const early = report({ end: 'interrupted' }, [subscription({ underWay: 3 })], [publisher({ unsettled: 2 })]);
      assert.match(headline(early), /: none lost, .*, 2 publishes under way, 3 deliveries under way$/);
      assert.match(renderHtml(early), /<th>under way<\/th>/);
    });

    it('what is gone and told, and what the server itself has lost, is said, and is not lost', () => {
      const data = report({}, [subscription({ gone: 7, told: 8 }), subscription({ name: 'g', kind: 'queue', serverLost: 2 })]); // prettier-ignore
      assert.ok(isClean(data));
      assert.match(headline(data), /none handled twice, 7 gone and told so, 2 of a group lost by the server itself$/);
    });

    it('every further thing that must not be keeps it from being clean', () => {
      for (const [over, words] of [
        [{ falseGaps: 1 }, /1 sequences were told to be gone and were there/],
        [{ toldTwice: 2 }, /2 sequences were told twice to be gone/],
        [{ untold: 3 }, /3 sequences neither arrived nor were told to be gone/],
        [{ afterTakeover: 4 }, /4 messages handled again after a takeover/],
      ] as [Partial<SubscriptionVerdict>, RegExp][]) {
        const data = report({}, [subscription(over)]);
        assert.match(findings(data).join(), words);
        const html = renderHtml(data);
        const [figure] = furtherFigures(data.verdict.subscriptions);
        assert.ok(html.includes(`<th>${figure?.head}</th>`) && html.includes('td class="bad"'), figure?.head);
        assert.ok(renderVerdict(data, (_, text) => text).some((line) => line.includes(figure!.head)));
      }
      assert.deepEqual(furtherFigures([subscription()]), []);
      assert.deepEqual(furtherFigures([subscription({ kind: 'queue', afterTakeover: 4 })]), [], 'a group may');
    });

    it('a rate that was too much is said, with what was asked and what was reached, and is not wrong', () => {
      assert.deepEqual([notices(report()), notices(report({ reachedRate: 185 }))], [[], []]);
      const slow = report({ reachedRate: 133.4 });
      assert.match(notices(slow).join(), /fell behind: .* 133 messages a second were reached of the 200 asked for/);
      assert.ok(isClean(slow));
      assert.match(renderHtml(slow), /<p class="notice">The publishers fell behind/);
      assert.ok(renderVerdict(slow, (_, text) => text).some((line) => line.includes('! The publishers fell behind')));
    });

    it('overtaking is disorder in strict ordering only; groups promise no order', () => {
      const settings = { ...report().settings, ordering: 'pipelined' as const };
      const overtaken = [
        subscription({ reordered: 5 }),
        subscription({ name: 'q', kind: 'queue', reordered: 7, handledTwice: 9 }),
      ];
      const pipelined = totalsOf(report({ settings }, overtaken));
      assert.deepEqual([pipelined.outOfOrder, pipelined.overtaken, pipelined.handledTwice], [0, 5, 0]);
      const strict = totalsOf(report({}, overtaken));
      assert.deepEqual([strict.outOfOrder, strict.overtaken], [5, 0]);
    });

    it('recoveries: by kind; one without an answer is not left out of the count', () => {
      const faults = [
        fault({ kind: 'kill', toNextAck: 10, toNextDelivery: { a: 5, b: 30 } }),
        fault({ kind: 'kill', toNextAck: 20, toNextDelivery: { a: 5, b: undefined } }),
        fault({ kind: 'kill' }),
        fault({ kind: 'pause', toNextAck: 7 }),
      ];
      const [kill, pause] = recoveries(report({ faults }));
      assert.deepEqual(kill, {
        ...{ kind: 'kill', count: 3, unanswered: 1 },
        ...{ ack: { p50: 10, p95: 20, max: 20 }, delivery: { p50: 30, p95: 30, max: 30 } },
      });
      assert.deepEqual(pause, {
        ...{ kind: 'pause', count: 1, unanswered: 0 },
        ...{ ack: { p50: 7, p95: 7, max: 7 }, delivery: undefined },
      });
    });
  });

  describe('the picture', () => {
    it('is well-formed, by itself and in the page, with and without faults, leaders and processes', () => {
      for (const data of [
        report(),
        report({ faults: [], leaders: [], processes: [], marks: [] }),
        report({ duration: 30 }),
        report({ series: { ...report().series, acknowledged: [], failed: [], delivered: [] } }),
      ]) {
        assertWellFormed(renderTimeline(data, { standalone: true }));
        assertWellFormed(renderTimeline(data));
        assert.doesNotMatch(renderTimeline(data, { standalone: true }), /NaN|undefined|Infinity/);
      }
    });

    it('has a band and a label for each fault, and a mark for each loss and reconnect, in their places', () => {
      const svg = renderTimeline(report());
      for (const label of ['kill b', 'reset']) assert.ok(svg.includes(`>${label}</text>`), label);
      assert.equal(svg.match(/class="band /g)?.length, 2);
      // One of each in the legend.
      assert.equal(svg.match(/class="loss"/g)?.length, 2);
      assert.equal(svg.match(/class="reconnect"/g)?.length, 2);
      // The kill lasts a tenth of the run: so does its band of the width.
      const [, band] = /class="band ended"/.test(svg)
        ? (/width="([\d.]+)" height="[\d.]+" class="band ended"/.exec(svg) ?? [])
        : [];
      const [left, right] = timelineRange();
      assert.equal(Number(band), Math.round(right - left) / 10);
    });

    it('explains all its signs within its own width', () => {
      const faults = (['kill', 'pause', 'slow', 'client-kill'] as const).map((kind) => fault({ kind }));
      const marks = (['loss', 'reconnect', 'killed', 'gap'] as const).map((kind): ReportMark => ({
        at: 1,
        process: 'publisher-1',
        kind,
      }));
      const svg = renderTimeline(report({ faults, marks }));
      for (const words of ['connection lost', 'gap, reset, error or death', 'client killed']) {
        const [, x] = new RegExp(`<text x="([\\d.]+)"[^>]*>${words}<`).exec(svg) ?? [];
        assert.ok(x !== undefined && Number(x) + 6 * words.length < 1080, `'${words}' at ${x}`);
      }
    });

    /** The parts of the picture, as far as these tests need them. */
    const partsOf = (svg: string) => ({
      faults: [...svg.matchAll(/<g class="fault">.*?<\/g>/g)].map(([group]) => {
        const numbers = (pattern: RegExp) => (pattern.exec(group) ?? []).slice(1).map(Number);
        const [x, y, width] = numbers(/<rect x="(-?[\d.]+)" y="([\d.]+)" width="([\d.]+)"[^>]*class="field"/);
        const [begin, , length] = numbers(/<rect x="(-?[\d.]+)" y="([\d.]+)" width="([\d.]+)"[^>]*class="bar /);
        const [, at, label] = /<text x="(-?[\d.]+)"[^>]*>([^<]*)<\/text>/.exec(group) ?? [];
        return { x: x!, y: y!, width: width!, begin: begin!, length: length!, at: Number(at), label: label! };
      }),
      legends: [...svg.matchAll(/<g class="legend">(.*?<\/g>)<\/g>/g)].map(([, inner]) => inner!),
      plot: svg.replace(/<g class="legend">.*?<\/g><\/g>/g, ''),
    });
    const randomFaults = fc
      .array(
        fc.record({
          kind: fc.constantFrom('kill', 'pause', 'black-hole', 'client-replace', 'rolling-restart'),
          at: fc.nat(20_000),
          length: fc.option(fc.nat(8000), { nil: undefined }),
        }),
        { minLength: 1, maxLength: 60 },
      )
      .map((all) =>
        all
          .sort((a, b) => a.at - b.at)
          .map(({ kind, at, length }) =>
            fault({
              kind,
              label: `${kind} p1`,
              at,
              ...(length !== undefined && { until: Math.min(at + length, 20_000) }),
            }),
          ),
      );

    it('has every label within its field, every field within the plot, and none over another', () => {
      const [left, right] = timelineRange();
      fc.assert(
        fc.property(randomFaults, (faults) => {
          const { faults: drawn } = partsOf(renderTimeline(report({ faults })));
          assert.equal(drawn.length, faults.length);
          for (const one of drawn) {
            // An average character of the font is not wider.
            assert.ok(one.at >= one.x && one.at + one.label.length * 6.6 <= one.x + one.width + 0.2, one.label);
            assert.ok(one.begin >= one.x - 0.1 && one.begin + one.length <= one.x + one.width + 3, one.label);
            assert.ok(one.x >= left - 0.1 && one.x + one.width <= right + 0.1, one.label);
            const over = drawn.find((other) => other !== one && other.y === one.y && other.x < one.x + one.width && one.x < other.x + other.width); // prettier-ignore
            assert.equal(over, undefined, `${one.label} and ${over?.label}`);
          }
        }),
        { numRuns: 60 },
      );
    });

    it('has its legends beside the plot, with every sign that is in it, and none that is not', () => {
      const SIGNS = ['ended', 'frozen', 'network', 'client', 'loss', 'reconnect', 'killed', 'trouble', 'up', 'empty', 'ack-line', 'delivered-line', 'clipped', 'failed']; // prettier-ignore
      const [, right] = timelineRange();
      const kinds = fc.subarray(['loss', 'reconnect', 'killed', 'gap', 'connected'] as const);
      fc.assert(
        fc.property(randomFaults, kinds, fc.boolean(), fc.boolean(), (faults, marks, failed, peak) => {
          const { series } = report();
          const at = (i: number, value: number, all: number[]) => all.map((old, j) => (i === j ? value : old));
          const svg = renderTimeline(
            report({
              faults,
              marks: marks.map((kind, i) => mark({ kind, at: 100 * i })),
              leaders: failed ? [{ at: 0, node: 'a' }] : report().leaders,
              series: {
                ...series,
                failed: failed ? at(5, 1, series.failed) : series.failed,
                acknowledged: peak ? at(9, 9000, series.acknowledged) : series.acknowledged,
              },
            }),
          );
          const { legends, plot } = partsOf(svg);
          const legend = legends.join('');
          for (const [, x] of legend.matchAll(/translate\(([\d.]+) /g)) assert.ok(Number(x) > right);
          const has = (markup: string, sign: string): boolean => new RegExp(`class="(?:bar )?${sign}(?: key)?"`).test(markup); // prettier-ignore
          for (const sign of SIGNS) {
            // Nobody leads where nothing is drawn, and a process that was never connected has no bar.
            if (sign === 'empty') assert.equal(has(legend, sign), !failed);
            else if (sign !== 'up') assert.equal(has(legend, sign), has(plot, sign), sign);
          }
        }),
        { numRuns: 40 },
      );
    });

    it('writes where publishing stopped within the plot', () => {
      const [left, right] = timelineRange();
      for (const publishedUntil of [100, 10_000, 18_000, 19_000]) {
        const svg = renderTimeline(report({ publishedUntil }));
        const [, x, , anchor] = /<text x="([\d.]+)" y="([\d.]+)" text-anchor="(\w+)">publishing has stopped/.exec(svg)!;
        const width = 'publishing has stopped'.length * 6.6;
        const [from, to] = anchor === 'end' ? [Number(x) - width, Number(x)] : [Number(x), Number(x) + width];
        assert.ok(from >= left && to <= right, `${from} to ${to}`);
      }
    });

    it('says of clients that they were disturbed where they were not only killed', () => {
      const faults = (['client-kill', 'handler-fail'] as const).map((kind) => fault({ kind }));
      assert.match(renderTimeline(report({ faults })), />client disturbed</);
      assert.match(renderTimeline(report({ faults: [fault({ kind: 'host-sleep' })] })), />server frozen</);
    });

    it('numbers the faults when there are too many to name', () => {
      const faults = Array.from({ length: 200 }, (_, i) =>
        fault({ label: 'rolling-restart', at: i * 90, until: i * 90 + 80 }),
      );
      const svg = renderTimeline(report({ faults }));
      assert.ok(!svg.includes('>rolling-restart</text>'));
      assert.ok(svg.includes('>137</text>'));
    });

    it('shows what went wrong: failed publishes, and peaks that leave the chart', () => {
      const { series } = report();
      const failed = series.failed.map((_, i) => (i === 50 ? 7 : 0));
      const acknowledged = series.acknowledged.map((count, i) => (i === 60 ? 2000 : count));
      const svg = renderTimeline(report({ series: { ...series, failed, acknowledged } }));
      assert.match(svg, /7 publishes failed/);
      assert.match(svg, /peak of [\d\u202f]+\/s/);
    });

    it('has every colour in light and in dark', () => {
      const used = new Set(
        [...`${TIMELINE_STYLE}${renderHtml(report())}`.matchAll(/var\((--[\w-]+)\)/g)].map(([, name]) => name),
      );
      assert.ok(used.size > 10);
      const [light, dark] = THEME.split('@media (prefers-color-scheme: dark)') as [string, string];
      for (const name of used) {
        assert.ok(light.includes(`${name}:`), `${name} in light`);
        assert.ok(dark.includes(`${name}:`), `${name} in dark`);
      }
    });
  });

  describe('the page', () => {
    it('needs nothing from anywhere', () => {
      const html = renderHtml(report()).replaceAll('http://www.w3.org/2000/svg', '');
      assert.doesNotMatch(html, /https?:|\bsrc=|\bhref=|@import|url\(|<link|<img|fetch\(/);
      assert.match(html, /Content-Security-Policy" content="default-src 'none'/);
    });

    it('scrolls where it is too wide, with a hint above each part, and explains its columns to who asks', () => {
      const html = renderHtml(report());
      const parts = html.match(/<div class="scroll" tabindex="0">/g)?.length;
      assert.equal(html.match(/<p class="hint">Scroll sideways[^<]*<\/p><div class="scroll"/g)?.length, parts);
      assert.ok(parts! >= 5);
      for (const [note] of html.matchAll(/<p class="note">[^<]*<\/p>/g)) assert.ok(note.length < 140, note);
      assert.match(html, /<dt>ghosts<\/dt><dd>there although/);
      assert.match(html, /max-width: 1000px\) {\s*\.hint { display: block; }/);
    });

    it('ends no line of its headline between a figure and what it counts', () => {
      const [, head = ''] = /<h1>(.*)<\/h1>/.exec(renderHtml(report({ end: 'interrupted', faults: [] }))) ?? [];
      assert.match(head, /none/);
      assert.doesNotMatch(head, /(none|\d) /);
      assert.equal(head.replaceAll('\u00a0', ' '), headline(report({ end: 'interrupted', faults: [] })));
    });

    it('says what there was besides', () => {
      const settings = { ...report().settings, maxMessages: 500, subscriptions: 2000 };
      const html = renderHtml(report({ settings }));
      assert.match(html, /the channel keeps 500 messages · 2.000 idle subscriptions/);
    });

    it('says what is wrong, and what is right, and how to do it again', () => {
      const data = report({ incidents: ["process 'x': it ended by itself"] }, [
        subscription({ lost: { total: 2, prefix: 0, middle: 2, tail: 0 }, examples: { lost: ['p-7'] } }),
      ]);
      const html = renderHtml(data);
      for (const words of [
        'Not clean',
        'p-7',
        'it ended by itself',
        'npx resilient-stan verify --seed 42',
        '0 / 2 / 0',
      ]) {
        assert.ok(html.includes(words.replaceAll("'", '&#39;')), words);
      }
      assert.ok(!renderHtml(report()).includes('What is wrong'));
    });

    it('takes names and errors as text, whatever they contain', () => {
      const evil = `</script><script>alert(1)</script>"'&<b>\u0000`;
      const data = report({
        client: { name: evil },
        replay: evil,
        incidents: [evil],
        faults: [fault({ label: evil, name: evil, kind: evil })],
        marks: [mark({ kind: 'loss', text: evil })],
        leaders: [{ at: 0, node: evil }],
      });
      const html = renderHtml(data);
      assert.equal(html.match(/<script/g)?.length, 2); // the readings and the page's own
      assert.equal(html.match(/<\/script>/g)?.length, 2);
      assert.ok(!html.includes('<b>\u0000'));
      assertWellFormed(renderTimeline(data, { standalone: true }));
    });

    it('reads its figures from well-formed JSON', () => {
      const json = /<script type="application\/json" id="readings">(.*?)<\/script>/s.exec(renderHtml(report()))?.[1];
      const readings = JSON.parse(json ?? '') as { buckets: string[][]; names: string[]; faults: unknown[] };
      assert.equal(readings.buckets.length, 200);
      assert.ok(readings.buckets.every((bucket) => bucket.length === readings.names.length));
      assert.equal(readings.buckets[0]?.[0], '200/s');
      assert.equal(readings.faults.length, 2);
    });

    it('is the same for the same run', () => {
      assert.equal(renderHtml(report()), renderHtml(JSON.parse(JSON.stringify(report())) as ReportData));
    });
  });
});
