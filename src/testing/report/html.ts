/** Renders `report.html`: one file, without network and libraries, in light and dark. Pure. */
import type { ReportData, ReportProcess } from './data.js';
import { formatBytes, formatCount, formatDuration, formatTime, plural } from './format.js';
import { embeddable, INTERACTION, readings } from './interaction.js';
import { linear } from './scale.js';
import {
  furtherFigures,
  findings,
  headline,
  judgement,
  notices,
  recoveries,
  slowestDelivery,
  totalsOf,
  type Spread,
} from './summary.js';
import { element, escape, path } from './svg.js';
import { THEME, TIMELINE_STYLE } from './theme.js';
import { renderTimeline } from './timeline.js';

/**
 * Renders a report as one HTML file, which needs neither network nor libraries.
 *
 * @example
 * ```ts
 * await writeFile('report.html', renderHtml(await verify({ publishFor: 30_000 })));
 * ```
 * @category Reports
 */
export function renderHtml(data: ReportData): string {
  const title = `${judgement(data).word}: ${data.client.name}, seed ${data.settings.seed}`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:">
<title>${escape(title)}</title>
<style>${THEME}${TIMELINE_STYLE}${PAGE_STYLE}</style>
</head>
<body>
<main>
${header(data)}
${tiles(data)}
${findingsSection(data)}
${notices(data)
  .map((notice) => `<p class="notice">${escape(notice)}.</p>`)
  .join('')}
<section class="picture">${scrolling(renderTimeline(data))}<div class="readout" hidden></div></section>
${publisherTable(data)}
${subscriptionTable(data)}
${recoveryTable(data)}
${faultTable(data)}
${resources(data)}
${footer(data)}
</main>
<script type="application/json" id="readings">${embeddable(readings(data))}</script>
<script>${INTERACTION}</script>
</body>
</html>
`;
}

function header(data: ReportData): string {
  const { word, good } = judgement(data);
  const { settings, client, environment } = data;
  const version = client.version === undefined ? '' : ` ${client.version}`;
  const where = settings.cluster
    ? `${plural(settings.cluster.nodes, 'node')}, ${settings.cluster.mode}`
    : (settings.servers ?? []).join(', ');
  const server = environment.server === undefined ? '' : ` of nats-streaming-server ${environment.server}`;
  return `<header>
<p class="verdict ${good ? 'good' : 'bad'}">${good ? '✓' : '✗'} ${word}</p>
<h1>${withoutLoneFigures(escape(headline(data)))}</h1>
<p class="about"><b>${escape(client.name + version)}</b> · ${settings.ordering} · ${escape(where + server)} · seed ${settings.seed} · <span class="when">${escape(data.startedAt.replace('T', ' ').replace(/\.\d+Z$/, ' UTC'))}</span></p>
</header>`;
}

/** Binds each figure of a text to what it counts, so that no line ends between them. */
function withoutLoneFigures(text: string): string {
  return text.replace(/\b(none|[\d.\u202f]+) /g, '$1\u00a0');
}

function tiles(data: ReportData): string {
  const totals = totalsOf(data);
  const strict = data.settings.ordering === 'strict';
  const tile = (value: string, label: string, state: 'good' | 'bad' | '' = '', note = ''): string =>
    `<div class="tile ${state}"><b>${value}</b><span>${label}</span>${note === '' ? '' : `<small>${note}</small>`}</div>`;
  const must = (count: number, label: string): string => tile(formatCount(count), label, count === 0 ? 'good' : 'bad');
  return `<section class="tiles">
${must(totals.lost, 'lost')}
${must(totals.outOfOrder, strict ? 'out of order' : 'out of sequence')}
${must(totals.handledTwice, 'handled twice')}
${must(totals.failed + (data.end === 'interrupted' ? 0 : totals.unsettled), 'publishes failed')}
${tile(formatCount(totals.acknowledged), 'acknowledged')}
${strict ? '' : tile(formatCount(totals.overtaken), 'overtaken', '', 'allowed when pipelined')}
${tile(formatCount(data.faults.length), 'faults')}
${tile(formatCount(totals.losses), 'connections lost', '', `${formatCount(totals.reconnects)} reconnected`)}
${tile(formatDuration(totals.publishStall), 'longest publish stall')}
</section>`;
}

function findingsSection(data: ReportData): string {
  const list = findings(data);
  if (list.length === 0) return '';
  return `<section class="findings"><h2>What is wrong</h2><ul>${list.map((finding) => `<li>${escape(finding)}</li>`).join('')}</ul></section>`;
}

/** Columns of words. */
const LEFT: ReadonlySet<string> = new Set(['kind', 'fault']);

type Cell = string | { value: string; state: 'good' | 'bad' | 'quiet' };

/** What is wider than a narrow screen, with a hint that there is more of it. The script hides the hint where there is not. */
function scrolling(content: string): string {
  return `<p class="hint">Scroll sideways to see all of it →</p><div class="scroll" tabindex="0">${content}</div>`;
}

/** A short note below a table, and the meaning of its columns for who asks. */
interface Note {
  short: string;
  columns?: readonly (readonly [column: string, meaning: string])[];
}

function noteBelow({ short, columns = [] }: Note): string {
  const meanings = columns.map(([column, meaning]) => `<dt>${escape(column)}</dt><dd>${escape(meaning)}</dd>`);
  const more = meanings.length === 0 ? '' : `<details><summary>What the columns mean</summary><dl>${meanings.join('')}</dl></details>`; // prettier-ignore
  return `<p class="note">${escape(short)}</p>${more}`;
}

function table(title: string, heads: readonly string[], rows: readonly (readonly Cell[])[], note?: Note): string {
  const cell = (content: Cell, i: number): string =>
    typeof content === 'string'
      ? `<td${LEFT.has(heads[i]!) ? ' class="left"' : ''}>${escape(content)}</td>`
      : `<td class="${content.state}">${escape(content.value)}</td>`;
  const body = rows.map((row) => `<tr>${row.map(cell).join('')}</tr>`).join('\n');
  const content = `<table>
<thead><tr>${heads.map((head) => `<th${LEFT.has(head) ? ' class="left"' : ''}>${escape(head)}</th>`).join('')}</tr></thead>
<tbody>${body}</tbody></table>`;
  return `<section><h2>${escape(title)}</h2>${scrolling(content)}${note === undefined ? '' : noteBelow(note)}</section>`;
}

/** A number that has to be 0. */
const must = (count: number): Cell => ({ value: formatCount(count), state: count === 0 ? 'good' : 'bad' });
/** A number that may be anything. 0 is shown faintly. */
const may = (count: number): Cell => (count === 0 ? { value: '0', state: 'quiet' } : formatCount(count));
/** A cell for what is not promised here. */
const notPromised = (count: number): Cell => ({ value: count === 0 ? '–' : formatCount(count), state: 'quiet' });

function publisherTable({ verdict, end }: ReportData): string {
  return table(
    'Publishers',
    ['', 'attempted', 'acknowledged', 'failed', 'never settled', 'settled twice', 'abandoned', 'longest stall'],
    verdict.publishers.map((p) => [
      p.name,
      formatCount(p.attempted),
      formatCount(p.acknowledged),
      must(p.notSent + p.rejected + p.unknown),
      end === 'interrupted' ? may(p.unsettled) : must(p.unsettled),
      must(p.settledTwice),
      may(p.abandoned),
      stall(p.longestStall),
    ]),
    {
      short: 'Green or red: has to be 0.',
      columns: [
        ['abandoned', 'their process was killed before they settled'],
        ['longest stall', 'time without an acknowledgement while one was owed'],
      ],
    },
  );
}

function subscriptionTable({ verdict }: ReportData): string {
  const strict = verdict.ordering === 'strict';
  const further = furtherFigures(verdict.subscriptions);
  return table(
    'Subscriptions',
    [
      '',
      'kind',
      'received',
      'lost',
      'start / middle / end',
      'handled twice',
      'out of sequence',
      'out of order',
      'ghosts',
      'stored twice',
      'repeated',
      'recovered',
      ...further.map(({ head }) => head),
      'longest stall',
    ],
    verdict.subscriptions.map((s) => {
      const single = s.kind === 'plain' || s.kind === 'durable';
      return [
        s.name,
        s.kind,
        formatCount(s.received),
        must(s.lost.total),
        { value: `${s.lost.prefix} / ${s.lost.middle} / ${s.lost.tail}`, state: s.lost.total === 0 ? 'quiet' : 'bad' },
        single ? must(s.handledTwice) : notPromised(s.handledTwice),
        single ? must(s.outOfSequence) : notPromised(s.outOfSequence),
        single && strict ? must(s.reordered) : notPromised(s.reordered),
        must(s.ghosts + s.aliens),
        may(s.duplicated),
        may(s.repeated),
        may(s.recovered),
        ...further.map((figure) => (figure.must ? must(figure.of(s)) : may(figure.of(s)))),
        stall(s.longestStall),
      ];
    }),
    {
      short: 'Green or red: has to be 0. Grey: not promised to this kind, or in this ordering.',
      columns: [
        ['lost', 'acknowledged and never handed over'],
        ['start / middle / end', 'the lost ones before the first that came, between two, after the last'],
        ['ghosts', 'there although reported as not stored, or published by nobody'],
        ['stored twice', 'sent again because its acknowledgement got lost: the server knows no duplicates'],
        ['repeated', 'handled again after its process was killed, or by another member of the group'],
        ['recovered', 'there although its publisher did not live to hear it'],
        ['longest stall', 'time without a delivery while one was owed'],
        ...further.map(({ head, meaning }) => [head, meaning] as const),
      ],
    },
  );
}

function stall({ ms, at }: { ms: number; at: number }): string {
  return ms === 0 ? 'none' : `${formatDuration(ms)} (at ${formatTime(at)})`;
}

function recoveryTable(data: ReportData): string {
  if (data.faults.length === 0) return '';
  const cells = (spread: Spread | undefined): string[] =>
    spread ? [spread.p50, spread.p95, spread.max].map(formatDuration) : ['–', '–', '–'];
  return table(
    'Recovery by kind of fault',
    ['', 'faults', 'to next ack: median', '95 %', 'longest', 'to next delivery: median', '95 %', 'longest'],
    recoveries(data).map((recovery) => [
      recovery.kind,
      formatCount(recovery.count),
      ...cells(recovery.ack),
      ...cells(recovery.delivery),
    ]),
    {
      short: 'From the last blow of the fault: when all that it breaks is broken. The time of an election is in it.',
      columns: [
        ['to next ack', 'until a message that was published after it was acknowledged'],
        ['to next delivery', 'until every subscription has had a message that was published after it'],
      ],
    },
  );
}

function faultTable(data: ReportData): string {
  if (data.faults.length === 0) return '';
  return table(
    'Faults',
    ['#', 'at', 'fault', 'lasted', 'next ack', 'next delivery'],
    data.faults.map((fault, i) => [
      String(i + 1),
      formatTime(fault.at),
      fault.name,
      fault.until === undefined ? 'a moment' : formatDuration(fault.until - fault.at),
      fault.toNextAck === undefined ? { value: 'none', state: 'bad' } : formatDuration(fault.toNextAck),
      formatMaybe(slowestDelivery(fault)),
    ]),
  );
}

function formatMaybe(ms: number | undefined): Cell {
  return ms === undefined ? { value: 'none', state: 'bad' } : formatDuration(ms);
}

function resources(data: ReportData): string {
  const processes = data.processes.filter((process) => process.samples.length > 1);
  if (processes.length === 0) return '';
  const rows = processes.map((process) => {
    const cell = (of: 'heap' | 'handles' | 'listeners', format: (value: number) => string): string => {
      const last = process.samples.at(-1)![of];
      return `<td>${sparkline(process, of, data.duration)}<span>${format(last)}</span></td>`;
    };
    return `<tr><td>${escape(process.name)}</td><td>${process.lives}</td>${cell('heap', formatBytes)}${cell('handles', formatCount)}${cell('listeners', formatCount)}</tr>`;
  });
  const content = `<table class="resources">
<thead><tr><th></th><th>lives</th><th>heap after collection</th><th>handles</th><th>listeners</th></tr></thead>
<tbody>${rows.join('\n')}</tbody></table>`;
  return `<section><h2>Resources</h2>${scrolling(content)}</section>`;
}

/** The axis begins at 0, so that a flat line looks flat. */
function sparkline({ samples }: ReportProcess, of: 'heap' | 'handles' | 'listeners', duration: number): string {
  const [width, height] = [150, 26];
  const x = linear([0, duration], [1, width - 1]);
  const y = linear([0, Math.max(...samples.map((sample) => sample[of]), 1)], [height - 1, 2]);
  const points = samples.flatMap((sample, i) => {
    const point = { x: x(sample.at), y: y(sample[of]) };
    return i > 0 && samples[i - 1]!.life !== sample.life ? [undefined, point] : [point];
  });
  return element(
    'svg',
    { width, height, viewBox: `0 0 ${width} ${height}`, class: 'spark', 'aria-hidden': 'true' },
    element('path', { d: path(points) }),
  );
}

function footer(data: ReportData): string {
  const { settings, environment } = data;
  const facts = [
    `${formatCount(settings.rate)} messages/s`,
    `faults: ${settings.faults.join(', ') || 'none'}`,
    ...(settings.maxMessages === undefined ? [] : [`the channel keeps ${formatCount(settings.maxMessages)} messages`]),
    ...(settings.subscriptions === undefined ? [] : [`${plural(settings.subscriptions, 'idle subscription')}`]),
    `published for ${formatDuration(settings.publishFor)}`,
    `Node ${environment.node}, ${environment.platform}, ${plural(environment.cpus, 'CPU')}`,
  ];
  return `<footer><p>Again: <code>${escape(data.replay)}</code></p><p>${escape(facts.join(' · '))}</p></footer>`;
}

const PAGE_STYLE = `
* { box-sizing: border-box; }
body { margin: 0; background: var(--surface); color: var(--ink); line-height: 1.45;
  font: 14px/1.45 ui-sans-serif, system-ui, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif; }
main { max-width: 1160px; margin: 0 auto; padding: 32px 40px 48px; }
h1 { font-size: 23px; line-height: 1.25; font-weight: 650; margin: 10px 0 6px; letter-spacing: -0.01em; text-wrap: balance; }
h2 { font-size: 15px; font-weight: 650; margin: 34px 0 8px; }
.verdict { display: inline-block; margin: 0; padding: 3px 11px; border-radius: 99px; font-weight: 650; font-size: 13px; border: 1.5px solid; }
.verdict.good, td.good { color: var(--good); }
.verdict.bad, td.bad { color: var(--bad); }
.about { color: var(--muted); margin: 0; }
.when { white-space: nowrap; }
.about b { color: var(--ink); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(108px, 1fr)); gap: 10px; margin: 22px 0 20px; }
.tile { background: var(--raised); border-radius: 8px; padding: 11px 13px 10px; border-left: 3px solid var(--line); }
.tile b { display: block; font-size: 21px; font-weight: 650; line-height: 1.2; white-space: nowrap; font-variant-numeric: tabular-nums; }
.tile span { color: var(--muted); font-size: 12px; }
.tile small { display: block; color: var(--faint); font-size: 11px; }
.tile.good { border-left-color: var(--good); }
.tile.bad { border-left-color: var(--bad); }
.tile.bad b { color: var(--bad); }
.findings { border: 1.5px solid var(--bad); border-radius: 8px; padding: 2px 18px 8px; margin-bottom: 20px; }
.findings h2 { margin-top: 12px; color: var(--bad); }
.findings ul { margin: 0 0 6px; padding-left: 18px; overflow-wrap: anywhere; }
.notice { border-left: 3px solid var(--network); background: var(--raised); border-radius: 6px; padding: 9px 13px; margin: 0 0 18px; }
.picture { position: relative; margin-top: 8px; }
.timeline { display: block; width: 100%; min-width: 880px; height: auto; }
.readout { position: absolute; pointer-events: none; background: var(--raised); border: 1px solid var(--line); border-radius: 6px;
  padding: 6px 9px; font: 12px/1.4 ui-monospace, 'SF Mono', Menlo, Consolas, monospace; white-space: pre-wrap; max-width: 340px; z-index: 1; font-variant-numeric: tabular-nums; box-shadow: 0 2px 10px #0002; }
.hint { display: none; margin: 0 0 4px; color: var(--muted); font-size: 12px; text-align: right; }
.scroll { overflow-x: auto; background:
  linear-gradient(to right, var(--surface) 40%, transparent) left / 40px 100%, linear-gradient(to left, var(--surface) 40%, transparent) right / 40px 100%,
  linear-gradient(to right, var(--edge), transparent) left / 14px 100%, linear-gradient(to left, var(--edge), transparent) right / 14px 100%;
  background-repeat: no-repeat; background-attachment: local, local, scroll, scroll; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 5px 10px 5px 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--muted); font-weight: 500; font-size: 12px; vertical-align: bottom; white-space: normal; }
