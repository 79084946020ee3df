/** Renders what a terminal shows while a run lasts. Pure. */
import type { Progress, RunNote } from '../../testing/index.js';
import { formatCount, formatTime, plural } from '../../testing/report/format.js';
import { pad, padLeft, widthOf, type Paint } from '../style.js';
import { flow, wrap } from '../text.js';

/** Time between two rates, in ms. */
const STEP = 500;
/** How many rates are shown. */
const STEPS = 48;
const NOTES = 7;
const FEWEST_NOTES = 3;
const BLOCKS = '▁▂▃▄▅▆▇█';
/** The largest width of the view, in columns. */
const WIDEST = 100;
/** How many lines the view has, where all fits into its lines. */
const HEIGHT = 10 + NOTES;
/** Where the texts beside the names begin, and those of the notes, in columns. */
const INDENT = 13;

/** Keeps the part of a run's past that the view shows. */
export class LiveState {
  readonly rates: number[] = [];
  readonly notes: RunNote[] = [];
  /** Why it ends before its time, in words. */
  ending: string | undefined;
  /** Messages a second. */
  rate = 0;
  /** Messages a second that were asked for. */
  readonly asked: number;
  #pending = 0;
  #at = 0;
  #acknowledged = 0;

  constructor(asked = Infinity) {
    this.asked = asked;
  }

