/** Lays out text for a terminal. Pure. */
import { ESCAPES, isOff, offOf, widthOf, widthOfCharacter } from './style.js';

/** The width for a stream, in columns: that of the terminal, within limits in which text can be read. */
export function columnsOf(stream: { readonly columns?: number | undefined }): number {
  // The last column stays empty, because some terminals wrap as soon as it is written to.
  return Math.min(Math.max((stream.columns ?? 80) - 1, 40), 100);
}

/** The width for a table. Where no terminal is, a program reads it, for which each row stays one line. */
export function tableWidth(stream: { readonly isTTY?: boolean; readonly columns?: number | undefined }): number {
  return stream.isTTY === true ? Math.max((stream.columns ?? 80) - 1, 40) : Infinity;
}

/** How many of the first characters fit into a width. At least one, so that there is an end. */
function fitting(word: string, width: number): string {
  let [taken, left] = ['', width];
  for (const character of word) {
    left -= widthOfCharacter(character);
    if (left < 0 && taken !== '') break;
    taken += character;
  }
  return taken;
}

/**
 * Breaks a text at its spaces into lines of at most `width` columns, and keeps its colours.
 * @param indent how far the lines after the first one are indented, in columns
 * @param long what becomes of a word that is longer than a line: it is cut, or it stays whole on a line of its own, so that it can
 * be copied
 */
export function wrap(text: string, width: number, indent = 0, long: 'cut' | 'whole' = 'cut'): string[] {
  if (widthOf(text) <= width) return [text];
  const lines: string[] = [];
  const margin = ' '.repeat(Math.min(indent, Math.floor(width / 2)));
  /** The colours that are on. */
  let on: string[] = [];
  let [line, used] = ['', 0];
  const next = (): void => {
    lines.push(line.trimEnd() + on.map(offOf).reverse().join(''));
    [line, used] = [margin + on.join(''), margin.length];
  };
  for (const part of text.split(/(\u001b\[\d+m| +)/)) {
    if (part.startsWith('\u001b')) {
      line += part;
      on = isOff(part) ? on.filter((code) => offOf(code) !== part) : [...on, part];
    } else if (part.startsWith(' ')) {
      if (used + part.length > width) next();
      else if (lines.length === 0 || used > margin.length) [line, used] = [line + part, used + part.length];
    } else {
      let rest = part;
      if (used + widthOf(rest) > width && used > margin.length) next();
      for (; long === 'cut' && used + widthOf(rest) > width; next()) {
        const taken = fitting(rest, width - used);
        line += taken;
        rest = rest.slice(taken.length);
        used += widthOf(taken);
        if (rest === '') break;
      }
      line += rest;
      used += widthOf(rest);
    }
  }
  if (line.replace(ESCAPES, '').trim() !== '' || lines.length === 0) lines.push(line.trimEnd());
  return lines;
}

/** The same text with each line after some blanks. */
export function indented(text: string, width: number, indent: number): string[] {
  return wrap(text, width - indent, 0, 'whole').map((line) => ' '.repeat(indent) + line);
}

/**
 * A text behind a mark, as `- `. The lines after the first one stand below the text.
 * @param again what the lines after the first one begin with, in the place of blanks: `# ` where each of them has to be a comment
 */
export function marked(mark: string, text: string, width: number, indent: number, again?: string): string[] {
  const next = again ?? ' '.repeat(widthOf(mark));
  return wrap(text, width - indent - widthOf(mark), 0, 'whole').map(
    (line, i) => ' '.repeat(indent) + (i === 0 ? mark : next) + line,
  );
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

/** Puts parts side by side, and into the next line what does not fit there. A part is not broken unless it is longer than a line. */
export function flow(parts: readonly string[], width: number, indent: number, between = ''): string[] {
  const lines: string[] = [];
  let line = '';
  for (const part of parts) {
    const longer = line === '' ? part : line + between + part;
    if (line === '' || widthOf(longer.trimEnd()) <= width) {
      line = longer;
      continue;
    }
    lines.push(...wrap(line.trimEnd(), width, indent));
    line = ' '.repeat(Math.min(indent, Math.floor(width / 2))) + part;
  }
  return [...lines, ...wrap(line.trimEnd(), width, indent)];
}
