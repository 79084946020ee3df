/** Calls back for what a subscription tells to be gone, if it is an emitter: a client may have no word for it. */
export function onGap(subscription: unknown, callback: (gap: { from: number; to: number }) => void): void {
  const { on } = (subscription ?? {}) as { on?: unknown };
  if (typeof on === 'function') on.call(subscription, 'gap', callback);
}
