/**
 * Calls back when the running code is done, before anything else happens. It goes by a promise, because the fake timers of a
 * test replace `queueMicrotask`, and would hold up whoever waits.
 */
export function inMicrotask(callback: () => void): void {
  void Promise.resolve().then(callback);
}
