/** Breaks coloured text into lines of a terminal. Pure. */
import { widthOfCharacter, ESCAPES, isOff, offOf, widthOf } from '../style.js';

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
 * Breaks a text at its spaces into lines of at most `width` columns, and keeps its colours. Only a word that is longer than a
 * line is broken itself.
 * @param indent how far the lines after the first one are indented, in columns
 */
export function wrap(text: string, width: number, indent = 0): string[] {
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
      for (; used + widthOf(rest) > width; next()) {
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
