/** Compares what a program writes with what its page says. Pure. */
import { stripVTControlCharacters } from 'node:util';

/** What the terminal shows when Ctrl-C is pressed. */
const INTERRUPT = '^C';

export interface Expected {
  /** What is written before Ctrl-C, if there is one. */
  before: RegExp;
  all: RegExp;
  interrupt: boolean;
}

/** `…` in a line stands for anything, and a line of its own for any lines. `^C` alone in a line is where Ctrl-C is pressed. */
export function expected(output: string): Expected {
  const lines = output.trimEnd().split('\n');
  const at = lines.indexOf(INTERRUPT);
  const before = pattern(at === -1 ? lines : lines.slice(0, at));
  return {
    before: new RegExp(`^${before}$`),
    all: new RegExp(`^${pattern(lines.filter((line) => line !== INTERRUPT))}$`),
    interrupt: at !== -1,
  };
}

/** As {@link expected} compares it. */
export function written(text: string): string {
  return stripVTControlCharacters(text)
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n')
    .trimEnd();
}

function pattern(lines: readonly string[]): string {
  let text = '';
  let isFirst = true;
  for (const line of lines) {
    if (line.trim() === '…') {
      text += isFirst ? '(?:.*\\n)*?' : '(?:\\n.*)*?';
      continue;
    }
    const literal = line
      .trimEnd()
      .replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
      .replaceAll('…', '.*?');
    text += isFirst ? literal : `\\n${literal}`;
    isFirst = false;
  }
  return text;
}
