/** A long row of numbers by index, in pages. It may grow for hours, and may begin at sequence one billion. */

const PAGE = 4096;

type Page = Uint8Array | Uint16Array | Uint32Array | Float64Array;

export class Column {
  readonly #make: (length: number) => Page;
  readonly #pages = new Map<number, Page>();
  #lastIndex = -1;
  #lastPage: Page | undefined;

  constructor(kind: new (length: number) => Page) {
    this.#make = (length) => new kind(length);
  }

  /** The number at an index. 0 where none was set. */
  get(index: number): number {
    return this.#page(index)?.[index % PAGE] ?? 0;
  }

  set(index: number, value: number): void {
    let page = this.#page(index);
    if (!page) {
      page = this.#make(PAGE);
      this.#pages.set(Math.floor(index / PAGE), page);
      this.#lastPage = page;
    }
    page[index % PAGE] = value;
  }

  clear(): void {
    this.#pages.clear();
    this.#lastIndex = -1;
    this.#lastPage = undefined;
  }

  /** The page of an index. The last one is kept at hand, because neighbours are mostly asked for one after the other. */
  #page(index: number): Page | undefined {
    const number = Math.floor(index / PAGE);
    if (number !== this.#lastIndex) {
      this.#lastIndex = number;
      this.#lastPage = this.#pages.get(number);
    }
    return this.#lastPage;
  }
}
