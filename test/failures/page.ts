/** The page docs/failures.md: where a run stands in it, and what its table says. */
import type { Outcome } from './scenarios.js';
import { asText } from './transcript.js';

const begin = (id: string): string => `<!-- run: ${id} -->`;
const END = '<!-- end of run -->';

/** What the page shows of a run. */
export function runOf(page: string, id: string): string | undefined {
  const from = page.indexOf(begin(id));
  if (from === -1) return undefined;
  return page.slice(from + begin(id).length, page.indexOf(END, from)).trim();
}

/** The page with another run of this id. */
export function withRun(page: string, id: string, { lines, stats }: Outcome): string {
  const old = runOf(page, id);
  if (old === undefined) throw new Error(`docs/failures.md has no place for '${id}'`);
  const risen = Object.entries(stats).map(([name, by]) => `${name} +${by}`);
  const text = `${asText(lines)}\n          stats   ${risen.length > 0 ? risen.join(', ') : 'nothing of note has risen'}`;
  const from = page.indexOf(begin(id));
  const to = page.indexOf(END, from);
  return `${page.slice(0, from)}${begin(id)}\n\n\`\`\`text measured\n${text}\n\`\`\`\n\n${page.slice(to)}`;
}

/** The names of the events of a run as the page shows it, each once in a row. */
export function eventsShown(run: string): string[] {
  const names = [...run.matchAll(/^ *[\d.]+ s {2}event +(\w+)/gm)].map(([, name]) => name!);
  return names.filter((name, index) => name !== names[index - 1]);
}
