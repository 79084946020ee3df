/** Takes one file out of a small tar archive. The archive has been verified before. */

const BLOCK = 512;

/** The content of the first regular file with this base name. */
export function extractFile(tar: Uint8Array, baseName: string): Uint8Array | undefined {
  let offset = 0;
  while (offset + BLOCK <= tar.length) {
    const header = tar.subarray(offset, offset + BLOCK);
    if (header.every((byte) => byte === 0)) return undefined; // the end mark
    const name = text(header, 0, 100);
    const size = octal(header, 124, 12);
    const type = String.fromCharCode(header[156] ?? 0);
    const content = offset + BLOCK;
    if (!Number.isSafeInteger(size) || content + size > tar.length) return undefined;
    // '0', or NUL in the oldest format, is a regular file.
    if ((type === '0' || type === '\0') && name.split('/').pop() === baseName) {
      return tar.subarray(content, content + size);
    }
    offset = content + Math.ceil(size / BLOCK) * BLOCK;
  }
  return undefined;
}

function text(header: Uint8Array, start: number, length: number): string {
  const field = header.subarray(start, start + length);
  const end = field.indexOf(0);
  return Buffer.from(end < 0 ? field : field.subarray(0, end)).toString('latin1');
}

function octal(header: Uint8Array, start: number, length: number): number {
  return Number.parseInt(text(header, start, length).trim() || '0', 8);
}
