/** Colours of a terminal, or none. */
export type Style = 'good' | 'bad' | 'warn' | 'quiet' | 'strong';

export type Paint = (style: Style, text: string) => string;

const CODES: Readonly<Record<Style, readonly [on: number, off: number]>> = {
  good: [32, 39],
  bad: [31, 39],
  warn: [33, 39],
  quiet: [2, 22],
  strong: [1, 22],
};

const inColour: Paint = (style, text) => `\u001b[${CODES[style][0]}m${text}\u001b[${CODES[style][1]}m`;
const plain: Paint = (_, text) => text;

/** As the terminal can, and as https://no-color.org asks. */
export function paintFor(stream: { isTTY?: boolean }, env: NodeJS.ProcessEnv): Paint {
  return stream.isTTY === true && !env.NO_COLOR && env.TERM !== 'dumb' ? inColour : plain;
}

const ESCAPES = /\u001b\[\d+m/g;
/** Characters of two columns: emoji, and those of East Asian scripts. */
const WIDE =
  /\p{Emoji_Presentation}|[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|[\u{20000}-\u{3fffd}]/u;
/** Characters that stand on the one before, or are not seen. */
const NARROW = /\p{Mark}|[\u200b-\u200f\u2060\ufeff]/u;

function columnsOf(character: string): number {
  if (character < '\u0300') return 1;
  if (WIDE.test(character)) return 2;
  return NARROW.test(character) ? 0 : 1;
}

/** The width of a text, in columns. */
export function widthOf(text: string): number {
  let width = 0;
  for (const character of text.replace(ESCAPES, '')) width += columnsOf(character);
  return width;
}

/** How many of the first characters fit into a width. At least one, so that there is an end. */
function fitting(word: string, width: number): string {
  let [taken, left] = ['', width];
  for (const character of word) {
    left -= columnsOf(character);
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

const PAIRS = new Map(Object.values(CODES).map(([on, off]) => [`\u001b[${on}m`, `\u001b[${off}m`]));
const OFFS = new Set(PAIRS.values());
const isOff = (code: string): boolean => OFFS.has(code);
const offOf = (code: string): string => PAIRS.get(code) ?? '';

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

export function pad(text: string, width: number): string {
  return text + ' '.repeat(Math.max(width - widthOf(text), 0));
}

export function padLeft(text: string, width: number): string {
  return ' '.repeat(Math.max(width - widthOf(text), 0)) + text;
}
