/** What an outage, or a row of losses, has left behind and must not. Pure. */
import type { Endured, Handles, Mode } from './endure.js';
import { slope } from './slope.js';

/** Bytes for each attempt or reconnect: less than any object that would stay. */
const FLAT = 20;

const show = ({ sockets, timers }: Handles): string => `${sockets} sockets and ${timers} timers`;

/** One sentence each; none: it was endured. */
export function leftOvers(mode: Mode, count: number, { samples, before, after, stats, handles }: Endured): string[] {
  const wrong: string[] = [];
  const growth = slope(samples);
  if (!(growth < FLAT)) wrong.push(`the heap grew by ${growth.toFixed(1)} bytes with each of the later half`);
  if (after.listeners !== before.listeners) {
    wrong.push(`there were ${before.listeners} listeners, and ${after.listeners} afterwards`);
  }
  if (show(after.handles) !== show(before.handles)) {
    wrong.push(`there were ${show(before.handles)}, and ${show(after.handles)} afterwards`);
  }
  if (show(handles.closed) !== show(handles.without)) {
    wrong.push(`${show(handles.closed)} are left when it is closed, and there were ${show(handles.without)} before it`);
  }
  const expected = mode === 'attempts' ? 1 : count;
  for (const name of ['losses', 'reconnects'] as const) {
    if (stats[name] !== expected) wrong.push(`stats().${name} is ${stats[name]}, and should be ${expected}`);
  }
  if (stats.subscriptions !== 1) wrong.push(`stats().subscriptions is ${stats.subscriptions}, and should be 1`);
  return wrong;
}
