/** The payloads that the checker publishes: `publisher-counter`, repeated up to a size. Pure. */
import { InvalidArgumentError } from '../../errors.js';

export interface Value {
  publisher: string;
  counter: number;
}

const PUBLISHER = /^[A-Za-z0-9_.-]{1,100}$/;

/** @throws InvalidArgumentError */
export function checkPublisherName(name: string): void {
  if (PUBLISHER.test(name)) return;
  throw new InvalidArgumentError('publisher', `a publisher's name is letters, digits, '_', '-' and '.', not '${name}'`);
}

/** The payload of a value: `p1-42`, or repeated up to `size` bytes: `p1-42 p1-42 p1-4`. It is never shorter than the value. */
export function encodeValue({ publisher, counter }: Value, size = 0): string {
  const value = `${publisher}-${counter}`;
  if (size <= value.length) return value;
  return `${value} `.repeat(Math.ceil(size / (value.length + 1))).slice(0, size);
}

/** The value of a payload. Undefined when {@link encodeValue} has not written it: it is somebody else's, or was changed. */
export function decodeValue(data: Uint8Array): Value | undefined {
  const text = Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('latin1');
  const end = text.indexOf(' ');
  const head = end < 0 ? text : text.slice(0, end);
  const dash = head.lastIndexOf('-');
  const digits = head.slice(dash + 1);
  if (!PUBLISHER.test(head.slice(0, Math.max(dash, 0))) || !/^(0|[1-9]\d{0,14})$/.test(digits)) return undefined;
  const value = { publisher: head.slice(0, dash), counter: Number(digits) };
  return encodeValue(value, text.length) === text ? value : undefined;
}
