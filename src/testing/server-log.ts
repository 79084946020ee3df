/** Reads the state of a server from the lines of its log. Pure. */

export interface ServerLogState {
  /** Whether it accepts NATS connections. It may not serve streaming requests yet. */
  accepting: boolean;
  /** Whether it serves streaming clients: as the only server, as the leader, or as the active server of its group. */
  serving: boolean;
  /** Whether it stands by for the active server. A follower cannot be told from a candidate by the log. */
  standby: boolean;
  /** The server's own words on why it ends. Undefined while it goes on. */
  fatal: string | undefined;
}

export const FRESH: ServerLogState = { accepting: false, serving: false, standby: false, fatal: undefined };

export function readLine(state: ServerLogState, line: string): ServerLogState {
  const fatal = /\[FTL\] (.*)$/.exec(line);
  if (fatal) return { ...state, serving: false, fatal: state.fatal ?? fatal[1] ?? line };
  if (line.includes('STREAM: ')) {
    if (line.includes('Streaming Server is ready')) return { ...state, serving: true, standby: false };
    // The server writes "is ready" when a promotion ends, even if it has lost the leadership meanwhile. The line about the
    // loss then follows.
    if (line.includes('server lost leadership')) return { ...state, serving: false };
    if (line.includes('server became leader')) return { ...state, serving: false };
    if (line.includes('Starting in standby mode')) return { ...state, standby: true };
    if (line.includes('Shutting down')) return { ...state, serving: false, accepting: false };
    return state;
  }
  if (line.endsWith('[INF] Server is ready')) return { ...state, accepting: true };
  return state;
}

/** The address in a line like "listen tcp 127.0.0.1:4222: bind: address already in use". */
export function addressInUse(text: string): string | undefined {
  return /listen tcp ([^ ]+): bind: address already in use/.exec(text)?.[1];
}

/** Keeps the last `capacity` lines in a ring. */
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

  /** How many lines were ever added. */
  get count(): number {
    return this.#next;
  }

  /** The lines that are kept, from the line number `from` on. */
  lines(from = 0): string[] {
    const first = Math.max(from, this.#next - this.#capacity, 0);
    const lines: string[] = [];
    for (let i = first; i < this.#next; i++) lines.push(this.#lines[i % this.#capacity] as string);
    return lines;
  }
}
