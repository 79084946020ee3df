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

export const ESCAPES = /\u001b\[\d+m/g;
/** Characters of two columns: emoji, and those of East Asian scripts. */
const WIDE =
  /\p{Emoji_Presentation}|[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|[\u{20000}-\u{3fffd}]/u;
/** Characters that stand on the one before, or are not seen. */
const NARROW = /\p{Mark}|[\u200b-\u200f\u2060\ufeff]/u;

/** The width of a character, in columns. */
export function widthOfCharacter(character: string): number {
  if (character < '\u0300') return 1;
  if (WIDE.test(character)) return 2;
  return NARROW.test(character) ? 0 : 1;
}

/** The width of a text, in columns. */
export function widthOf(text: string): number {
  let width = 0;
  for (const character of text.replace(ESCAPES, '')) width += widthOfCharacter(character);
  return width;
}

const PAIRS = new Map(Object.values(CODES).map(([on, off]) => [`\u001b[${on}m`, `\u001b[${off}m`]));
const OFFS = new Set(PAIRS.values());
/** Whether an escape sequence ends a colour. */
export const isOff = (code: string): boolean => OFFS.has(code);
/** The escape sequence that ends the colour of another one. */
export const offOf = (code: string): string => PAIRS.get(code) ?? '';

export function pad(text: string, width: number): string {
  return text + ' '.repeat(Math.max(width - widthOf(text), 0));
}

export function padLeft(text: string, width: number): string {
  return ' '.repeat(Math.max(width - widthOf(text), 0)) + text;
}
