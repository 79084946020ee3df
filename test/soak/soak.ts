/**
 * `npm run soak`: several seeds, strict and pipelined, half an hour and hundreds of faults. Not a part of `npm test`.
 *
 *     npm run soak -- --minutes 4 --seeds 101,102,103,104,105,106,107,108
 *
 * Half of the runs are strict, half pipelined. In the last two no client is killed, so that each process lives long
 * enough to show whether it grows. In some the channel keeps few messages, in some a client has thousands of idle
 * subscriptions, in some groups have two members: all faults are in it. Exit code 0: every run was clean, and they were enough.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { columns } from '../../src/cli/verify/verdict-view.js';
import { FAULT_KINDS, isClean, renderHtml, verify, type ReportData } from '../../src/testing/index.js';
import { formatCount, formatDuration } from '../../src/testing/report/format.js';
import { findings, headline, recoveries, slowestDelivery, totalsOf } from '../../src/testing/report/summary.js';
import { percentile } from '../../src/testing/report/statistics.js';

/** What makes a soak of it. */
const LEAST = { minutes: 30, faults: 200 };

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '4' },
    seeds: { type: 'string', default: '101,102,103,104,105,106,107,108' },
    out: { type: 'string', default: 'reports/soak' },
    rate: { type: 'string', default: '200' },
    'max-messages': { type: 'string', default: '1000' },
    subscriptions: { type: 'string', default: '2000' },
    quick: { type: 'boolean', default: false },
  },
});
const minutes = Number(values.minutes);
const seeds = values.seeds.split(',').map(Number);
const maxMessages = Number(values['max-messages']);
const subscriptions = Number(values.subscriptions);
if (!(minutes > 0) || !(maxMessages >= 0) || !(subscriptions >= 0) || seeds.some((seed) => !Number.isInteger(seed))) {
  console.error('--seeds are whole numbers, separated by commas; all the others are numbers');
  process.exit(2);
}

interface Result {
  data: ReportData;
  dir: string;
}

const stop = new AbortController();
process.once('SIGINT', () => stop.abort('SIGINT'));

async function run(seed: number, index: number): Promise<Result> {
  const ordering = index % 2 === 0 ? 'strict' : 'pipelined';
  const killing = index < seeds.length - 2;
  const dir = join(values.out, `${seed}-${ordering}`);
  await mkdir(dir, { recursive: true });
  const data = await verify({
    seed,
    ordering,
    publishFor: minutes * 60_000,
    rate: Number(values.rate),
    ...(index % 3 === 1 && maxMessages > 0 && { maxMessages }),
    ...(index % 4 === 2 && { subscriptions }),
    ...(index % 4 === 3 && { groupMembers: 2 }),
    ...(killing ? {} : { faults: FAULT_KINDS.filter((kind) => kind !== 'client-kill') }),
    logDir: join(dir, 'logs'),
    signal: stop.signal,
    onNote: ({ kind, text }) => {
      if (kind === 'trouble') console.log(`    ${text}`);
    },
  });
  await writeFile(join(dir, 'report.json'), `${JSON.stringify(data)}\n`);
  await writeFile(join(dir, 'report.html'), renderHtml(data));
  return { data, dir };
}

const results: Result[] = [];
for (const [index, seed] of seeds.entries()) {
  if (stop.signal.aborted) break;
  const result = await run(seed, index);
  results.push(result);
  console.log(`${isClean(result.data) ? '✓' : '✗'} seed ${seed}: ${headline(result.data)}`);
  for (const finding of findings(result.data)) console.log(`    ${finding}`);
}

const all = results.map(({ data }) => data);
const total = (of: (data: ReportData) => number): number => all.reduce((sum, data) => sum + of(data), 0);
const faults = total((data) => data.faults.length);
const time = total((data) => data.duration);
const show = (ms: number | undefined): string => (ms === undefined ? '–' : formatDuration(ms));

console.log();
const rows = all.map((data) => {
  const t = totalsOf(data);
  const acks = data.faults.map((fault) => fault.toNextAck).filter((ms) => ms !== undefined);
  return [
    String(data.settings.seed),
    data.settings.ordering,
    formatDuration(data.duration),
    formatCount(data.faults.length),
    formatCount(t.acknowledged),
    ...[
      t.lost,
      t.gone,
      t.unattended,
      t.serverLost,
      t.outOfOrder,
      t.handledTwice,
      t.failed + t.unsettled,
      t.duplicated,
      t.losses,
    ].map(formatCount),
    show(percentile(acks, 0.5)),
    show(percentile(acks, 0.95)),
    show(t.publishStall),
    isClean(data) ? 'clean' : 'NOT CLEAN',
  ];
});
const heads = ['seed', 'ordering', 'time', 'faults', 'acknowledged', 'lost'];
const more = [
  'gone and told',
  'no process',
  "the server's own",
  'out of order',
  'twice',
  'failed',
  'stored twice',
  'losses',
  'next ack',
  '95 %',
  'longest stall',
  'verdict',
];
const paint = (_: unknown, text: string): string => text;
console.log(columns([...heads, ...more], rows, paint).join('\n'));

console.log();
const together = { faults: all.flatMap((data) => data.faults) } as ReportData;
const kinds = recoveries(together).map(({ kind, count, ack, unanswered }) => {
  const ofKind = together.faults.filter((fault) => fault.kind === kind);
  const deliveries = ofKind.map(slowestDelivery).filter((ms) => ms !== undefined);
  return [
    kind,
    formatCount(count),
    ...[ack?.p50, ack?.p95, ack?.max].map(show),
    ...[percentile(deliveries, 0.5), percentile(deliveries, 0.95), percentile(deliveries, 1)].map(show),
    formatCount(unanswered),
  ];
});
const measures = ['next ack', '95 %', 'longest', 'next delivery', '95 %', 'longest', 'unanswered'];
console.log(columns(['fault', 'times', ...measures], kinds, paint).join('\n'));

const unclean = results.filter(({ data }) => !isClean(data));
const enough = time >= LEAST.minutes * 60_000 && faults >= LEAST.faults;
console.log();
console.log(`${formatDuration(time)}, ${formatCount(faults)} faults, ${results.length} of ${seeds.length} runs done`);
for (const { data, dir } of unclean) console.log(`not clean: ${dir}/report.html, again: ${data.replay}`);
if (!enough && !values.quick) {
  console.log(
    `not enough for a soak: ${LEAST.minutes} minutes and ${LEAST.faults} faults are (--quick to let it pass)`,
  );
}
process.exitCode = unclean.length > 0 || stop.signal.aborted || !(enough || values.quick) ? 1 : 0;
