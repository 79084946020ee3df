import { InvalidArgumentError } from '../errors.js';

/** The size of the blocks that small payloads share, in bytes. A typed array of its own costs some 200 bytes beside its content. */
const BLOCK = 16 * 1024;
/** The largest payload that counts as small, in bytes. */
const SMALL = 2 * 1024;

const BYTE_LENGTH = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype), 'byteLength')!;

/** Reads the engine's own property, because an array of a caller may have one that lies or throws. */
const byteLength = (data: Uint8Array): number => BYTE_LENGTH.get!.call(data) as number;

/**
 * Returns the length of a payload in bytes.
 * @throws InvalidArgumentError when the bytes are gone, because their buffer was transferred or shrunk
 */
export function payloadSize(data: string | Uint8Array): number {
  if (typeof data === 'string') return Buffer.byteLength(data);
  const size = byteLength(data);
  // An array whose bytes are gone says that it is empty. Only using it shows the difference.
  if (size === 0) {
    try {
      new Uint8Array(data);
    } catch (error) {
      throw new InvalidArgumentError(
        'data',
        'the bytes to be published are gone: their ArrayBuffer was transferred or resized (postMessage and ' +
          'structuredClone do that to what they are told to transfer); publish before that, or publish a copy',
        { cause: error, delivery: 'not-sent' },
      );
    }
  }
  return size;
}

/**
 * Copies payloads into blocks, and gives them out as views, without a further copy. A block is filled from the start to the end
 * and never written again, so that a view stays as it is. The garbage collector takes a block when its last message has gone.
 */
export class Payloads {
  #block: Uint8Array = new Uint8Array(0);
  #buffer: Buffer = Buffer.alloc(0);
  #used = 0;

  /** Where the copy of the last `keep` begins in the block that it returned, in bytes. */
  offset = 0;

  /** Copies the caller's bytes, so that he may reuse his array. */
  keep(data: Uint8Array): Uint8Array {
    const size = byteLength(data);
    if (size > SMALL) {
      this.offset = 0;
      return new Uint8Array(data);
    }
    this.offset = this.#reserve(size);
    this.#block.set(data, this.offset);
    return this.#block;
  }

  /**
   * Returns the bytes to hand to a session.
   * @param size the length of the payload in UTF-8, in bytes
   */
  bytes(body: string | Uint8Array, offset: number, size: number): Uint8Array {
    if (typeof body !== 'string') {
      return body.byteLength === size
        ? body
        : new Uint8Array(body.buffer as ArrayBuffer, body.byteOffset + offset, size);
    }
    // With as many bytes as characters it is plain ASCII, which is quicker to write as Latin-1.
    const encoding = size === body.length ? 'latin1' : 'utf8';
    if (size > SMALL) {
      const own = Buffer.allocUnsafeSlow(size);
      own.write(body, 0, size, encoding);
      return new Uint8Array(own.buffer, own.byteOffset, size);
    }
    const at = this.#reserve(size);
    this.#buffer.write(body, at, size, encoding);
    return new Uint8Array(this.#block.buffer as ArrayBuffer, this.#block.byteOffset + at, size);
  }

  #reserve(size: number): number {
    if (this.#used + size > this.#block.byteLength) {
      this.#buffer = Buffer.allocUnsafeSlow(BLOCK);
      this.#block = new Uint8Array(this.#buffer.buffer, this.#buffer.byteOffset, BLOCK);
      this.#used = 0;
    }
    const at = this.#used;
    this.#used += size;
    return at;
  }
}
