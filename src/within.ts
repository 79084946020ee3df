/** A promise with a limit of time. */

/** Calls back once, `delay` ms later. Returns what cancels it. */
export type Wait = (delay: number, callback: () => void) => () => void;

/**
 * What the promise comes to, if it settles in time.
 * @param timeout ms; Infinity for no limit
 * @param late called when it has not; what it returns or throws is the outcome then
 * @param wait whose time it is
 */
export async function within<T, Late>(
  promise: Promise<T>,
  timeout: number,
  late: () => Late,
  wait: Wait,
): Promise<T | Late> {
  let cancel = (): void => undefined;
  const over = new Promise<void>((resolve) => {
    if (timeout !== Infinity) cancel = wait(timeout, resolve);
  });
  try {
    return await Promise.race([promise, over.then(late)]);
  } finally {
    cancel();
  }
}
