/** Lays out rows for a terminal: as a table where it fits, else each row as a block, so that nothing is cut or wrapped. Pure. */
import { pad, padLeft, widthOf, type Paint } from './style.js';

export interface Column {
  readonly head: string;
  /** Numbers are aligned to the right. */
  readonly right?: boolean;
}

const plain: Paint = (_, text) => text;

export function table(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width: number,
  paint: Paint = plain,
): string[] {
  const heads = columns.map(({ head }) => head);
  const widths = heads.map((_, i) => Math.max(...[heads, ...rows].map((row) => widthOf(row[i]!))));
  const total = widths.reduce((sum, each) => sum + each + 2, 0);
  if (total > width) return blocks(heads, rows, paint);
  const line = (row: readonly string[], colour: Paint): string =>
    `  ${row.map((cell, i) => colour('quiet', columns[i]!.right ? padLeft(cell, widths[i]!) : pad(cell, widths[i]!))).join('  ')}`.trimEnd();
  return [line(heads, paint), ...rows.map((row) => line(row, plain))];
}

/** The first cell is the title of its block. */
function blocks(heads: readonly string[], rows: readonly (readonly string[])[], paint: Paint): string[] {
  const longest = Math.max(...heads.slice(1).map(widthOf));
  return rows.flatMap(([title, ...cells]) => [
    `  ${paint('strong', title!)}`,
    ...cells.map((cell, i) => `    ${paint('quiet', pad(heads[i + 1]!, longest))}  ${cell}`),
  ]);
}
