import { randomBytes } from 'node:crypto';

const PREFIX = 12;
const DIGITS = 10;

let prefix = '';
let next = 0;

/** An identifier of 22 letters and digits that no other process makes. */
export function nextGuid(): string {
  if (prefix === '') prefix = randomBytes(PREFIX).toString('hex').slice(0, PREFIX);
  return prefix + (next++).toString(36).toUpperCase().padStart(DIGITS, '0');
}
