import { randomBytes } from 'node:crypto';

const DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ';
/** All endings of two digits, made once, because converting a number each time costs ten times as much. */
const ENDS = [...DIGITS].flatMap((tens) => [...DIGITS].map((ones) => tens + ones));
const PREFIX_LENGTH = 12;
const COUNTER_LENGTH = 8;

let prefix = '';
let block = 0;
/** The beginning that all identifiers of a block share. */
let head = '';
let next = 0;

/** Returns an identifier of 22 letters and digits that no other process makes. */
export function nextGuid(): string {
  if (next === 0) {
    if (prefix === '') prefix = randomBytes(PREFIX_LENGTH / 2).toString('hex');
    head = prefix + (block++).toString(DIGITS.length).toUpperCase().padStart(COUNTER_LENGTH, '0');
  }
  const guid = head + ENDS[next]!;
  next = (next + 1) % ENDS.length;
  return guid;
}
