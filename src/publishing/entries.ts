import type { Entry } from './entry.js';

/** A list of messages that live in it by their own links: every operation takes constant time, except where it says so. */
export class Entries {
  head: Entry | undefined = undefined;
  tail: Entry | undefined = undefined;
  size = 0;

  push(entry: Entry): void {
    this.#insertAfter(this.tail, entry);
  }

  remove(entry: Entry): void {
    const { prev, next } = entry;
    if (prev === undefined) this.head = next;
    else prev.next = next;
    if (next === undefined) this.tail = prev;
    else next.prev = prev;
    entry.prev = undefined;
    entry.next = undefined;
    entry.list = undefined;
    this.size--;
  }

  /** Keeps the order of the publish() calls. Constant time for what belongs at either end, which is the usual case. */
  insert(entry: Entry): void {
    if (this.head !== undefined && entry.order < this.head.order) {
      this.#insertAfter(undefined, entry);
      return;
    }
    let before = this.tail;
    while (before !== undefined && before.order > entry.order) before = before.prev;
    this.#insertAfter(before, entry);
  }

  copyInto(array: Entry[]): void {
    for (let entry = this.head; entry !== undefined; entry = entry.next) array.push(entry);
  }

  /** Takes everything out, first to last. */
  drainInto(array: Entry[]): void {
    for (let entry = this.head; entry !== undefined; entry = this.head) {
      this.remove(entry);
      array.push(entry);
    }
  }

  /** Takes all of another list in, both being in the order of the publish() calls. Costs the length of both. */
  merge(other: Entries): void {
    let before: Entry | undefined;
    for (let entry = other.head; entry !== undefined; entry = other.head) {
      other.remove(entry);
      let after = before === undefined ? this.head : before.next;
      while (after !== undefined && after.order < entry.order) {
        before = after;
        after = after.next;
      }
      this.#insertAfter(before, entry);
      before = entry;
    }
  }

  #insertAfter(before: Entry | undefined, entry: Entry): void {
    const after = before === undefined ? this.head : before.next;
    entry.prev = before;
    entry.next = after;
    entry.list = this;
    if (before === undefined) this.head = entry;
    else before.next = entry;
    if (after === undefined) this.tail = entry;
    else after.prev = entry;
    this.size++;
  }
}
