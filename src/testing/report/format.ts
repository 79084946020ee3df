/** Formats numbers for people. Pure. The machine's locale does not matter. */

/** A count, as `38 412`, with thin spaces that do not break. */
export function formatCount(count: number): string {
  return String(Math.round(count)).replace(/\B(?=(\d{3})+$)/g, '\u202f');
}

/** A duration, as `0 ms`, `87 ms`, `1.2 s`, `43 s` or `2 min 5 s`. */
export function formatDuration(ms: number): string {
  if (ms > 0 && ms < 1) return '<\u202f1 ms';
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 9950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const [minutes, rest] = [Math.floor(seconds / 60), seconds % 60];
  if (minutes < 60) return rest === 0 ? `${minutes} min` : `${minutes} min ${rest} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** A point in time, as `1:05` or `1:00:05`. */
export function formatTime(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const two = (n: number): string => String(n).padStart(2, '0');
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

const SIZES = ['kB', 'MB', 'GB', 'TB', 'PB'] as const;

/** A size, as `12.3 MB` (of 10^6 bytes). */
export function formatBytes(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  // What would be shown as 1000.0 of a unit is 1.0 of the next one.
  const at = SIZES.findIndex((_, i) => bytes / 1000 ** (i + 1) < 999.95);
  const unit = at < 0 ? SIZES.length - 1 : at;
  return `${(bytes / 1000 ** (unit + 1)).toFixed(1)} ${SIZES[unit]}`;
}

/** A count with its noun, as `3 faults` or `1 fault`. */
export function plural(count: number, one: string, many = `${one}s`): string {
  return `${formatCount(count)} ${count === 1 ? one : many}`;
}
