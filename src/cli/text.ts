/** Lays out text for a terminal. Pure. */
import { widthOf } from './style.js';

/** The width for a stream, in columns: that of the terminal, within limits in which text can be read. */
export function columnsOf(stream: { readonly columns?: number | undefined }): number {
  // The last column stays empty, because some terminals wrap as soon as it is written to.
  return Math.min(Math.max((stream.columns ?? 80) - 1, 40), 100);
}

/** The width for a table. Where no terminal is, a program reads it, for which each row stays one line. */
export function tableWidth(stream: { readonly isTTY?: boolean; readonly columns?: number | undefined }): number {
  return stream.isTTY === true ? Math.max((stream.columns ?? 80) - 1, 40) : Infinity;
}

/** Breaks a text into lines between words. A word that is longer than a line has one of its own, and is not cut. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && widthOf(line) + 1 + widthOf(word) > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  lines.push(line);
  return lines;
}

/** The same text with each line after some blanks. */
export function indented(text: string, width: number, indent: number): string[] {
  return wrap(text, width - indent).map((line) => ' '.repeat(indent) + line);
}

/** Two columns. The text of a row begins below its term where the term is too long. */
export function definitions(rows: readonly (readonly [term: string, text: string])[], width: number): string[] {
  const longest = Math.max(...rows.map(([term]) => widthOf(term)));
  const second = Math.min(longest + 4, width < 60 ? 8 : 30);
  return rows.flatMap(([term, text]) => {
    const lines = indented(text, width, second);
    if (widthOf(term) + 4 > second) return [`  ${term}`, ...lines];
    return [`  ${term}`.padEnd(second) + lines[0]!.trimStart(), ...lines.slice(1)];
  });
}
