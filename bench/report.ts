/** A table for people. */
import type { CaseResult, Figures } from './run-case.js';

const COLUMNS = ['case', 'raw msg/s', 'ours msg/s', 'rate ×', 'raw µs', 'ours µs', 'CPU ×', 'peak MB raw/ours'];

export function table(results: readonly CaseResult[]): string {
  const rows = results.map(({ name, raw, resilient, ratio }) => [
    name,
    rate(raw),
    rate(resilient),
    ratio.rate.median.toFixed(2),
    raw.cpu.toFixed(1),
    resilient.cpu.toFixed(1),
    ratio.cpu.median.toFixed(2),
    `${megabytes(raw)} / ${megabytes(resilient)}`,
  ]);
  return [...columns([COLUMNS, ...rows]), ...results.flatMap(more)].join('\n');
}

function rate({ rate, spread }: Figures): string {
  return `${Math.round(rate)} ±${Math.round(spread * 100)}%`;
}

function megabytes({ peak }: Figures): string {
  return String(Math.round(peak / 1e6));
}

function more({ name, more }: CaseResult): string[] {
  const entries = Object.entries(more);
  if (entries.length === 0) return [];
  return ['', `${name}:`, ...entries.map(([what, value]) => `  ${what}: ${Number(value.toPrecision(4))}`)];
}

/** The first column to the left, all others to the right. */
export function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]?.map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0))) ?? [];
  return rows.map((row) =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  '),
  );
}

/** One line that is written over, where there is a terminal; else a line for each `what` that is new. */
export function progressLine(stream: NodeJS.WriteStream): (what: string, detail?: string) => void {
  let last = '';
  return (what, detail = '') => {
    if (stream.isTTY) stream.write(`\r\x1b[2K${what} ${detail}`);
    else if (what !== last && what !== '') stream.write(`${what}\n`);
    last = what;
  };
}
