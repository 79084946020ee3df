/** How `sub` writes a message. Pure. */
import { escapeInvisible } from '../printable.js';
import type { StanMessage } from '../subscribing/message.js';

export type Format = 'text' | 'json' | 'raw' | 'lines';

/** What is written of a message. It is everything that these formats read of it. */
export type Written = Pick<StanMessage, 'channel' | 'sequence' | 'timestamp' | 'redelivered' | 'data'>;

// A byte order mark is a part of the data.
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The text of bytes. Undefined when they are not valid UTF-8. */
export function textOf(data: Uint8Array): string | undefined {
  try {
    return utf8.decode(data);
  } catch {
    return undefined;
  }
}

/** What is written of one message, its end included. */
export function formatMessage(message: Written, format: Format): Uint8Array | string {
  switch (format) {
    case 'raw':
      return message.data;
    case 'lines':
      return Buffer.concat([message.data, Buffer.from('\n')]);
    case 'json':
      return `${JSON.stringify(jsonOf(message))}\n`;
    case 'text':
      return `${lineOf(message)}\n`;
  }
}

function jsonOf({ channel, sequence, timestamp, redelivered, data }: Written): object {
  const text = textOf(data);
  const head = { channel, sequence, timestamp: timestamp.toISOString(), redelivered };
  return text === undefined
    ? { ...head, dataBase64: Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('base64') }
    : { ...head, data: text };
}

/** How many bytes are shown of data that is no text. */
const SHOWN = 24;

/** One line, whatever is in the message: characters that a terminal would obey are escaped. */
function lineOf({ sequence, timestamp, redelivered, data }: Written): string {
  const text = textOf(data);
  const shown =
    text === undefined
      ? `(${data.length} ${data.length === 1 ? 'byte' : 'bytes'}, no text: ${[...data.subarray(0, SHOWN)].map((byte) => byte.toString(16).padStart(2, '0')).join(' ')}${data.length > SHOWN ? ' …' : ''})`
      : text === ''
        ? '(empty)'
        : escapeInvisible(text);
  const time = timestamp.toISOString().replace('T', ' ').replace('Z', '');
  return `#${sequence}  ${time}  ${redelivered ? '(again) ' : ''}${shown}`;
}
