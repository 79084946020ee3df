/** What a command tells a person. It goes to stderr, so that stdout has nothing but results. */
import { columnsOf, wrap } from './text.js';

/**
 * Writes lines. In a terminal they are broken between words, but for those that begin with a blank, which are laid out
 * already. Elsewhere each stays one line, for programs that search it.
 */
export function say(text: string): void {
  const { stderr } = process;
  const lines = text.split('\n');
  const fit = (line: string): string[] => (line.startsWith(' ') ? [line] : wrap(line, columnsOf(stderr), 0, 'whole'));
  console.error((stderr.isTTY ? lines.flatMap(fit) : lines).join('\n'));
}
