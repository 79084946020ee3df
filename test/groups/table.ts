/** Figures of all trials, as a table for the terminal and as one in Markdown. */
import { columns } from '../../src/cli/verify/verdict-view.js';
import type { Fault, Kind } from './matrix.js';
import type { GroupOutcome } from './trial.js';

/** What can have been on its way to a member when its server forgot that: see docs/verify.md. */
const SERVERS_OWN = 64;

/** All trials of one kind through one fault. */
export interface Cell {
  kind: Kind;
  fault: Fault;
  trials: readonly GroupOutcome[];
}

export function cellsOf(outcomes: readonly GroupOutcome[]): Cell[] {
  const cells = new Map<string, Cell & { trials: GroupOutcome[] }>();
  for (const outcome of outcomes) {
    const { kind, fault } = outcome;
    const key = `${fault.id} ${kind.id}`;
    const cell = cells.get(key);
    if (cell === undefined) cells.set(key, { kind, fault, trials: [outcome] });
    else cell.trials.push(outcome);
  }
  return [...cells.values()];
}

/** Of what is missing, what breaks the promise: the server itself may lose a little of a group with members in several clients. */
export function brokenBy({ kind, leaderEnded, missing }: GroupOutcome): number {
  return kind.clients.length > 1 && leaderEnded && missing <= SERVERS_OWN ? 0 : missing;
}

const FIGURES = {
  handledAgain: ({ repeated }: GroupOutcome): number => repeated,
  /** By the server: what a client knows it has, it drops. */
  sentAgain: ({ repeated, dropped }: GroupOutcome): number => repeated + dropped,
  reach: ({ reach }: GroupOutcome): number => reach,
  missing: ({ missing }: GroupOutcome): number => missing,
  silence: ({ silence }: GroupOutcome): number => silence,
  losses: ({ losses }: GroupOutcome): number => losses,
};
type Figure = keyof typeof FIGURES;

function sorted({ trials }: Cell, figure: Figure): number[] {
  return trials.map(FIGURES[figure]).sort((a, b) => a - b);
}

const median = (cell: Cell, figure: Figure): number => {
  const values = sorted(cell, figure);
  return values[Math.floor((values.length - 1) / 2)]!;
};
const worst = (cell: Cell, figure: Figure): number => sorted(cell, figure).at(-1)!;
const total = (cell: Cell, figure: Figure): number => sorted(cell, figure).reduce((sum, value) => sum + value, 0);

const seconds = (ms: number): string => `${(ms / 1000).toFixed(ms < 995 ? 2 : 1)} s`;

const HEADS = [
  'fault',
  'group',
  'trials',
  'handled again, median',
  'worst',
  'of traffic',
  'reaches back',
  'sent again, worst',
  'of traffic',
  'missing',
  'silence, median',
  'losses',
];

/** @param rate messages a second */
export function asText(cells: readonly Cell[], rate: number): string {
  const traffic = (count: number): string => seconds((count / rate) * 1000);
  const rows = cells.map((cell) => [
    cell.fault.name,
    cell.kind.name,
    String(cell.trials.length),
    String(median(cell, 'handledAgain')),
    String(worst(cell, 'handledAgain')),
    traffic(worst(cell, 'handledAgain')),
    seconds(worst(cell, 'reach')),
    String(worst(cell, 'sentAgain')),
    traffic(worst(cell, 'sentAgain')),
    String(total(cell, 'missing')),
    seconds(median(cell, 'silence')),
    String(total(cell, 'losses')),
  ]);
  return columns(HEADS, rows, (_, text) => text).join('\n');
}

/** Faults × kinds: what was handled again, and what was sent again, at worst, in seconds of traffic; what is missing, if anything. */
export function asMarkdown(cells: readonly Cell[], rate: number): string {
  const faults = [...new Set(cells.map(({ fault }) => fault))];
  const kinds = [...new Set(cells.map(({ kind }) => kind))];
  const show = (fault: Fault, kind: Kind): string => {
    const cell = cells.find((one) => one.fault === fault && one.kind === kind);
    if (cell === undefined) return '–';
    const traffic = (count: number): string => (count / rate).toFixed(2);
    const repeated = `${traffic(worst(cell, 'handledAgain'))} / ${traffic(worst(cell, 'sentAgain'))}`;
    const missing = total(cell, 'missing');
    return missing === 0 ? repeated : `${repeated}, ${missing} missing`;
  };
  const silence = (fault: Fault): string =>
    seconds(Math.max(...cells.filter((cell) => cell.fault === fault).map((cell) => median(cell, 'silence'))));
  const line = (cellsOfLine: readonly string[]): string => `| ${cellsOfLine.join(' | ')} |`;
  return [
    line(['Fault', ...kinds.map(({ name }) => name), 'felt for']),
    line(['---', ...kinds.map(() => '--:'), '--:']),
    ...faults.map((fault) => line([fault.name, ...kinds.map((kind) => show(fault, kind)), silence(fault)])),
  ].join('\n');
}
