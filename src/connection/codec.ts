/**
 * Reads and writes the NATS Streaming messages that flow once per published or delivered message: PubMsg, PubAck, MsgProto and
 * Ack. The wrapped client uses protobuf objects and several copies, which cost more than everything else that happens to a
 * message. All other protocol messages stay with the wrapped client.
 *
 * Pure. It reads the strings of the NATS client, which have one character per byte. It writes whole NATS frames, so that a
 * payload is copied once.
 */
import type { RawMessage } from './protocol.js';

/** The length of a GUID, as in the wrapped client. Limits on the size of a message depend on it. */
export const GUID_LENGTH = 22;
const DIGITS = 8;
/**
 * The number of different message numbers, which are the last digits of a GUID. There are never as many unacknowledged
 * messages.
 */
const NUMBERS = 32 ** DIGITS;

/** The tags of protobuf, each with field number and wire type. */
const Tag = {
  ACK_GUID: 0x0a,
  ACK_ERROR: 0x12,
  ACKED_CHANNEL: 0x0a,
  ACKED_SEQUENCE: 0x10,
  PUB_CLIENT: 0x0a,
  PUB_GUID: 0x12,
  PUB_CHANNEL: 0x1a,
  PUB_DATA: 0x2a,
  PUB_CONNECTION: 0x32,
  MSG_SEQUENCE: 0x08,
  MSG_DATA: 0x22,
  MSG_TIMESTAMP: 0x28,
  MSG_REDELIVERED: 0x30,
  MSG_REDELIVERY_COUNT: 0x38,
} as const;

const CR = 13;
const LF = 10;

// ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────────

/** The position in the frame that is being read. A returned pair would cost an object for each field. */
let position = 0;

function varint(frame: string): number {
  let byte = frame.charCodeAt(position++);
  if (byte < 0x80) return byte;
  let low = 0;
  let high = 0;
  for (let shift = 0; shift < 70; shift += 7) {
    const bits = byte & 0x7f;
    if (shift < 28) low |= bits << shift;
    else if (shift === 28) {
      low |= bits << 28;
      high = bits >>> 4;
    } else high |= bits << (shift - 32);
    // This also ends the loop behind the frame, where the byte is NaN. `checkEnd` checks the position.
    if (!(byte >= 0x80)) return (high >>> 0) * 0x1_0000_0000 + (low >>> 0);
    byte = frame.charCodeAt(position++);
  }
  throw new Error('a frame of the protocol is malformed: a number has no end');
}

/** Reads the same number exactly. It is only used when somebody asks, because a bigint is an object. */
function exactVarint(frame: string, at: number): bigint {
  let value = 0n;
  for (let shift = 0n; ; shift += 7n) {
    const byte = frame.charCodeAt(at++);
    value |= BigInt(byte & 0x7f) << shift;
    if (byte < 0x80) return BigInt.asIntN(64, value);
  }
}

/** Skips the value of a field that is not needed. */
function skip(frame: string, tag: number): void {
  const type = tag & 7;
  if (tag < 8 || (type !== 0 && type !== 1 && type !== 2 && type !== 5)) {
    throw new Error(`a frame of the protocol is malformed: there is no field with the tag ${tag}`);
  }
  // This is a statement of its own, because `position +=` would read the position before `varint` moves it.
  const length = type === 1 ? 8 : type === 5 ? 4 : varint(frame);
  if (type !== 0) position += length;
}

function checkEnd(frame: string): void {
  if (!(position <= frame.length)) throw new Error('a frame of the protocol is malformed: it ends within a field');
}

/** Reads the text of a length-delimited field. */
function text(frame: string): string {
  const length = varint(frame);
  const start = position;
  position += length;
  checkEnd(frame);
  return Buffer.from(frame.slice(start, position), 'latin1').toString('utf8');
}

export interface PubAckFrame {
  guid: string;
  /** The server's text; empty if the message is stored. */
  error: string;
}

/**
 * Reads an acknowledgement.
 * @throws Error when the frame is malformed
 */
export function readPubAck(frame: string): PubAckFrame {
  const ack: PubAckFrame = { guid: '', error: '' };
  position = 0;
  while (position < frame.length) {
    const tag = varint(frame);
    if (tag === Tag.ACK_GUID) ack.guid = text(frame);
    else if (tag === Tag.ACK_ERROR) ack.error = text(frame);
    else skip(frame, tag);
  }
  checkEnd(frame);
  return ack;
}

