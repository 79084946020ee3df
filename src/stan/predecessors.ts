/**
 * Keeps the clients of this process that are closing. A new client with the same IDs waits for them, because the server refuses it
 * before. Each copy of this code knows only its own clients.
 */
const closing = new Map<string, Set<Promise<unknown>>>();

function keyOf(clusterId: string, clientId: string): string {
  return JSON.stringify([clusterId, clientId]);
}

/** Notes that a client is closing. @param over resolves when it is closed, and never rejects */
export function noteClosing(clusterId: string, clientId: string, over: Promise<unknown>): void {
  const key = keyOf(clusterId, clientId);
  const ends = closing.get(key) ?? new Set();
  closing.set(key, ends.add(over));
  void over.then(() => {
    ends.delete(over);
    if (ends.size === 0 && closing.get(key) === ends) closing.delete(key);
  });
}

/** Returns a promise that resolves when the clients with these IDs that are closing now have closed; undefined if there are none. */
export function predecessors(clusterId: string, clientId: string): Promise<unknown> | undefined {
  const ends = closing.get(keyOf(clusterId, clientId));
  return ends === undefined ? undefined : Promise.all(ends);
}
