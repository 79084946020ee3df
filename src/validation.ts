/**
 * Checks what goes to a server: channel names, IDs, names of durables and groups, and payloads. The wrapped clients check
 * nothing: a line break in a name would be an injected command, and a space would end the connection.
 */
import { types } from 'node:util';
import { InvalidArgumentError, type ResilientStanErrorOptions } from './errors.js';
import { escapeInvisible } from './printable.js';

/** The longest name, in bytes. The file store makes a directory for each channel, and file systems take no longer names. */
const MAX_NAME_BYTES = 255;

// Tokens of visible ASCII without `*`, `>` and `/`, joined by single dots.
const CHANNEL = /^[!-)+,\-0-=?-~]+(?:\.[!-)+,\-0-=?-~]+)*$/;

/**
 * Checks a channel name by the server's rules and those of a NATS subject: tokens of visible ASCII characters, joined
 * by single dots, without wildcards and `/`, 255 bytes at most.
 *
 * @throws InvalidArgumentError that says which character is wrong, and where
 */
export function checkChannel(channel: unknown, options: ResilientStanErrorOptions = {}): asserts channel is string {
  // This is called for every publish, so a good name costs one regular expression.
  if (typeof channel === 'string' && channel.length <= MAX_NAME_BYTES && CHANNEL.test(channel)) return;
  throw new InvalidArgumentError('channel', `channel ${channelFault(channel)}`, options);
}

function channelFault(channel: unknown): string {
  if (typeof channel !== 'string') return `must be a string, not ${show(channel)}`;
  if (channel === '') return "is empty: a channel has a name, as in 'orders.created'";
  const slash = channel.indexOf('/');
  return (
    lengthFault(channel, " (the server's file store makes a directory of that name)") ??
    tokenFault(channel) ??
    `${quote(channel)} has a '/' at character ${slash + 1}, which the server refuses: separate with '.' instead`
  );
}

/** Why a name is not a literal NATS subject, or undefined. */
function tokenFault(name: string): string | undefined {
  for (let index = 0; index < name.length; index++) {
    const where = `at character ${index + 1}`;
    const char = name[index]!;
    if (char === '*' || char === '>') {
      return `${quote(name)} has the wildcard '${char}' ${where}: NATS Streaming has no wildcards, write every name in full`;
    }
    if (char === '.') {
      const rule = 'every token between dots needs a character';
      if (index === 0) return `${quote(name)} starts with a '.': ${rule}`;
      if (index === name.length - 1) return `${quote(name)} ends with a '.': ${rule}`;
      if (name[index + 1] === '.') return `${quote(name)} has two dots in a row ${where}: ${rule}`;
    }
    if (!isVisibleAscii(name.charCodeAt(index))) {
      return `${quote(name)} has ${nameOf(name, index)} ${where}: only visible ASCII characters are allowed`;
    }
  }
  return undefined;
}

/**
 * Checks a client ID by the server's own rule: `^[a-zA-Z0-9_-]+$`.
 *
 * @throws InvalidArgumentError
 */
export function checkClientId(clientId: unknown, argument = 'clientId'): asserts clientId is string {
  const fault = clientIdFault(clientId);
  if (fault !== undefined) throw new InvalidArgumentError(argument, `client ID ${fault}`);
}

/**
 * Checks a cluster ID. It is a part of every subject of the protocol, so it may have what a subject may have: visible ASCII
 * without wildcards, and dots between other characters. Whether it is the right one shows at connect, because servers do not
 * answer to a wrong one.
 *
 * @throws InvalidArgumentError
 */
export function checkClusterId(clusterId: unknown, argument = 'clusterId'): asserts clusterId is string {
  const fault = clusterIdFault(clusterId);
  if (fault !== undefined) throw new InvalidArgumentError(argument, `cluster ID ${fault}`);
}

function clusterIdFault(id: unknown): string | undefined {
  if (typeof id !== 'string') return `must be a string, not ${show(id)}`;
  if (id === '') return "is empty: it is the 'cluster_id' of the servers' configuration";
  return lengthFault(id) ?? tokenFault(id);
}

function clientIdFault(id: unknown): string | undefined {
  if (typeof id !== 'string') return `must be a string, not ${show(id)}`;
  if (id === '') return "is empty: use letters, digits, '-' and '_', or leave it out";
  const index = id.search(/[^a-zA-Z0-9_-]/);
  if (index < 0) return lengthFault(id);
  return `${quote(id)} has ${nameOf(id, index)} at character ${index + 1}: only letters, digits, '-' and '_' are allowed`;
}

function lengthFault(name: string, why = ''): string | undefined {
  if (name.length <= MAX_NAME_BYTES) return undefined;
  return `${quote(name)} is ${name.length} characters long, and ${MAX_NAME_BYTES} are the limit${why}`;
}

/**
 * Checks the name of a durable or of a queue group. `:` is refused, because the server joins the two names of a durable queue
 * group with it. White space and control characters are refused as well, because they would be a mistake. 255 bytes at most.
 *
 * @throws InvalidArgumentError
 */
