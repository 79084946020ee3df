/** Renders the verdict for a terminal. Pure. */
import type { ReportData } from '../../testing/index.js';
import { formatCount, formatDuration, plural } from '../../testing/report/format.js';
import {
  findings,
  furtherFigures,
  headline,
  isSingle,
  judgement,
  notices,
  recoveries,
  totalsOf,
} from '../../testing/report/summary.js';
import { pad, padLeft, widthOf, type Paint } from '../style.js';
import { flow, wrap } from '../text.js';

/** How many sentences are shown. The report has all. */
const MOST_FINDINGS = 12;

/** @param width of the terminal, in columns. Infinity: no line is broken */
export function renderVerdict(data: ReportData, paint: Paint, width = Infinity): string[] {
  const { word, good } = judgement(data);
  const { publishStall, losses, reconnects } = totalsOf(data);
  const wrong = findings(data);
  const more = wrong.length - MOST_FINDINGS;
  const lines = (text: string, indent: number): string[] => wrap(text, width, indent);
  return [
    // The headline itself says when a run did not come to its end.
    ...lines(
      `${paint(good ? 'good' : 'bad', `${good ? '✓' : '✗'}${data.end === 'complete' ? ` ${word} ` : ''}`)} ${paint('strong', headline(data))}`,
      2,
    ),
    ...wrong.slice(0, MOST_FINDINGS).flatMap((finding) => lines(`  ${paint('bad', '✗')} ${finding}`, 4)),
    ...notices(data).flatMap((notice) => lines(`  ${paint('warn', '!')} ${notice}`, 4)),
    ...(more > 0 ? [`  … and ${more} more, in the report`] : []),
    '',
    ...subscriptionTable(data, paint, width),
    '',
    ...recoveryTable(data, paint, width),
    ...lines(
      `  ${plural(losses, 'connection')} lost, ${formatCount(reconnects)} reconnected; ` +
        `longest time without an acknowledgement: ${formatDuration(publishStall)}`,
      2,
    ),
  ];
}

/** A command for a shell, in lines that a shell takes for one. */
export function commandLines(before: string, command: string, width: number): string[] {
  if (widthOf(before + command) <= width) return [before + command];
  const parts = command.split(/ (?=--)/);
  const indent = Math.min(before.length, Math.max(width - 30, 2));
  const lines = flow(parts, width - 2 - indent, 0, ' ');
  const first = indent < before.length ? [before.trimEnd()] : [];
  return [
    ...first,
    ...lines.map(
      (line, i) =>
        (i === 0 && first.length === 0 ? before : ' '.repeat(indent)) + line + (i < lines.length - 1 ? ' \\' : ''),
    ),
  ];
}

function subscriptionTable(data: ReportData, paint: Paint, width: number): string[] {
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
  return columns([...heads, ...further.map(({ head }) => head), 'longest stall'], rows, paint, width);
}

function recoveryTable(data: ReportData, paint: Paint, width: number): string[] {
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
  return [...columns(['fault', 'times', 'next ack', 'at most', 'next delivery', 'at most'], rows, paint, width), ''];
}

/** The space between two columns. */
const BETWEEN = 2;

/**
 * Lines of columns. The first column is aligned left, the others right. Where they are too wide, the heads are broken into
 * lines, and then the columns are shown in blocks, each with the first column.
 * @param width of the terminal
 */
export function columns(
  heads: readonly string[],
  rows: readonly (readonly string[])[],
  paint: Paint,
  width = Infinity,
): string[] {
  const columnOf = (lines: readonly (readonly string[])[]): Column[] =>
    heads.map((_, i) => {
      const cells = rows.map((row) => row[i] ?? '');
      return { head: lines[i]!, cells, width: Math.max(...[...lines[i]!, ...cells].map(widthOf)) };
    });
  const whole = columnOf(heads.map((head) => [head]));
  if (totalWidth(whole) <= width) return block(whole, paint);
  const [first, ...rest] = columnOf(heads.map((head) => head.split(' '))) as [Column, ...Column[]];
  const blocks: Column[][] = [];
  for (const column of rest) {
    const last = blocks.at(-1);
    if (last && totalWidth([...last, column]) <= width) last.push(column);
    else blocks.push([first, column]);
  }
  return blocks.flatMap((shown, i) => [...(i === 0 ? [] : ['']), ...block(shown, paint)]);
}

interface Column {
  head: readonly string[];
  cells: readonly string[];
  width: number;
}

function totalWidth(shown: readonly Column[]): number {
  return shown.reduce((sum, column) => sum + BETWEEN + column.width, 0);
}

function block(shown: readonly Column[], paint: Paint): string[] {
  const line = (cells: readonly string[], colour: (text: string) => string): string =>
    cells.map((cell, i) => ' '.repeat(BETWEEN) + colour((i === 0 ? pad : padLeft)(cell, shown[i]!.width))).join('');
  const height = Math.max(...shown.map(({ head }) => head.length));
  const headLines = Array.from({ length: height }, (_, i) =>
    // They stand on the rows.
    line(
      shown.map(({ head }) => head[head.length - height + i] ?? ''),
      (text) => paint('quiet', text),
    ),
  );
  const count = shown[0]?.cells.length ?? 0;
  return [
    ...headLines,
    ...Array.from({ length: count }, (_, i) =>
      line(
        shown.map(({ cells }) => cells[i]!),
        (text) => text,
      ),
    ),
  ];
}
