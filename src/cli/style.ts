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

/** The width of a text, in columns. */
export function widthOf(text: string): number {
  return [...text.replace(ESCAPES, '')].length;
}

/** Cuts a text to `width` columns, and keeps its colours. */
export function cut(text: string, width: number): string {
  if (widthOf(text) <= width) return text;
  let [left, result] = [Math.max(width - 1, 0), ''];
  for (const part of text.split(/(\u001b\[\d+m)/)) {
    if (part.startsWith('\u001b')) {
      result += part;
    } else {
      const taken = [...part].slice(0, left);
      left -= taken.length;
      result += taken.join('');
    }
  }
  return `${result}…`;
}

export function pad(text: string, width: number): string {
  return text + ' '.repeat(Math.max(width - widthOf(text), 0));
}

export function padLeft(text: string, width: number): string {
  return ' '.repeat(Math.max(width - widthOf(text), 0)) + text;
}