  /** Whether acknowledgements have come all the time for five seconds, fewer than were asked for, and a second of them waits. */
  get fallsBehind(): boolean {
    const last = this.rates.slice(-10);
    if (last.length < 10 || last.includes(0) || this.#pending < this.asked) return false;
    return last.reduce((sum, rate) => sum + rate, 0) / last.length < this.asked * 0.9;
  }

  progress({ at, pending, counters: { acknowledged } }: Progress): void {
    this.#pending = pending;
    if (at - this.#at < STEP) return;
    this.rate = ((acknowledged - this.#acknowledged) * 1000) / (at - this.#at);
    this.#at = at;
    this.#acknowledged = acknowledged;
    this.rates.push(this.rate);
    if (this.rates.length > STEPS) this.rates.shift();
  }

  note(note: RunNote): void {
    // Connections are not listed, because they are many, and their numbers are shown.
    if (note.kind === 'connection') return;
    this.notes.push(note);
    if (this.notes.length > NOTES) this.notes.shift();
  }
}

/**
 * The lines of the view. Nothing is cut: what does not fit into a line goes on in the next one, and fewer notes are shown.
 * @param title its parts, which stay whole
 */
export function renderLive(
  title: readonly string[],
  progress: Progress,
  state: LiveState,
  width: number,
  paint: Paint,
): string[] {
  const columns = Math.min(width, WIDEST);
  const { counters, current, leader } = progress;
  /** Where the second column begins, if there is room for two. */
  const middle = columns >= 70 ? Math.max(Math.min(44, columns - 41), 8) : 0;
  const row = (name: string, parts: readonly string[], between = ''): string[] =>
    flow([`  ${paint('quiet', pad(name, 11))}${parts[0]}`, ...parts.slice(1)], columns, INDENT, between);
  const pair = (name: string, one: string, other: string): string[] =>
    widthOf(one) < middle ? row(name, [pad(one, middle) + other]) : row(name, [one, other], '   ');
  const figure = (name: string, value: number, bad: boolean): string =>
    pad(`${paint('quiet', name)} ${bad && value > 0 ? paint('bad', formatCount(value)) : formatCount(value)}`, 18);
  const count = (value: number): string => `${padLeft(formatCount(value), 7)}  `;
  const faults = progress.faultCount === Infinity ? '' : ` of ${formatCount(progress.faultCount)}`;
  const lines = [
    ...flow(
      title.map((part) => paint('strong', part)),
      columns,
      2,
      paint('strong', ' · '),
    ),
    '',
    ...wrap(`  ${progressBar(progress, columns - 4, paint)}`, columns, 2),
    ...(state.ending === undefined ? [] : wrap(`  ${paint('warn', state.ending)}`, columns, 2)),
    '',
    ...pair(
      'fault',
      current.length === 0 ? paint('quiet', 'none') : paint('warn', current.join(', ')),
      paint('quiet', `${plural(progress.faults, 'fault')}${faults} so far`),
    ),
    ...pair(
      'leader',
      leader === undefined ? paint('warn', 'nobody') : leader,
      progress.connected < progress.processes
        ? paint('warn', `${progress.connected} of ${plural(progress.processes, 'client')} connected`)
        : paint('quiet', `all ${plural(progress.processes, 'client')} connected`),
    ),
    ...row(
      'acks/s',
      [
        count(state.rate) + sparkline(state.rates.slice(-Math.max(columns - INDENT - 9, 1))),
        ...(state.fallsBehind ? [paint('warn', `of ${formatCount(state.asked)} asked for: it falls behind`)] : []),
      ],
      '  ',
    ),
    ...row('published', [
      count(counters.acknowledged) + figure('pending', progress.pending, false),
      figure('failed', counters.failed, true),
    ]),
    ...row('delivered', [
      count(counters.delivered) + figure('behind', progress.owed, false),
      figure('losses', counters.losses, false),
      figure('reconnects', counters.reconnects, false),
    ]),
    '',
  ];
  const room = Math.max(HEIGHT - lines.length, FEWEST_NOTES);
  const notes = state.notes.flatMap((note) => wrap(`  ${describeNote(note, paint)}`, columns, INDENT)).slice(-room);
  return [...lines, ...notes, ...Array.from({ length: room - notes.length }, () => '')];
}

function progressBar(progress: Progress, width: number, paint: Paint): string {
  const { phase, at, publishFor, doing, faults, faultCount } = progress;
  if (phase !== 'running') return paint('strong', `${doing} …`);
  const byTime = publishFor !== Infinity;
  const share = Math.min(byTime ? at / publishFor : faults / faultCount, 1);
  const end = byTime ? formatTime(publishFor) : plural(faultCount, 'fault');
  const before = `${formatTime(at)} `;
  const after = ` ${end}  ${padLeft(String(Math.floor(share * 100)), 3)} %`;
  const overdue = byTime && at > publishFor + 500 ? '  mending' : '';
  const length = Math.max(width - before.length - after.length - overdue.length, 6);
  const done = Math.round(length * share);
  return before + paint('good', '━'.repeat(done)) + paint('quiet', '─'.repeat(length - done)) + after + overdue;
}

/** Bars that are relative to the highest value shown, so that an outage is a hole and what follows it a peak. */
export function sparkline(values: readonly number[]): string {
  const highest = Math.max(...values, 1);
  return values
    .map((value) =>
      value <= 0 ? ' ' : BLOCKS[Math.min(Math.floor((value / highest) * BLOCKS.length), BLOCKS.length - 1)],
    )
    .join('');
}

/** The line of a note. */
export function describeNote({ at, kind, text }: RunNote, paint: Paint): string {
  const time = paint('quiet', `${formatTime(at)}.${Math.floor(at / 100) % 10}`);
  switch (kind) {
    case 'fault':
      return `${time}  ${paint('warn', '⚡')} ${text}`;
    case 'mended':
      return `${time}  ${paint('good', '✓')} ${text}`;
    case 'trouble':
      return `${time}  ${paint('bad', `✗ ${text}`)}`;
    case 'leader':
    case 'client':
    case 'connection':
      return `${time}  ${paint('quiet', `· ${text}`)}`;
  }
}

/** The line for a log, where there is no view. */
export function statusLine(progress: Progress, state: LiveState): string {
  const { at, phase, doing, counters, pending, owed, leader, current } = progress;
  const facts = [
    `${formatCount(counters.acknowledged)} acknowledged (${formatCount(state.rate)}/s)`,
    `${formatCount(pending)} pending`,
    `${formatCount(counters.failed)} failed`,
    `${formatCount(owed)} deliveries behind`,
    leader === undefined ? 'no leader' : `${leader} leads`,
  ];
  if (current.length > 0) facts.push(`broken: ${current.join(', ')}`);
  const what = phase === 'running' ? '' : `${doing}: `;
  return `${formatTime(at)}  ${what}${facts.join(', ')}`;
}
