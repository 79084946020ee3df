/** The headers that a copied message carries, so that each of them can be traced to its original. Pure. */

/** The sequence that the message had in STAN. */
export const STAN_SEQUENCE = 'Stan-Sequence';
/** When STAN has stored it, in UTC, as `2026-01-31T08:00:00.123456789Z`. */
export const STAN_TIMESTAMP = 'Stan-Timestamp';

/** The longest that the headers of a copied message are on the wire, in bytes: a bound, for a check before the copy. */
export const HEADER_BYTES = 256;

/** The ID by which the target knows a copied message: no other one has it on this channel. */
export const messageId = (sequence: number): string => `stan:${sequence}`;

/**
 * The headers of a message on its way into a stream, as they are on the wire.
 * @param chained whether the target has to know the message before by its ID
 */
export function copyHeaders(sequence: number, timestamp: string, chained: boolean): string {
  return (
    `NATS/1.0\r\nNats-Msg-Id: ${messageId(sequence)}\r\nNats-Expected-Last-Sequence: ${sequence - 1}\r\n` +
    (chained ? `Nats-Expected-Last-Msg-Id: ${messageId(sequence - 1)}\r\n` : '') +
    `${STAN_SEQUENCE}: ${sequence}\r\n${STAN_TIMESTAMP}: ${timestamp}\r\n\r\n`
  );
}

/** The second that was formatted last, and its text: messages come in the order of their times. */
let lastSecond = Number.NaN;
let lastText = '';

/** @param nanos ns since 1970-01-01 */
export function formatTimestamp(nanos: bigint): string {
  const second = Number(nanos / 1_000_000_000n);
  if (second !== lastSecond) {
    lastText = new Date(second * 1000).toISOString().slice(0, 20);
    lastSecond = second;
  }
  return `${lastText}${String(nanos % 1_000_000_000n).padStart(9, '0')}Z`;
}

/** The time in ns since 1970-01-01. Undefined when the text is not as {@link formatTimestamp} writes it. */
export function parseTimestamp(text: string): bigint | undefined {
  const [, start, fraction] = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(\d{9})Z$/.exec(text) ?? [];
  if (start === undefined || fraction === undefined) return undefined;
  const ms = Date.parse(`${start}Z`);
  return Number.isNaN(ms) ? undefined : BigInt(ms) * 1_000_000n + BigInt(fraction);
}
