/**
 * Renders the picture of a run: faults above, and throughput, latency and connections below them on the same axis of time.
 * Pure.
 */
import type { MarkKind, ReportData, ReportFault } from './data.js';
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
/** Space for names and numbers at the left, and for the legends at the right. */
const GUTTER = 116;
const LEGEND = 180;
const LANE = 20;
/** Height of a line of a legend. */
const LINE = 17;
const GAP = 30;
/** Average width of a character of the font, in pixels. */
const CHARACTER = 6.6;
/** Space between a label and the ends of its bar. */
const PADDING = 5;
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
  return [GUTTER, width - LEGEND];
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
  const height = bottom + 24;
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
      markup,
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
  if (publishedUntil === undefined || right - x(publishedUntil) < 20) return '';
  const at = x(publishedUntil);
  const words = 'publishing has stopped';
  const fits = at + 5 + words.length * CHARACTER <= right;
  return (
    element('line', { x1: at, x2: at, y1: top, y2: bottom, class: 'ending' }) +
    text(at + (fits ? 5 : -5), bottom - 5, words, { 'text-anchor': fits ? 'start' : 'end' })
  );
}

/** A sign and what it means. The sign is drawn around a point at its left. */
type Entry = readonly [sign: string, words: string];

/** The legend of a panel, beside it: a line for each entry. */
function legend({ right }: Frame, entries: readonly Entry[]): Panel {
  const markup = entries.map(([sign, words], i) =>
    element('g', { transform: `translate(${number(right + 22)} ${i * LINE + 7})` }, sign + text(13, 4, words)),
  );
  return { height: entries.length * LINE - 3, markup: element('g', { class: 'legend' }, markup.join('')) };
}

const stroke = (style: string): string => element('line', { x1: -8, x2: 8, y1: 0, y2: 0, class: style });
const box = (style: string): string => element('rect', { x: -8, y: -4, width: 16, height: 8, class: style });
const shape = (d: string, style: string): string => element('path', { d, class: style });

function familyEntries({ data }: Frame): Entry[] {
  const ofClients = data.faults.filter((fault) => familyOf(fault.kind) === 'client');
  const client = ofClients.every((fault) => fault.kind === 'client-kill') ? 'client killed' : 'client disturbed';
  const words = { ended: 'server ended', frozen: 'server frozen', network: 'network broken', client };
  const families = new Set(data.faults.map((fault) => familyOf(fault.kind)));
  return FAMILIES.filter((family) => families.has(family)).map((family) => [box(`bar ${family}`), words[family]]);
}

function faultPanel(frame: Frame): Panel {
  const { data } = frame;
  if (data.faults.length === 0) return { height: 0, markup: '' };
  const named = placeFaults(frame, (fault) => fault.label);
  // They are too many for names, so they have numbers, which the table explains.
  const numbered = placeFaults(frame, (fault) => String(data.faults.indexOf(fault) + 1));
  const placed = lanesOf(named) <= MAX_LANES ? named : numbered;
  const markup = placed.map(({ item, lane }) => {
    const { fault, label, from, to, begin, end } = item;
    const y = lane * LANE;
    const family = familyOf(fault.kind);
    return element(
      'g',
      { class: 'fault' },
      element('title', {}, escape(describeFault(fault))) +
        // The field is as long as the label, and the bar in it as long as the fault.
        element('rect', { x: from, y, width: to - from, height: 16, rx: 2, class: 'field' }) +
        element('rect', { x: begin, y, width: Math.max(end - begin, 2.5), height: 16, rx: 2, class: `bar ${family}` }) +
        element('rect', { x: begin, y: y + 14, width: Math.max(end - begin, 2.5), height: 2, class: family }) +
        text(from + PADDING, y + 11, label, { class: 'strong' }),
    );
  });
  const signs = legend(frame, familyEntries(frame));
  return {
    height: Math.max(lanesOf(placed) * LANE - 4, signs.height),
    markup: text(0, 11, 'Faults', { class: 'name' }) + markup.join('') + signs.markup,
  };
}

const lanesOf = (placed: readonly { lane: number }[]): number => Math.max(...placed.map(({ lane }) => lane + 1), 1);

function placeFaults({ data, x, right }: Frame, labelOf: (fault: ReportFault) => string) {
  const items = data.faults.map((fault) => {
    const label = labelOf(fault);
    const width = label.length * CHARACTER + 2 * PADDING;
    const [begin, end] = [x(fault.at), x(fault.until ?? fault.at)];
    const from = Math.min(begin, right - width);
    return { fault, label, begin, end, from, to: Math.max(end, from + width) };
  });
  return inLanes(items, ({ from, to }) => [from, to + 4]);
}

