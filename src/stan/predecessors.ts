/** Clients of this process that are closing: one that comes with the same name waits for them, or it would meet them at the server. */
const closing = new Map<string, Set<Promise<unknown>>>();

function keyOf(clusterId: string, clientId: string): string {
  return JSON.stringify([clusterId, clientId]);
}

/** @param over resolves when it is closed; never rejects */
export function noteClosing(clusterId: string, clientId: string, over: Promise<unknown>): void {
  const key = keyOf(clusterId, clientId);
  const ends = closing.get(key) ?? new Set();
  closing.set(key, ends.add(over));
  void over.then(() => {
    ends.delete(over);
    if (ends.size === 0 && closing.get(key) === ends) closing.delete(key);
  });
}

/** Resolves when those of this name that are closing now have closed; undefined when there are none. */
export function predecessors(clusterId: string, clientId: string): Promise<unknown> | undefined {
  const ends = closing.get(keyOf(clusterId, clientId));
  return ends === undefined ? undefined : Promise.all(ends);
}
