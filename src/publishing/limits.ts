import type { Timed, TimedQueue } from './deadlines.js';
import type { Entry } from './entry.js';
import type { AbortGroup } from './aborts.js';

/** A message's own `timeout` and `signal`. Only messages that have one of them have this. */
export class Limits implements Timed<Limits> {
  dueAt = 0;
  queue: TimedQueue<Limits> | undefined = undefined;
  sooner: Limits | undefined = undefined;
  later: Limits | undefined = undefined;

  group: AbortGroup | undefined = undefined;
  /** Links within the messages of one signal. */
  prev: Limits | undefined = undefined;
  next: Limits | undefined = undefined;

  constructor(
    readonly entry: Entry,
    readonly timeout: number | undefined,
  ) {}
}
