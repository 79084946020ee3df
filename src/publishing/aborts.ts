import { expectManyListeners } from '../abort-signal.js';
import type { Entry } from './entry.js';
import type { Limits } from './limits.js';

/** All messages of one AbortSignal. */
export class AbortGroup {
  head: Limits | undefined = undefined;
  constructor(
    readonly signal: AbortSignal,
    readonly onAbort: (group: AbortGroup) => void,
  ) {}

  /** The group itself is the signal's listener. */
  handleEvent(): void {
    this.onAbort(this);
  }
}

/**
 * Listens to the callers' AbortSignals, once to each: Node looks through all listeners of a signal whenever one is added or
 * removed, so one per message would cost the square of their number when many messages share a signal.
 */
export class Aborts {
  readonly #groups = new Map<AbortSignal, AbortGroup>();
  readonly #onAbort: (entries: Entry[], reason: unknown) => void;

  /** `onAbort` gets all messages of the signal that was aborted; they are no longer listened for. */
  constructor(onAbort: (entries: Entry[], reason: unknown) => void) {
    this.#onAbort = onAbort;
  }

  add(limits: Limits, signal: AbortSignal): void {
    let group = this.#groups.get(signal);
    if (group === undefined) {
      group = new AbortGroup(signal, (aborted) => this.#aborted(aborted));
      this.#groups.set(signal, group);
      expectManyListeners(signal);
      signal.addEventListener('abort', group, { once: true });
    }
    limits.group = group;
    limits.next = group.head;
    if (group.head !== undefined) group.head.prev = limits;
    group.head = limits;
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
    if (group.head === undefined) {
      group.signal.removeEventListener('abort', group);
      this.#groups.delete(group.signal);
    }
  }

  #aborted(group: AbortGroup): void {
    const entries: Entry[] = [];
    for (let limits = group.head; limits !== undefined; limits = group.head) {
      entries.push(limits.entry);
      this.remove(limits);
    }
    // The newest stands first in the group.
    this.#onAbort(entries.reverse(), group.signal.reason);
  }
}