th:first-child, td:first-child, .left { text-align: left; }
td:first-child { font-weight: 550; }
td.good, td.bad { font-weight: 650; }
td.quiet { color: var(--faint); }
.note { color: var(--muted); font-size: 12px; margin: 7px 0 0; }
details { color: var(--muted); font-size: 12px; margin: 3px 0 0; }
summary { cursor: pointer; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 14px; margin: 6px 0 0; }
dt { color: var(--ink); }
dd { margin: 0; }
.resources td { vertical-align: middle; }
.spark { vertical-align: middle; margin-right: 9px; }
.spark path { fill: none; stroke: var(--acknowledged); stroke-width: 1.3; }
footer { margin-top: 36px; padding-top: 14px; border-top: 1px solid var(--line); color: var(--muted); font-size: 12.5px; }
footer p { margin: 3px 0; }
code { font: 12px ui-monospace, 'SF Mono', Menlo, Consolas, monospace; background: var(--raised); padding: 2px 6px; border-radius: 4px; color: var(--ink); overflow-wrap: anywhere; }
@media (max-width: 1000px) {
  .hint { display: block; }
  .hint[hidden] { display: none; }
  th:first-child, td:first-child { position: sticky; left: 0; background: var(--surface); }
}
@media (max-width: 640px) { main { padding: 20px 16px; } h1 { font-size: 19px; } dl { grid-template-columns: 1fr; } dd { margin: 0 0 4px; } }
@media print { .readout, .hint { display: none !important; } }
`;
