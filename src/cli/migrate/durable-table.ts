import { table } from '../table.js';

interface Row {
  readonly durable: string;
  readonly channel: string;
  readonly group?: string | undefined;
  readonly clientId?: string | undefined;
  readonly consumer: string;
  readonly lastSent: number;
  readonly pending: number;
}

/** A table of durables, for people. The last column is what a command has to say of each. Pure. */
export function durableTable<T extends Row>(
  durables: readonly T[],
  head: string,
  say: (each: T) => string,
  width: number,
): string[] {
  const right = true;
  return table(
    [
      { head: 'durable' },
      { head: 'channel' },
      { head: 'of' },
      { head: 'consumer' },
      { head: 'last sent', right },
      { head: 'pending', right },
      { head },
    ],
    durables.map((each) => [
      each.durable,
      each.channel,
      each.group === undefined ? `client ${each.clientId}` : `group ${each.group}`,
      each.consumer,
      String(each.lastSent),
      String(each.pending),
      say(each),
    ]),
    width,
  );
}
