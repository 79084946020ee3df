import { AbortWatch } from '../abort-signal.js';
import { AbortGroup, type Entry, type Limits } from './records.js';

/**
 * Listens once to each AbortSignal of the callers. Node looks through all listeners of a signal whenever one is added or removed,
 * so a listener for each message would cost the square of the number of messages that share a signal.
 */
export class Aborts {
  readonly #groups = new Map<AbortSignal, AbortGroup>();
  readonly #onAbort: (entries: Entry[], reason: unknown) => void;

  /** @param onAbort gets all messages of a signal that was aborted, in the order of publishing; they have left their group */
  constructor(onAbort: (entries: Entry[], reason: unknown) => void) {
    this.#onAbort = onAbort;
  }

  /**
   * Returns the group of a signal, which may be aborted already. It runs code of the user, so it is called before anything is
   * changed. Afterwards the message is added by {@link add}, or not taken in and signed off by {@link leave}.
   * @throws InvalidArgumentError when the signal does not let us listen
   */
  join(signal: AbortSignal): AbortGroup {
    let group = this.#groups.get(signal);
    if (group === undefined) {
      const watch = new AbortWatch(signal, { delivery: 'not-sent' });
      const made = (group = new AbortGroup(signal, watch));
      watch.onAbort = () => this.#aborted(made);
      this.#groups.set(signal, made);
    }
    group.joining++;
    return group;
  }

  /** Adds a message to a group that it has joined. */
  add(limits: Limits, group: AbortGroup): void {
    group.joining--;
    limits.group = group;
    limits.next = group.head;
    if (group.head !== undefined) group.head.prev = limits;
    group.head = limits;
  }

  /** The message that has joined is not taken in after all. */
  leave(group: AbortGroup): void {
    group.joining--;
    this.#endIfEmpty(group);
  }

  remove(limits: Limits): void {
    const { group, prev, next } = limits;
    if (group === undefined) return;
    if (prev === undefined) group.head = next;
    else prev.next = next;
    if (next !== undefined) next.prev = prev;
    limits.group = undefined;
    limits.prev = undefined;
    limits.next = undefined;
    this.#endIfEmpty(group);
  }

  #endIfEmpty(group: AbortGroup): void {
    if (group.head !== undefined || group.joining > 0) return;
    // The signal may have called us while we began to listen, and another group may be in its place.
    if (this.#groups.get(group.signal) === group) this.#groups.delete(group.signal);
    group.watch.stop();
  }

  #aborted(group: AbortGroup): void {
    const entries: Entry[] = [];
    const { reason } = group.watch;
    for (let limits = group.head; limits !== undefined; limits = group.head) {
      entries.push(limits.entry);
      this.remove(limits);
    }
    // The newest message stands first in the group.
    this.#onAbort(entries.reverse(), reason);
  }
}
