/** Calls back for each gap that a subscription tells, if it is an emitter. Not every client can tell one. */
export function onGap(subscription: unknown, callback: (gap: { from: number; to: number }) => void): void {
  const { on } = (subscription ?? {}) as { on?: unknown };
  if (typeof on === 'function') on.call(subscription, 'gap', callback);
}