/** What is known of a fault, in one line. */
export function describeFault(fault: ReportFault): string {
  const length = fault.until === undefined ? '' : ` for ${formatDuration(fault.until - fault.at)}`;
  const ack = fault.toNextAck === undefined ? '' : `; next acknowledgement after ${formatDuration(fault.toNextAck)}`;
  return `${formatTime(fault.at)}  ${fault.name}${length}${ack}`;
}

function leaderPanel(frame: Frame): Panel {
  const { data, x, right } = frame;
  if (data.leaders.length === 0) return { height: 0, markup: '' };
  const names = [...new Set(data.leaders.map(({ node }) => node))].filter((node) => node !== undefined).sort();
  let markup = text(0, 11, names.length > 1 ? 'Leader' : 'Serving', { class: 'name' });
  data.leaders.forEach(({ at, node }, i) => {
    if (node === undefined) return;
    const [from, to] = [x(at), data.leaders[i + 1] ? x(data.leaders[i + 1]!.at) : right];
    // Each node has its own strength of the colour, so that a change is seen.
    const opacity = 0.16 + (0.36 * names.indexOf(node)) / Math.max(names.length - 1, 1);
    markup += element('rect', { x: from, y: 1, width: Math.max(to - from, 1), height: 13, class: 'leader', opacity });
    if (to - from > node.length * CHARACTER + 4) markup += text((from + to) / 2, 11, node, { class: 'leader-name' });
  });
  const nobody = data.leaders.some(({ node }) => node === undefined);
  const signs = legend(frame, nobody ? [[box('empty'), names.length > 1 ? 'nobody leads' : 'nobody serves']] : []);
  return { height: 14, markup: markup + signs.markup };
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
  const signs: Entry[] = [
    [stroke('ack-line'), 'acknowledged'],
    [stroke('delivered-line'), verdict.subscriptions.length > 1 ? 'delivered, to each' : 'delivered'],
  ];
  if (acknowledged.some((value) => value > limit)) {
    signs.push([shape(triangle(0, 0, 'up'), 'clipped'), 'peak beyond the scale']);
  }
  if (series.failed.some((count) => count > 0)) {
    signs.push([element('rect', { x: -1.5, y: -4, width: 3, height: 8, class: 'failed' }), 'publishes failed']);
  }
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
  return { height, markup: markup + panelName('Messages/s') + legend(frame, signs).markup };
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
  const signs = legend(frame, [
    [stroke('ack-line'), 'acknowledged, median'],
    [box('ack-area key'), 'up to the slowest'],
    [stroke('delivered-line'), 'delivered, slowest'],
  ]);
  return { height, markup: markup + panelName('Latency') + signs.markup };
}

const TROUBLE: ReadonlySet<MarkKind> = new Set<MarkKind>(['died', 'gap', 'reset', 'error']);

function processPanel(frame: Frame): Panel {
  const { data, x, left, right } = frame;
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
  const seen = new Set(data.marks.map(({ kind }) => kind));
  const trouble = [...TROUBLE].some((kind) => seen.has(kind));
  const entries: (Entry | false)[] = [
    [element('rect', { x: -8, y: -3, width: 16, height: 6, class: 'up' }), 'connected'],
    seen.has('loss') && [shape(triangle(0, 0, 'down'), 'loss'), 'connection lost'],
    seen.has('reconnect') && [shape(triangle(0, 0, 'up'), 'reconnect'), 'reconnected'],
    seen.has('killed') && [shape(cross(0, 0), 'killed'), 'process killed'],
    trouble && [shape(cross(0, 0), 'trouble'), 'gap, reset, error or death'],
  ];
  const shown = data.processes.length === 0 ? [] : entries.filter((entry) => entry !== false);
  const signs = legend(frame, shown);
  const height = data.processes.length * lane;
  return { height: Math.max(height, signs.height), markup: markup + signs.markup };
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

function triangle(x: number, y: number, to: 'up' | 'down'): string {
  const tip = to === 'up' ? -4 : 4;
  return `M${number(x)} ${number(y + tip)}L${number(x - 4)} ${number(y - tip * 0.7)}L${number(x + 4)} ${number(y - tip * 0.7)}Z`;
}

function cross(x: number, y: number): string {
  const [l, r, t, b] = [x - 3.5, x + 3.5, y - 3.5, y + 3.5].map(number);
  return `M${l} ${t}L${r} ${b}M${r} ${t}L${l} ${b}`;
}
