/** What a command tells a person. It goes to stderr, so that stdout has nothing but results. */
import { columnsOf, wrap } from './text.js';

/** Writes lines. In a terminal they are broken between words; elsewhere each stays one line, for programs that search it. */
export function say(text: string): void {
  const { stderr } = process;
  const lines = text.split('\n');
  console.error((stderr.isTTY ? lines.flatMap((line) => wrap(line, columnsOf(stderr))) : lines).join('\n'));
}
