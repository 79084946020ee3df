/**
 * A set of integers kept as sorted, disjoint runs, so that what is dense costs nothing: a million consecutive sequences
 * are one run. All that happens in order (append at the end, remove at the front) is O(1).
 *
 * Each run may carry two marks, numbers that say something of the integer right below it and of its own first one (the
 * cursor keeps their timestamps there). NaN: nothing is known.
 */
export class Runs {
  #low: number[] = [];
  #high: number[] = [];
  #below: number[] = [];
  #first: number[] = [];
  /** Index of the first run; those before it are spent, and cleared away now and then instead of shifted each time. */
  #head = 0;
  #size = 0;

  /** How many integers. */
  get size(): number {
    return this.#size;
  }

  /** How many runs: what the set costs. */
  get runs(): number {
    return this.#low.length - this.#head;
  }

  /** The smallest integer; NaN when empty. */
  get min(): number {
    return this.#size === 0 ? NaN : this.#low[this.#head]!;
  }

  /** The largest integer; NaN when empty. */
  get max(): number {
    return this.#size === 0 ? NaN : this.#high[this.#high.length - 1]!;
  }

  /** What is known of the integer below the smallest one. */
  get markBelowMin(): number {
    return this.#size === 0 ? NaN : this.#below[this.#head]!;
  }

  /** What is known of the smallest one. */
  get markOfMin(): number {
    return this.#size === 0 ? NaN : this.#first[this.#head]!;
  }

  has(n: number): boolean {
    const last = this.#low.length - 1;
    if (last < this.#head || n > this.#high[last]!) return false;
    const i = this.#find(n);
    return i <= last && n >= this.#low[i]!;
  }

  /** Adds an integer above all others. The marks, of the one below and of itself, are kept if a new run starts here. */
  append(n: number, below: number, own: number): void {
    const last = this.#high.length - 1;
    this.#size++;
    if (last >= this.#head && this.#high[last]! + 1 === n) {
      this.#high[last] = n;
      return;
    }
    this.#low.push(n);
    this.#high.push(n);
    this.#below.push(below);
    this.#first.push(own);
  }

  /** Adds an integer anywhere. False if it was there. */
  add(n: number, own = NaN): boolean {
    const length = this.#low.length;
    if (length === this.#head || n > this.#high[length - 1]!) {
      this.append(n, NaN, own);
      return true;
    }
    const i = this.#find(n);
    if (n >= this.#low[i]!) return false;
    const touchesLeft = i > this.#head && this.#high[i - 1]! + 1 === n;
    const touchesRight = this.#low[i]! - 1 === n;
    if (touchesLeft && touchesRight) {
      this.#high[i - 1] = this.#high[i]!;
      this.#cut(i);
    } else if (touchesLeft) {
      this.#high[i - 1] = n;
    } else if (touchesRight) {
      this.#low[i] = n;
      this.#below[i] = NaN;
      this.#first[i] = own;
    } else {
      this.#low.splice(i, 0, n);
      this.#high.splice(i, 0, n);
      this.#below.splice(i, 0, NaN);
      this.#first.splice(i, 0, own);
    }
    this.#size++;
    return true;
  }

  /** Removes an integer; `mark` is what is known of it, for a run that now starts right above. False if it was not there. */
  remove(n: number, mark: number): boolean {
    const head = this.#head;
    // In order: the front of the first run.
    if (this.#size > 0 && this.#low[head] === n) {
      this.#size--;
      if (this.#high[head] === n) {
        this.#dropHead();
      } else {
        this.#low[head] = n + 1;
        this.#below[head] = mark;
        this.#first[head] = NaN;
      }
      return true;
    }
    if (!this.has(n)) return false;
    const i = this.#find(n);
    this.#size--;
    const low = this.#low[i]!;
    const high = this.#high[i]!;
    if (low === high) {
      this.#cut(i);
    } else if (n === low) {
      this.#low[i] = n + 1;
      this.#below[i] = mark;
      this.#first[i] = NaN;
    } else if (n === high) {
      this.#high[i] = n - 1;
    } else {
      this.#high[i] = n - 1;
      this.#low.splice(i + 1, 0, n + 1);
      this.#high.splice(i + 1, 0, high);
      this.#below.splice(i + 1, 0, mark);
      this.#first.splice(i + 1, 0, NaN);
    }
    return true;
  }

  /** Forgets the lowest run. */
  dropLowest(): void {
    if (this.#size === 0) return;
    this.#size -= this.#high[this.#head]! - this.#low[this.#head]! + 1;
    this.#dropHead();
  }

  clear(): void {
    this.#size = 0;
    this.#reset();
  }

  /** The runs as pairs, for those who look. */
  *[Symbol.iterator](): IterableIterator<[low: number, high: number]> {
    for (let i = this.#head; i < this.#low.length; i++) yield [this.#low[i]!, this.#high[i]!];
  }

  /** Index of the first run that ends at or above n; there must be one. */
  #find(n: number): number {
    let from = this.#head;
    let to = this.#high.length - 1;
    while (from < to) {
      const middle = (from + to) >>> 1;
      if (this.#high[middle]! < n) from = middle + 1;
      else to = middle;
    }
    return from;
  }

  #cut(i: number): void {
    if (i === this.#head) {
      this.#dropHead();
      return;
    }
    this.#low.splice(i, 1);
    this.#high.splice(i, 1);
    this.#below.splice(i, 1);
    this.#first.splice(i, 1);
  }

  #dropHead(): void {
    this.#head++;
    if (this.#head === this.#low.length) {
      this.#reset();
    } else if (this.#head >= 64 && this.#head * 2 >= this.#low.length) {
      this.#low.splice(0, this.#head);
      this.#high.splice(0, this.#head);
      this.#below.splice(0, this.#head);
      this.#first.splice(0, this.#head);
      this.#head = 0;
    }
  }

  #reset(): void {
    this.#low.length = 0;
    this.#high.length = 0;
    this.#below.length = 0;
    this.#first.length = 0;
    this.#head = 0;
  }
}