/** Returns the GUID of an acknowledgement that has no other field, as nearly all are; undefined for any other frame. */
export function guidOfPlainAck(frame: string): string | undefined {
  const plain =
    frame.length === GUID_LENGTH + 2 && frame.charCodeAt(0) === Tag.ACK_GUID && frame.charCodeAt(1) === GUID_LENGTH;
  return plain ? frame.slice(2) : undefined;
}

/** Returns the number at the end of a GUID of ours. For another GUID it is any number or NaN. */
export function numberOf(guid: string): number {
  let number = 0;
  for (let i = GUID_LENGTH - DIGITS; i < GUID_LENGTH; i++) {
    const code = guid.charCodeAt(i);
    number = number * 32 + (code < 58 ? code - 48 : code - 55);
  }
  return number;
}

/** A received message. Its payload is decoded when it is used. */
export class MessageFrame implements RawMessage {
  readonly #frame: string;
  readonly #sequence: number = 0;
  readonly #timestamp: number = 0;
  /** The position of the timestamp in the frame; 0 if there is none. */
  readonly #timestampAt: number = 0;
  readonly #redelivered: boolean = false;
  readonly #redeliveryCount: number = 0;
  readonly #dataStart: number = 0;
  readonly #dataEnd: number = 0;

  /** @throws Error when the frame is malformed */
  constructor(frame: string) {
    this.#frame = frame;
    position = 0;
    while (position < frame.length) {
      const tag = varint(frame);
      switch (tag) {
        case Tag.MSG_SEQUENCE:
          this.#sequence = varint(frame);
          break;
        case Tag.MSG_DATA: {
          const length = varint(frame);
          this.#dataStart = position;
          this.#dataEnd = position += length;
          break;
        }
        case Tag.MSG_TIMESTAMP:
          this.#timestampAt = position;
          this.#timestamp = varint(frame);
          break;
        case Tag.MSG_REDELIVERED:
          this.#redelivered = varint(frame) !== 0;
          break;
        case Tag.MSG_REDELIVERY_COUNT:
          this.#redeliveryCount = varint(frame);
          break;
        default:
          skip(frame, tag);
      }
    }
    checkEnd(frame);
  }

  getSequence(): number {
    return this.#sequence;
  }

  getTimestampRaw(): number {
    return this.#timestamp;
  }

  getTimestampNanos(): bigint {
    return this.#timestampAt === 0 ? 0n : exactVarint(this.#frame, this.#timestampAt);
  }

  isRedelivered(): boolean {
    return this.#redelivered;
  }

  getRedeliveryCount(): number {
    return this.#redeliveryCount;
  }

  getRawData(): Buffer {
    return Buffer.from(this.#frame.slice(this.#dataStart, this.#dataEnd), 'latin1');
  }
}

// ── writing ───────────────────────────────────────────────────────────────────────────────────────────────────────

function varintLength(value: number): number {
  let length = 1;
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) length++;
  return length;
}

function writeVarint(target: Uint8Array, at: number, value: number): number {
  let rest = value;
  while (rest >= 128) {
    target[at++] = (rest % 128) | 0x80;
    rest = Math.floor(rest / 128);
  }
  target[at++] = rest;
  return at;
}

function decimalLength(value: number): number {
  let length = 1;
  for (let rest = value; rest >= 10; rest = Math.floor(rest / 10)) length++;
  return length;
}

/** Writes the length of the payload in decimal, and the end of the line. */
function writeLength(target: Uint8Array, at: number, value: number): number {
  const end = at + decimalLength(value);
  for (let i = end - 1, rest = value; i >= at; i--) {
    target[i] = 48 + (rest % 10);
    rest = Math.floor(rest / 10);
  }
  target[end] = CR;
  target[end + 1] = LF;
  return end + 2;
}

/** Returns a protobuf field with text. */
function textField(tag: number, value: string | Uint8Array): Buffer {
  const bytes = typeof value === 'string' ? Buffer.from(value, 'utf8') : value;
  const head = [tag];
  for (let rest = bytes.length; ; rest >>>= 7) {
    head.push(rest < 128 ? rest : (rest & 0x7f) | 0x80);
    if (rest < 128) break;
  }
  return Buffer.concat([Uint8Array.from(head), bytes]);
}

