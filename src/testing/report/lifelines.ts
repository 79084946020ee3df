import type { ReportMark } from './data.js';

export interface Lifeline {
  from: number;
  to: number;
}

/** Finds out when a process was connected, from its marks. Pure. */
export function lifelines(marks: readonly ReportMark[], end: number): Lifeline[] {
  const lines: Lifeline[] = [];
  let since: number | undefined;
  for (const { at, kind } of marks) {
    if (kind === 'connected' || kind === 'reconnect') {
      since ??= at;
    } else if (since !== undefined && (kind === 'loss' || kind === 'killed' || kind === 'died' || kind === 'stopped')) {
      lines.push({ from: since, to: at });
      since = undefined;
    }
  }
  if (since !== undefined) lines.push({ from: since, to: Math.max(end, since) });
  return lines;
}
