/** What a person sees of a client while something fails: its log, its events and its health, in the order in which they come. */
import type {
  ConnectOptions,
  ResilientStan,
  ResilientStanEvents,
  ResilientSubscription,
  SubscriptionEvents,
} from '../../src/index.js';

type Kind = 'done' | 'log' | 'event' | 'health';

export interface Line {
  /** Seconds since the failure began. */
  at: number;
  kind: Kind;
  /** Of a log line its level, of an event its name. */
  name: string;
  text: string;
}

const CLIENT_EVENTS: readonly (keyof ResilientStanEvents)[] = [
  'connecting',
  'session',
  'connect',
  'connection_lost',
  'reconnecting',
  'reconnect',
  'resubscribe',
  'permission_error',
  'client_id_conflict',
  'error',
  'close',
];
const SUBSCRIPTION_EVENTS: readonly (keyof SubscriptionEvents)[] = [
  'ready',
  'handler_error',
  'gap',
  'reset',
  'dead_letter',
  'closed',
];

/** How often the health is looked at, in ms. What lasts shorter is not seen. */
const LOOK = 10;

export class Transcript {
  readonly lines: Line[] = [];
  #began = performance.now();
  #looking: NodeJS.Timeout | undefined;
  #health = '';

  /** @param mend makes texts the same in each run, as by names in the place of ports */
  constructor(readonly mend: (text: string) => string) {}

  get logger(): NonNullable<ConnectOptions['logger']> {
    const at =
      (level: string) =>
      (text: string): void =>
        this.#add('log', level, text);
    return { info: at('info'), warn: at('warn'), error: at('error') };
  }

  /** Begins anew: what was before the failure is of no interest. */
  begin(text: string): void {
    this.lines.length = 0;
    this.#began = performance.now();
    this.done(text);
  }

  /** Something was done to the servers or to the client. */
  done(text: string): void {
    this.#add('done', '', text);
  }

  watch(stan: ResilientStan): void {
    for (const event of CLIENT_EVENTS) {
      stan.on(event, (payload: object) => this.#add('event', event, detailsOf(payload)));
    }
    this.#looking = setInterval(() => this.#look(stan), LOOK);
  }

  watchSubscription(subscription: ResilientSubscription): void {
    for (const event of SUBSCRIPTION_EVENTS) {
      subscription.on(event, (payload: object) => this.#add('event', `${event}`, detailsOf(payload)));
    }
  }

  stop(): void {
    clearInterval(this.#looking);
  }

  #look(stan: ResilientStan): void {
    const { healthy, state, suspect, unacknowledgedChannels } = stan.health();
    const why = [
      ...(state === 'connected' ? [] : [`state '${state}'`]),
      ...(suspect ? ['suspect'] : []),
      ...(unacknowledgedChannels.length > 0 ? [`unacknowledgedChannels [${unacknowledgedChannels.join()}]`] : []),
    ];
    const said = healthy ? 'healthy' : `not healthy: ${why.join(', ')}`;
    if (this.#health !== '' && said !== this.#health) this.#add('health', '', said);
    this.#health = said;
  }

  #add(kind: Kind, name: string, text: string): void {
    const at = (performance.now() - this.#began) / 1000;
    this.lines.push({ at, kind, name, text: this.mend(text) });
  }
}

/** The fields of an event, short. */
function detailsOf(payload: object): string {
  const shown = Object.entries(payload).flatMap(([name, value]: [string, unknown]) => {
    if (value === undefined || ['subscription', 'message'].includes(name)) return [];
    if (value instanceof Error) return 'code' in value ? [String(value.code)] : [value.name];
    if (typeof value === 'number') return [`${name} ${Math.round(value)}`];
    if (typeof value !== 'string') return [];
    return [name === 'server' ? value : `${name} '${value}'`];
  });
  return shown.join(', ');
}

/** As text: what comes again and again, alone or in a group of lines, is told twice and then counted. */
export function asText(lines: readonly Line[]): string {
  const rows: string[] = [];
  let index = 0;
  while (index < lines.length) {
    const size = [1, 2, 3].find((length) => repeats(lines, index, length) > 3) ?? 1;
    const times = lines[index]!.kind === 'done' ? 1 : repeats(lines, index, size);
    const group = (nth: number): string[] => lines.slice(index + nth * size, index + (nth + 1) * size).map(row);
    if (times > 3) rows.push(...group(0), `           … ${times - 2} more …`, ...group(times - 1));
    else rows.push(row(lines[index]!));
    index += times > 3 ? times * size : 1;
  }
  return rows.join('\n');
}

/** How often the lines from here on are the same group of so many. */
function repeats(lines: readonly Line[], from: number, length: number): number {
  const same = (one: Line | undefined, other: Line | undefined): boolean =>
    one !== undefined && one.kind === other?.kind && one.name === other.name;
  let count = 1;
  while (lines.slice(from, from + length).every((line, index) => same(line, lines[from + count * length + index])))
    count++;
  return count;
}

function row({ at, kind, name, text }: Line): string {
  const head = `${at.toFixed(2).padStart(6)} s  `;
  if (kind === 'done') return `${head}*** ${text} ***`;
  return `${head}${[kind.padEnd(7), ...(name === '' ? [] : [name.padEnd(6)]), text].join(' ').trimEnd()}`;
}