/** The bytes that all frames of one channel share. */
interface Template {
  /** The line of the NATS frame, up to the length. */
  line: Buffer;
  /** The fields of the PubMsg before the last digits of the GUID. */
  fields: Buffer;
}

/** The most channels that are remembered. */
const TEMPLATES = 1024;

/** Writes the publish frames of one session. */
export class PublishFrames {
  readonly #subject: string;
  readonly #inbox: string;
  readonly #client: Buffer;
  readonly #rest: Buffer;
  readonly #templates = new Map<string, Template>();

  /**
   * @param options.subject the prefix of the subjects that publishes go to, without the last dot
   * @param options.inbox the subject that acknowledgements go to
   * @param options.guid the beginning of all GUIDs, with {@link GUID_PREFIX_LENGTH} characters
   */
  constructor(options: { subject: string; inbox: string; clientId: string; connectionId: Uint8Array; guid: string }) {
    this.#subject = options.subject;
    this.#inbox = options.inbox;
    this.#client = textField(Tag.PUB_CLIENT, options.clientId);
    this.#rest = Buffer.concat([
      textField(Tag.PUB_CONNECTION, options.connectionId),
      Uint8Array.of(Tag.PUB_GUID, GUID_LENGTH),
      Buffer.from(options.guid, 'latin1'),
    ]);
  }

  /**
   * Returns the frame of one publish.
   * @param number the number of the message in the session; see {@link numberOf}
   */
  frame(channel: string, data: Uint8Array, number: number): Buffer {
    const { line, fields } = this.#templates.get(channel) ?? this.#template(channel);
    const size = data.length;
    const length = fields.length + DIGITS + (size === 0 ? 0 : 1 + varintLength(size) + size);
    const frame = Buffer.allocUnsafe(line.length + decimalLength(length) + length + 4);
    frame.set(line);
    let at = writeLength(frame, line.length, length);
    frame.set(fields, at);
    at += fields.length + DIGITS;
    for (let i = at - 1, rest = number; i >= at - DIGITS; i--) {
      const digit = rest % 32;
      frame[i] = digit < 10 ? 48 + digit : 55 + digit;
      rest = Math.floor(rest / 32);
    }
    if (size > 0) {
      frame[at] = Tag.PUB_DATA;
      at = writeVarint(frame, at + 1, size);
      frame.set(data, at);
      at += size;
    }
    frame[at] = CR;
    frame[at + 1] = LF;
    return frame;
  }

  #template(channel: string): Template {
    const template = {
      line: Buffer.from(`PUB ${this.#subject}.${channel} ${this.#inbox} `, 'latin1'),
      fields: Buffer.concat([this.#client, textField(Tag.PUB_CHANNEL, channel), this.#rest]),
    };
    if (this.#templates.size >= TEMPLATES) this.#templates.clear();
    this.#templates.set(channel, template);
    return template;
  }
}

/** The length of the GUID part that is the same in a whole session. */
export const GUID_PREFIX_LENGTH = GUID_LENGTH - DIGITS;

/** Returns the next number. */
export const nextNumber = (number: number): number => (number + 1) % NUMBERS;

/** Writes the acknowledgement frames of one subscription. */
export class AckFrames {
  readonly #line: Buffer;
  readonly #fields: Buffer;

  /** @param inbox the subject where the server wants the acknowledgements */
  constructor(inbox: string, channel: string) {
    this.#line = Buffer.from(`PUB ${inbox} `, 'latin1');
    this.#fields = Buffer.concat([textField(Tag.ACKED_CHANNEL, channel), Uint8Array.of(Tag.ACKED_SEQUENCE)]);
  }

  frame(sequence: number): Buffer {
    const length = this.#fields.length + varintLength(sequence);
    const frame = Buffer.allocUnsafe(this.#line.length + decimalLength(length) + length + 4);
    frame.set(this.#line);
    let at = writeLength(frame, this.#line.length, length);
    frame.set(this.#fields, at);
    at = writeVarint(frame, at + this.#fields.length, sequence);
    frame[at] = CR;
    frame[at + 1] = LF;
    return frame;
  }
}
