/**
 * Renders the picture of a run: faults above, and throughput, latency and connections below them on the same axis of time.
 * Pure.
 */
import type { ReportData, ReportFault } from './data.js';
import { inLanes } from './lanes.js';
import { lifelines } from './lifelines.js';
import { formatCount, formatDuration, formatTime, plural } from './format.js';
import { medians, peaks, sums } from './resample.js';
import { linear, logarithmic, niceTicks, powerTicks, timeTicks, type Scale } from './scale.js';
import { headline } from './summary.js';
import { element, escape, number, path, text, titled } from './svg.js';
import { familyOf, FAMILIES, THEME, TIMELINE_STYLE } from './theme.js';

/**
 * Options of {@link renderTimeline}.
 * @category Reports
 */
export interface TimelineOptions {
  /** Whether it is a file of its own, with colours, background and headline. Default false: a part of the report's page. */
  standalone?: boolean;
  /** Width of the panels, in pixels. Default 1080. */
  width?: number;
}

/** Space around a picture that is a file of its own, in pixels. */
const MARGIN = 18;
const GUTTER = 116;
const RIGHT = 14;
const LANE = 20;
const GAP = 30;
/** Average width of a character of the font, in pixels. */
const CHARACTER = 6.6;
const MAX_LANES = 6;
/** Smallest width of a bucket, in pixels. */
const MIN_BUCKET = 2;

/** The parts that all panels share. */
interface Frame {
  data: ReportData;
  x: Scale;
  left: number;
  right: number;
}

interface Panel {
  height: number;
  markup: string;
}

const WIDTH = 1080;

/** Where the axis of time begins and ends, in pixels. */
export function timelineRange(width = WIDTH): readonly [left: number, right: number] {
  return [GUTTER, width - RIGHT];
}

/**
 * Renders the picture of a run as SVG.
 * @category Reports
 */
export function renderTimeline(data: ReportData, options: TimelineOptions = {}): string {
  const { standalone = false, width = WIDTH } = options;
  const [left, right] = timelineRange(width);
  const end = Math.max(data.duration, 1000);
  const frame: Frame = { data, left, right, x: linear([0, end], [left, right]) };

  let y = standalone ? 76 : 10;
  let markup = '';
  const top = y;
  const panels = [faultPanel, leaderPanel, throughputPanel, latencyPanel, processPanel];
  for (const panel of panels) {
    const { height, markup: inner } = panel(frame);
    if (height === 0) continue;
    markup += element('g', { transform: `translate(0 ${number(y)})` }, inner);
    y += height + GAP;
  }
  const bottom = y - GAP + 6;
  const { height: legendHeight, markup: signs } = legend(frame);
  const height = bottom + 24 + legendHeight;
  const margin = standalone ? MARGIN : 0;
  const whole = { width: width + 2 * margin, height };
  const background = standalone ? element('rect', { x: -margin, ...whole, style: 'fill: var(--surface)' }) : '';
  const style = standalone ? element('style', {}, escapeStyle(THEME + TIMELINE_STYLE)) : '';
  return element(
    'svg',
    {
      xmlns: 'http://www.w3.org/2000/svg',
      viewBox: `${-margin} 0 ${whole.width} ${number(height)}`,
      // Without a size of its own the picture would be as large as the window.
      ...(standalone ? whole : {}),
      class: 'timeline',
      role: 'img',
    },
    element('title', {}, escape(headline(data))) +
      style +
      background +
      (standalone ? title(data, width) : '') +
      bands(frame, top, bottom) +
      axis(frame, top, bottom) +
      ending(frame, top, bottom) +
      markup +
      element('g', { transform: `translate(0 ${number(bottom + 34)})` }, signs),
  );
}

/** Escapes a style sheet for an XML file. Only characters that begin markup must not stay. */
function escapeStyle(css: string): string {
  return css.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}

function title(data: ReportData, width: number): string {
  const { settings, client } = data;
  const where = settings.cluster
    ? `${plural(settings.cluster.nodes, 'node')}, ${settings.cluster.mode}`
    : 'own servers';
  const about = [client.name, settings.ordering, where, `seed ${settings.seed}`, formatDuration(data.duration)];
  return (
    text(0, 27, headline(data), { class: 'headline' }) +
    text(0, 45, about.join('  ·  ')) +
    element('line', { x1: -MARGIN, x2: width + MARGIN, y1: 58, y2: 58, class: 'grid' })
  );
}

/** A faint band for each fault, through all panels. */
function bands({ data, x }: Frame, top: number, bottom: number): string {
  return data.faults
    .map((fault) =>
      element('rect', {
        x: x(fault.at),
        y: top,
        width: Math.max(x(fault.until ?? fault.at) - x(fault.at), 1),
        height: bottom - top,
        class: `band ${familyOf(fault.kind)}`,
      }),
    )
    .join('');
}

