/**
 * A set of integers that is kept as sorted, disjoint ranges, so that a million consecutive integers need one range. Appending
 * at the end and removing at the front take constant time and allocate nothing.
 *
 * Each range may have two marks: one number for the integer right below the range, and one for its first integer. NaN means
 * that a mark is not known. The cursor keeps timestamps in the marks.
 */
export class RangeSet {
  #low = new Float64Array(8);
  #high = new Float64Array(8);
  #below = new Float64Array(8);
  #first = new Float64Array(8);
  /** The index of the first range. The removed ranges before it are not moved away each time. */
  #head = 0;
  /** The index after the last range. */
  #end = 0;
  #size = 0;

  /** The number of integers. */
  get size(): number {
    return this.#size;
  }

  /** The number of ranges, which is what the set costs. */
  get ranges(): number {
    return this.#end - this.#head;
  }

  /** The smallest integer; NaN if the set is empty. */
  get min(): number {
    return this.#size === 0 ? NaN : this.#low[this.#head]!;
  }

  /** The largest integer; NaN if the set is empty. */
  get max(): number {
    return this.#size === 0 ? NaN : this.#high[this.#end - 1]!;
  }

  /** Returns the range that contains n, or the lowest one above n, with its marks. */
  rangeFrom(n: number): { low: number; high: number; below: number; first: number } | undefined {
    if (this.#size === 0 || n > this.#high[this.#end - 1]!) return undefined;
    const i = this.#find(n);
    return { low: this.#low[i]!, high: this.#high[i]!, below: this.#below[i]!, first: this.#first[i]! };
  }

  has(n: number): boolean {
    if (this.#size === 0 || n > this.#high[this.#end - 1]!) return false;
    return n >= this.#low[this.#find(n)]!;
  }

  /** Adds an integer above all others. The marks, of the integer below it and of itself, are kept if a new range starts here. */
  append(n: number, below: number, own: number): void {
    const end = this.#end;
    this.#size++;
    if (end > this.#head && this.#high[end - 1]! + 1 === n) {
      this.#high[end - 1] = n;
      return;
    }
    if (end === this.#low.length) this.#makeRoom();
    this.#set(this.#end++, n, n, below, own);
  }

  /** Adds integers above all others. Both ends are added. */
  appendRange(from: number, to: number): void {
    if (from > to) return;
    this.append(from, NaN, NaN);
    this.#size += to - from;
    this.#high[this.#end - 1] = to;
  }

  /** Adds any integer. Returns false if the set had it. */
  add(n: number, own = NaN): boolean {
    if (this.#size === 0 || n > this.#high[this.#end - 1]!) {
      this.append(n, NaN, own);
      return true;
    }
    const i = this.#find(n);
    if (n >= this.#low[i]!) return false;
    this.#size++;
    const touchesLeft = i > this.#head && this.#high[i - 1]! + 1 === n;
    const touchesRight = this.#low[i]! - 1 === n;
    if (touchesLeft && touchesRight) {
      this.#high[i - 1] = this.#high[i]!;
      this.#cut(i);
    } else if (touchesLeft) {
      this.#high[i - 1] = n;
    } else if (touchesRight) {
      this.#set(i, n, this.#high[i]!, NaN, own);
    } else {
      this.#insert(i, n, n, NaN, own);
    }
    return true;
  }

  /**
   * Removes an integer. Returns false if the set did not have it.
   * @param mark the mark of the integer, for a range that now starts right above it
   */
  remove(n: number, mark: number): boolean {
    if (this.#size === 0) return false;
    // Most integers are removed in order, from the front of the first range.
    const i = this.#low[this.#head] === n ? this.#head : this.has(n) ? this.#find(n) : -1;
    if (i === -1) return false;
    this.#size--;
    const low = this.#low[i]!;
    const high = this.#high[i]!;
    if (low === high) {
      this.#cut(i);
    } else if (n === low) {
      this.#low[i] = n + 1;
      this.#below[i] = mark;
      this.#first[i] = NaN;
    } else {
      this.#high[i] = n - 1;
      if (n !== high) this.#insert(i + 1, n + 1, high, mark, NaN);
    }
    return true;
  }

  /** Removes the lowest range. */
  dropLowest(): void {
    if (this.#size === 0) return;
    this.#size -= this.#high[this.#head]! - this.#low[this.#head]! + 1;
    this.#cut(this.#head);
  }

  clear(): void {
    this.#head = this.#end = this.#size = 0;
  }

  /** Iterates over the ranges as pairs. */
  *[Symbol.iterator](): IterableIterator<[low: number, high: number]> {
    for (let i = this.#head; i < this.#end; i++) yield [this.#low[i]!, this.#high[i]!];
  }

  /** Returns the index of the first range that ends at or above n. There must be one. */
  #find(n: number): number {
    let from = this.#head;
    let to = this.#end - 1;
    while (from < to) {
      const middle = (from + to) >>> 1;
      if (this.#high[middle]! < n) from = middle + 1;
      else to = middle;
    }
    return from;
  }

  #set(i: number, low: number, high: number, below: number, own: number): void {
    this.#low[i] = low;
    this.#high[i] = high;
    this.#below[i] = below;
    this.#first[i] = own;
  }

  #insert(i: number, low: number, high: number, below: number, own: number): void {
    if (this.#end === this.#low.length) i -= this.#makeRoom();
    this.#move(i + 1, i);
    this.#end++;
    this.#set(i, low, high, below, own);
  }

  #cut(i: number): void {
    if (i === this.#head) {
      this.#head++;
      if (this.#head === this.#end) this.#head = this.#end = 0;
      return;
    }
    this.#move(i, i + 1);
    this.#end--;
  }

  /** Moves the ranges from index `from` on to index `to`. */
  #move(to: number, from: number): void {
    this.#low.copyWithin(to, from, this.#end);
    this.#high.copyWithin(to, from, this.#end);
    this.#below.copyWithin(to, from, this.#end);
    this.#first.copyWithin(to, from, this.#end);
  }

  /**
   * Makes room for another range: by using the space of removed ranges if that is at least half, and otherwise with more
   * memory. Returns by how much the indexes have decreased.
   */
  #makeRoom(): number {
    const head = this.#head;
    if (head * 2 >= this.#end) {
      this.#move(0, head);
    } else {
      const grown = (old: Float64Array): Float64Array<ArrayBuffer> => {
        const array = new Float64Array(old.length * 2);
        array.set(old.subarray(head, this.#end));
        return array;
      };
      this.#low = grown(this.#low);
      this.#high = grown(this.#high);
      this.#below = grown(this.#below);
      this.#first = grown(this.#first);
    }
    this.#head = 0;
    this.#end -= head;
    return head;
  }
}

/** Returns integers as ascending ranges of consecutive ones. Both ends belong to the range. */
export function rangesOf(integers: readonly number[]): { from: number; to: number }[] {
  const ranges: { from: number; to: number }[] = [];
  for (const n of [...integers].sort((a, b) => a - b)) {
    const last = ranges.at(-1);
    if (last?.to === n - 1) last.to = n;
    else ranges.push({ from: n, to: n });
  }
  return ranges;
}
