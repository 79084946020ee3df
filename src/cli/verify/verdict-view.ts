/** Renders the verdict for a terminal. Pure. */
import type { ReportData } from '../../testing/index.js';
import { formatCount, formatDuration, plural } from '../../testing/report/format.js';
import {
  findings,
  furtherFigures,
  headline,
  isSingle,
  judgement,
  recoveries,
  totalsOf,
} from '../../testing/report/summary.js';
import { pad, padLeft, type Paint } from '../style.js';

/** How many sentences are shown. The report has all. */
const MOST_FINDINGS = 12;

export function renderVerdict(data: ReportData, paint: Paint): string[] {
  const { word, good } = judgement(data);
  const { publishStall, losses, reconnects } = totalsOf(data);
  const wrong = findings(data);
  const more = wrong.length - MOST_FINDINGS;
  return [
    // The headline itself says when a run did not come to its end.
    `${paint(good ? 'good' : 'bad', `${good ? '✓' : '✗'}${data.end === 'complete' ? ` ${word} ` : ''}`)} ${paint('strong', headline(data))}`,
    ...wrong.slice(0, MOST_FINDINGS).map((finding) => `  ${paint('bad', '✗')} ${finding}`),
    ...(more > 0 ? [`  … and ${more} more, in the report`] : []),
    '',
    ...subscriptionTable(data, paint),
    '',
    ...recoveryTable(data, paint),
    `  ${plural(losses, 'connection')} lost, ${formatCount(reconnects)} reconnected; ` +
      `longest time without an acknowledgement: ${formatDuration(publishStall)}`,
  ];
}

function subscriptionTable(data: ReportData, paint: Paint): string[] {
  const strict = data.verdict.ordering === 'strict';
  const further = furtherFigures(data.verdict.subscriptions);
  const rows = data.verdict.subscriptions.map((s) => {
    const must = (count: number): string => (count === 0 ? '0' : paint('bad', formatCount(count)));
    const promised = (count: number, promise: boolean): string =>
      promise ? must(count) : paint('quiet', count === 0 ? '–' : formatCount(count));
    return [
      s.name,
      formatCount(s.received),
      must(s.lost.total),
      promised(s.handledTwice, isSingle(s)),
      promised(s.reordered + s.outOfSequence, isSingle(s) && (strict || s.outOfSequence > 0)),
      formatCount(s.duplicated),
      ...further.map((figure) => (figure.must ? must(figure.of(s)) : formatCount(figure.of(s)))),
      formatDuration(s.longestStall.ms),
    ];
  });
  const heads = ['subscription', 'received', 'lost', 'handled twice', 'out of order', 'stored twice'];
  return columns([...heads, ...further.map(({ head }) => head), 'longest stall'], rows, paint);
}

function recoveryTable(data: ReportData, paint: Paint): string[] {
  if (data.faults.length === 0) return [];
  const show = (ms: number | undefined): string => (ms === undefined ? '–' : formatDuration(ms));
  const rows = recoveries(data).map(({ kind, count, ack, delivery }) => [
    kind,
    formatCount(count),
    show(ack?.p50),
    show(ack?.max),
    show(delivery?.p50),
    show(delivery?.max),
  ]);
  return [...columns(['fault', 'times', 'next ack', 'at most', 'next delivery', 'at most'], rows, paint), ''];
}

/** Lines of columns. The first column is aligned left, the others right. */
export function columns(heads: readonly string[], rows: readonly (readonly string[])[], paint: Paint): string[] {
  const plain: Paint = (_, text) => text;
  const widths = heads.map((head, i) => Math.max(...[heads, ...rows].map((row) => [...strip(row[i] ?? head)].length)));
  const line = (row: readonly string[], colour: Paint): string =>
    `  ${row.map((cell, i) => colour('quiet', i === 0 ? pad(cell, widths[i]!) : padLeft(cell, widths[i]!))).join('  ')}`;
  return [line(heads, paint), ...rows.map((row) => line(row, plain))];
}

const strip = (text: string): string => text.replace(/\u001b\[\d+m/g, '');