export function checkSubscriptionName(name: unknown, argument: 'durableName' | 'queueGroup'): asserts name is string {
  const fault = subscriptionNameFault(name);
  if (fault !== undefined) throw new InvalidArgumentError(argument, `option '${argument}' ${fault}`);
}

function subscriptionNameFault(name: unknown): string | undefined {
  if (typeof name !== 'string') return `must be a string, not ${show(name)}`;
  if (name === '') return 'is empty: give it a name, or leave the option out';
  const bytes = Buffer.byteLength(name);
  if (bytes > MAX_NAME_BYTES) return `${quote(name)} is ${bytes} bytes long, and ${MAX_NAME_BYTES} are the limit`;
  for (let index = 0; index < name.length; index++) {
    if (name[index] === ':') {
      return `${quote(name)} has a ':' at character ${index + 1}: the server separates durable name and queue group with it, use another character`;
    }
    if (/[\s\p{Cc}]/u.test(name[index]!)) {
      return `${quote(name)} has ${nameOf(name, index)} at character ${index + 1}: white space and control characters are not allowed`;
    }
  }
  return undefined;
}

/**
 * Checks a payload: a string (sent as UTF-8) or bytes (`Uint8Array`, so `Buffer` too).
 *
 * @throws InvalidArgumentError that says how to convert what was given
 */
export function checkPayload(
  data: unknown,
  options: ResilientStanErrorOptions = {},
): asserts data is string | Uint8Array {
  // `instanceof` would refuse bytes of another realm (a vm context, some test runners).
  if (typeof data === 'string' || types.isUint8Array(data)) return;
  throw new InvalidArgumentError('data', `data must be a string or a Uint8Array, not ${payloadFault(data)}`, options);
}

function payloadFault(data: unknown): string {
  if (data === undefined || data === null)
    return `${String(data)}: for a message without content publish an empty string`;
  if (types.isAnyArrayBuffer(data)) return `an ${typeName(data)}: wrap it, new Uint8Array(data)`;
  if (ArrayBuffer.isView(data)) {
    return `a ${typeName(data)}: convert it, new Uint8Array(data.buffer, data.byteOffset, data.byteLength)`;
  }
  if (types.isPromise(data)) return 'a Promise: await it first';
  if (typeof data === 'object') return `${show(data)}: convert it, for instance with JSON.stringify(data)`;
  if (typeof data === 'function' || typeof data === 'symbol') return `a ${typeof data}`;
  return `${show(data)}: convert it with String(data)`;
}

/** A value for an error message: short, on one line, strings in quotes. It must not be a secret. */
export function show(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return quote(value);
    case 'bigint':
      return `${value}n`;
    case 'function':
      return 'a function';
    case 'object':
      if (value === null) return 'null';
      return showObject(value);
    default:
      return String(value);
  }
}

/** An object for an error message. It may be a proxy that throws, or have getters that do. */
function showObject(value: object): string {
  try {
    if (Array.isArray(value)) return value.length === 0 ? 'an empty array' : 'an array';
    const name = typeName(value);
    return /^[aeiou]/i.test(name) ? `an ${name}` : `a ${name}`;
  } catch {
    return 'an object that cannot be read';
  }
}

/** The kind of a value without its content, for a value that may be a secret. */
export function kindOf(value: unknown): string {
  if (value === '') return 'an empty string';
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') return `a ${typeof value}`;
  return show(value);
}

/** A text in quotes. Characters that cannot be seen are escaped, and a long text is cut. */
export function quote(text: string): string {
  const cut = text.length > 60 ? `${text.slice(0, 57)}…` : text;
  return `'${escapeInvisible(cut)}'`;
}

function typeName(value: object): string {
  try {
    const prototype = Object.getPrototypeOf(value) as { constructor?: { name?: unknown } } | null;
    const name = prototype?.constructor?.name;
    // The name of a class may be any text, and this goes into logs.
    return typeof name === 'string' && /^[\w$]{1,60}$/.test(name) && name !== 'Object' ? name : 'object';
  } catch {
    return 'object';
  }
}

function isVisibleAscii(code: number): boolean {
  return code > 0x20 && code < 0x7f;
}

const CHARACTER_NAMES: Record<string, string> = {
  ' ': 'a space',
  '\t': 'a tab',
  '\r': 'a carriage return',
  '\n': 'a line feed',
  '\0': 'a NUL character',
};

/** The name of a character. Some cannot be seen, and others look like a letter. */
function nameOf(text: string, index: number): string {
  const code = text.codePointAt(index)!;
  const char = String.fromCodePoint(code);
  if (isVisibleAscii(code)) return `'${char}'`;
  const point = `U+${code.toString(16).toUpperCase().padStart(4, '0')}`;
  const known = CHARACTER_NAMES[char];
  if (known !== undefined) return known;
  if (/\s/u.test(char)) return `the white space ${point}`;
  return /[\p{C}]/u.test(char) ? `the control character ${point}` : `'${char}' (${point})`;
}