function axis({ data, x, left, right }: Frame, top: number, bottom: number): string {
  const ticks = timeTicks(data.duration, Math.floor((right - left) / 70));
  return (
    element('line', { x1: left, x2: right, y1: bottom, y2: bottom, class: 'grid' }) +
    ticks
      .map(
        (tick) =>
          element('line', { x1: x(tick), x2: x(tick), y1: top, y2: bottom, class: 'grid', opacity: 0.6 }) +
          text(x(tick), bottom + 14, formatTime(tick), { 'text-anchor': 'middle' }),
      )
      .join('')
  );
}

/** A line where publishing ended. */
function ending({ data, x, right }: Frame, top: number, bottom: number): string {
  const { publishedUntil } = data;
  // At the very end of the picture the line would only be in the way.
  if (publishedUntil === undefined || right - x(publishedUntil) < 60) return '';
  const at = x(publishedUntil);
  return (
    element('line', { x1: at, x2: at, y1: top, y2: bottom, class: 'ending' }) +
    text(at + 5, bottom - 5, 'publishing has stopped')
  );
}

/** The legend, in as many lines as it needs. */
function legend({ data, left, right }: Frame): Panel {
  const entries: [string, string][] = [
    [element('path', { d: triangle(0, 0, 'down'), class: 'loss' }), 'connection lost'],
    [element('path', { d: triangle(0, 0, 'up'), class: 'reconnect' }), 'reconnected'],
  ];
  if (data.marks.some((mark) => mark.kind === 'killed')) {
    entries.push([element('path', { d: cross(0, 0), class: 'killed' }), 'process killed']);
  }
  if (data.marks.some((mark) => TROUBLE.has(mark.kind))) {
    entries.push([element('path', { d: cross(0, 0), class: 'trouble' }), 'gap, reset, error or death']);
  }
  const ofClients = data.faults.filter((fault) => familyOf(fault.kind) === 'client');
  const client = ofClients.every((fault) => fault.kind === 'client-kill') ? 'client killed' : 'client disturbed';
  const words = { ended: 'server ended', frozen: 'server frozen', network: 'network broken', client };
  const families = new Set(data.faults.map((fault) => familyOf(fault.kind)));
  for (const family of FAMILIES.filter((candidate) => families.has(candidate))) {
    entries.push([
      element('rect', { x: -5, y: -5, width: 10, height: 10, rx: 2, class: `bar ${family}` }),
      words[family],
    ]);
  }
  const line = 20;
  let x = left + 6;
  let y = 0;
  let markup = '';
  for (const [symbol, words] of entries) {
    const width = 10 + words.length * CHARACTER;
    if (x + width > right) {
      x = left + 6;
      y += line;
    }
    markup += element('g', { transform: `translate(${number(x)} ${y - 4})` }, symbol) + text(x + 10, y, words);
    x += width + 24;
  }
  return { height: y + line, markup };
}

function faultPanel({ data, x, right }: Frame): Panel {
  if (data.faults.length === 0) return { height: 0, markup: '' };
  const named = placeFaults(data.faults, x, right, (fault) => fault.label);
  // They are too many for names, so they have numbers, which the table explains.
  const numbered = placeFaults(data.faults, x, right, (fault) => String(data.faults.indexOf(fault) + 1));
  const placed = lanesOf(named) <= MAX_LANES ? named : numbered;
  const lanes = lanesOf(placed);
  const markup = placed.map(({ item, lane }) => {
    const { fault, label, labelX, from, to } = item;
    const y = lane * LANE;
    const family = familyOf(fault.kind);
    return element(
      'g',
      {},
      element('title', {}, escape(describeFault(fault))) +
        element('rect', { x: from, y, width: Math.max(to - from, 3), height: 15, rx: 2, class: `bar ${family}` }) +
        element('rect', { x: from, y, width: 2.5, height: 15, rx: 1, class: family }) +
        text(labelX, y + 11, label, { class: 'strong' }),
    );
  });
  return {
    height: lanes * LANE - 4,
    markup: text(0, 11, 'Faults', { class: 'name' }) + markup.join(''),
  };
}

const lanesOf = (placed: readonly { lane: number }[]): number => Math.max(...placed.map(({ lane }) => lane + 1), 1);

function placeFaults(faults: readonly ReportFault[], x: Scale, right: number, labelOf: (fault: ReportFault) => string) {
  const items = faults.map((fault) => {
    const label = labelOf(fault);
    const width = label.length * CHARACTER;
    const [from, to] = [x(fault.at), x(fault.until ?? fault.at)];
    return {
      fault,
      label,
      from,
      to,
      labelX: Math.min(from + 6, right - width),
      end: Math.max(to, from + 6 + width) + 5,
    };
  });
  return inLanes(items, ({ from, labelX, end }) => [Math.min(from, labelX), end]);
}

