/** What a server's own log says of its state. Pure: a fold over its lines. */

export interface ServerLogState {
  /** It accepts NATS connections (not yet streaming requests). */
  accepting: boolean;
  /** It serves streaming clients: single and ready, leader and promoted, or the active one of its group. */
  serving: boolean;
  /** It follows a leader it knows, or stands by. Only the monitoring can tell a follower from a candidate. */
  standby: boolean;
  /** The server's own words about why it cannot go on. */
  fatal: string | undefined;
}

export const FRESH: ServerLogState = { accepting: false, serving: false, standby: false, fatal: undefined };

export function readLine(state: ServerLogState, line: string): ServerLogState {
  const fatal = /\[FTL\] (.*)$/.exec(line);
  if (fatal) return { ...state, serving: false, fatal: state.fatal ?? fatal[1] ?? line };
  if (line.includes('STREAM: ')) {
    if (line.includes('Streaming Server is ready')) return { ...state, serving: true, standby: false };
    // The server writes "is ready" when a promotion ends, also of one that lost the leadership meanwhile: the line
    // about the loss comes after it, and undoes it.
    if (line.includes('server lost leadership')) return { ...state, serving: false };
    if (line.includes('server became leader')) return { ...state, serving: false };
    if (line.includes('Starting in standby mode')) return { ...state, standby: true };
    if (line.includes('Shutting down')) return { ...state, serving: false, accepting: false };
    return state;
  }
  if (line.endsWith('[INF] Server is ready')) return { ...state, accepting: true };
  return state;
}

/** `127.0.0.1:4222` in "listen tcp 127.0.0.1:4222: bind: address already in use". */
export function addressInUse(text: string): string | undefined {
  return /listen tcp ([^ ]+): bind: address already in use/.exec(text)?.[1];
}

/** The last `capacity` lines, without ever moving them: a ring. */
export class LineRing {
  readonly #lines: string[] = [];
  readonly #capacity: number;
  #next = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  push(line: string): void {
    this.#lines[this.#next % this.#capacity] = line;
    this.#next++;
  }

  /** How many were ever pushed: a place to read on from. */
  get count(): number {
    return this.#next;
  }

  /** Those still kept, from the `from`th ever pushed on. */
  lines(from = 0): string[] {
    const first = Math.max(from, this.#next - this.#capacity, 0);
    const lines: string[] = [];
    for (let i = first; i < this.#next; i++) lines.push(this.#lines[i % this.#capacity] as string);
    return lines;
  }
}
