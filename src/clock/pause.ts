import type { Clock } from './clock.js';

/** Resolves after `ms` of waking time. With 0 and less it resolves at once. */
export function pause(clock: Clock, ms: number): Promise<void> {
  return ms <= 0 ? Promise.resolve() : new Promise((resolve) => clock.after(ms, resolve));
}

/** Calls back again and again, `ms` after the call before. Returns what ends it. */
export function every(clock: Clock, ms: number, callback: () => void): () => void {
  let cancel = (): void => undefined;
  const again = (): void => {
    cancel = clock.after(ms, () => {
      again();
      callback();
    });
  };
  again();
  return () => cancel();
}