/** What is known of a fault, in one line. */
export function describeFault(fault: ReportFault): string {
  const length = fault.until === undefined ? '' : ` for ${formatDuration(fault.until - fault.at)}`;
  const ack = fault.toNextAck === undefined ? '' : `; next acknowledgement after ${formatDuration(fault.toNextAck)}`;
  return `${formatTime(fault.at)}  ${fault.name}${length}${ack}`;
}

function leaderPanel({ data, x, right }: Frame): Panel {
  if (data.leaders.length === 0) return { height: 0, markup: '' };
  const names = [...new Set(data.leaders.map(({ node }) => node))].filter((node) => node !== undefined).sort();
  let markup = text(0, 11, names.length > 1 ? 'Leader' : 'Serving', { class: 'name' });
  data.leaders.forEach(({ at, node }, i) => {
    if (node === undefined) return;
    const [from, to] = [x(at), data.leaders[i + 1] ? x(data.leaders[i + 1]!.at) : right];
    // Each node has its own strength of the colour, so that a change is seen.
    const opacity = 0.16 + (0.36 * names.indexOf(node)) / Math.max(names.length - 1, 1);
    markup += element('rect', { x: from, y: 1, width: Math.max(to - from, 1), height: 13, class: 'leader', opacity });
    if (to - from > 12) markup += text((from + to) / 2, 11, node, { class: 'leader-name' });
  });
  return { height: 14, markup };
}

/** How many recorded buckets become one bucket of the picture. */
function merged({ data, left, right }: Frame): number {
  const most = Math.floor((right - left) / MIN_BUCKET);
  return Math.max(Math.ceil(data.duration / data.series.interval / most), 1);
}

function throughputPanel(frame: Frame): Panel {
  const { data, x, left, right } = frame;
  const { series, settings, verdict } = data;
  const height = 112;
  // A bucket is at least a quarter of a second, because shorter ones would show jumps that mean nothing.
  const by = Math.max(merged(frame), Math.ceil(250 / series.interval));
  const length = series.interval * by;
  const perSecond = (values: readonly number[], share = 1): number[] =>
    sums(values, by).map((sum) => (sum * 1000) / length / share);
  const acknowledged = perSecond(series.acknowledged);
  const delivered = perSecond(series.delivered, Math.max(verdict.subscriptions.length, 1));
  // After an outage many messages come at once. The scale leaves such peaks out, so that the rest is not flat.
  const most = Math.max(...acknowledged, ...delivered, 1);
  const ticks = niceTicks(Math.min(most, settings.rate * 2), 4);
  const limit = ticks.at(-1)!;
  const y = linear([0, limit], [height, 0]);
  const point = (value: number, i: number) => ({
    x: x(Math.min((i + 0.5) * length, data.duration)),
    y: y(Math.min(value, limit)),
  });
  const line = path(acknowledged.map(point));
  const area =
    acknowledged.length === 0
      ? ''
      : `${line}L${number(point(0, acknowledged.length - 1).x)} ${height}L${number(point(0, 0).x)} ${height}Z`;
  let markup = gridLines(ticks, y, left, right, formatCount);
  markup += element('path', { d: area, class: 'ack-area' });
  markup += element('path', { d: path(delivered.map(point)), class: 'delivered-line' });
  markup += element('path', { d: line, class: 'ack-line' });
  acknowledged.forEach((value, i) => {
    if (value <= limit) return;
    const at = point(value, i);
    markup += titled('path', { d: triangle(at.x, -3, 'up'), class: 'clipped' }, `peak of ${formatCount(value)}/s`);
  });
  sums(series.failed, by).forEach((count, i) => {
    if (count === 0) return;
    const at = point(0, i);
    const title = `${plural(count, 'publish', 'publishes')} failed`;
    markup += titled('rect', { x: at.x - 1.5, y: height - 5, width: 3, height: 5, class: 'failed' }, title);
  });
  const share = verdict.subscriptions.length > 1 ? 'delivered, to each subscription' : 'delivered';
  markup +=
    panelName('Messages/s') +
    keys(right, [
      ['ack-line', 'acknowledged'],
      ['delivered-line', share],
    ]);
  return { height, markup };
}

function latencyPanel(frame: Frame): Panel {
  const { data, x, left, right } = frame;
  const { series } = data;
  const height = 112;
  const by = Math.max(merged(frame), Math.ceil(250 / series.interval));
  const length = series.interval * by;
  const middle = medians(series.ackLatency.p50, by);
  const highest = peaks(series.ackLatency.max, by);
  const delivery = peaks(series.deliveryLatency.max, by);
  const values = [...middle, ...highest, ...delivery].filter((value) => value !== null);
  const ticks = powerTicks(Math.max(Math.min(...values, 10), 1), Math.max(...values, 100));
  const y = logarithmic([ticks[0]!, ticks.at(-1)!], [height, 0]);
  const point = (value: number | null, i: number) =>
    value === null ? undefined : { x: x(Math.min((i + 0.5) * length, data.duration)), y: y(value) };
  let markup = gridLines(ticks, y, left, right, (ms) => (ms < 1000 ? `${ms} ms` : `${formatCount(ms / 1000)} s`));
  // One bar for each bucket, from the median to the slowest.
  highest.forEach((value, i) => {
    const [top, bottom] = [point(value, i), point(middle[i] ?? null, i)];
    if (!top || !bottom) return;
    const width = Math.max(x(length) - x(0), 1);
    markup += element('rect', {
      x: top.x - width / 2,
      y: top.y,
      width,
      height: Math.max(bottom.y - top.y, 0),
      class: 'ack-area',
    });
  });
  markup += element('path', { d: path(delivery.map(point)), class: 'delivered-line' });
  markup += element('path', { d: path(middle.map(point)), class: 'ack-line' });
  markup += panelName('Latency');
  markup += keys(right, [
    ['ack-line', 'acknowledgement, median'],
    ['ack-area', 'to slowest'],
    ['delivered-line', 'delivery, slowest'],
  ]);
  return { height, markup };
}

const TROUBLE: ReadonlySet<string> = new Set(['died', 'gap', 'reset', 'error']);

function processPanel({ data, x, left, right }: Frame): Panel {
  const lane = 24;
  let markup = '';
  data.processes.forEach((process, i) => {
    const y = i * lane + 12;
    markup += text(0, y + 4, process.name, { class: 'strong' });
    markup += element('line', { x1: left, x2: right, y1: y, y2: y, class: 'grid' });
    const marks = data.marks.filter((mark) => mark.process === process.name);
    for (const { from, to } of lifelines(marks, data.duration)) {
      markup += element('rect', {
        x: x(from),
        y: y - 3,
        width: Math.max(x(to) - x(from), 0.5),
        height: 6,
        class: 'up',
      });
    }
    for (const mark of marks) {
      const title = `${formatTime(mark.at)}  ${process.name}: ${mark.kind}${mark.text === undefined ? '' : `, ${mark.text}`}`;
      const at = x(mark.at);
      if (mark.kind === 'loss') markup += titled('path', { d: triangle(at, y - 7, 'down'), class: 'loss' }, title);
      else if (mark.kind === 'reconnect')
        markup += titled('path', { d: triangle(at, y + 7, 'up'), class: 'reconnect' }, title);
      else if (mark.kind === 'killed') markup += titled('path', { d: cross(at, y), class: 'killed' }, title);
      else if (TROUBLE.has(mark.kind)) markup += titled('path', { d: cross(at, y - 7), class: 'trouble' }, title);
    }
  });
  return { height: data.processes.length * lane, markup };
}

function gridLines(
  ticks: readonly number[],
  y: Scale,
  left: number,
  right: number,
  format: (value: number) => string,
): string {
  return ticks
    .map(
      (tick) =>
        element('line', { x1: left, x2: right, y1: y(tick), y2: y(tick), class: 'grid' }) +
        text(left - 8, y(tick) + 3.5, format(tick), { 'text-anchor': 'end' }),
    )
    .join('');
}

function panelName(name: string): string {
  return text(0, 4, name, { class: 'name' });
}

/** The names of the lines of a panel, above its right end. */
function keys(right: number, entries: readonly (readonly [style: string, label: string])[]): string {
  const widthOf = (label: string): number => label.length * CHARACTER + 34;
  let x = right + 16 - entries.reduce((sum, [, label]) => sum + widthOf(label), 0);
  let markup = '';
  for (const [style, label] of entries) {
    markup +=
      style === 'ack-area'
        ? element('rect', { x, y: -15, width: 14, height: 8, class: 'ack-area key' })
        : element('line', { x1: x, x2: x + 14, y1: -11, y2: -11, class: style });
    markup += text(x + 19, -7, label);
    x += widthOf(label);
  }
  return markup;
}

function triangle(x: number, y: number, to: 'up' | 'down'): string {
  const tip = to === 'up' ? -4 : 4;
  return `M${number(x)} ${number(y + tip)}L${number(x - 4)} ${number(y - tip * 0.7)}L${number(x + 4)} ${number(y - tip * 0.7)}Z`;
}

function cross(x: number, y: number): string {
  const [l, r, t, b] = [x - 3.5, x + 3.5, y - 3.5, y + 3.5].map(number);
  return `M${l} ${t}L${r} ${b}M${r} ${t}L${l} ${b}`;
}
