/** `resilient-stan channels` and `channel`: what the servers' monitoring says of channels, and who is behind. */
import { figuresOf, largestLag, type ChannelFigures, type SubscriptionFigures } from '../monitoring/channel-figures.js';
import { allChannels, leads, oneChannel, type Monitoring } from '../monitoring/streaming-server.js';
import { formatBytes, plural } from '../testing/report/format.js';
import { suggest } from '../suggest.js';
import { checkChannel } from '../validation.js';
import { defineCommand, type Options } from './command.js';
import { CommandError } from './connect.js';
import { findMonitoring, MONITOR_OPTIONS } from './monitoring.js';
import { Output } from './output.js';
import { say } from './say.js';
import { paintFor, type Paint } from './style.js';
import { table } from './table.js';
import { tableWidth } from './text.js';

const OPTIONS = {
  json: { type: 'boolean', help: 'JSON in the place of a table: one object on each line' },
  ...MONITOR_OPTIONS,
} as const satisfies Options;

const ABOUT = [
  'The figures come from the monitoring port of the servers, which NATS clients do not need, and which asks for no ' +
    'credentials. Of several servers the one that leads is asked, because the others know of acknowledgements up to a second ' +
    'later.',
  'lag: messages that a subscription has not acknowledged, sent to it or not. offline: durables that nobody is subscribed to ' +
    'now, and for which the server keeps the position.',
];

export const channelsCommand = defineCommand({
  name: 'channels',
  summary: 'list the channels: messages, bytes, subscriptions, and who is behind',
  about: ABOUT,
  options: OPTIONS,
  examples: [
    { command: 'resilient-stan channels --monitor http://localhost:8222', what: 'all channels' },
    {
      command: "resilient-stan channels --json | jq 'select(.lag > 1000)'",
      what: 'those where somebody is far behind',
    },
  ],
  async run(values) {
    const monitoring = await monitoringOf(values);
    const channels = (await allChannels(monitoring)).map(figuresOf);
    if (values.json) return await print(channels.map((each) => JSON.stringify(jsonOf(each))));
    if (channels.length === 0) {
      say(`cluster '${monitoring.server.cluster_id}' has no channels yet`);
      return 0;
    }
    return await print(channelTable(channels, tableWidth(process.stdout), paintFor(process.stdout, process.env)));
  },
});

export const channelCommand = defineCommand({
  name: 'channel',
  summary: 'show one channel and its subscriptions',
  about: ABOUT,
  positionals: [{ name: 'name', help: 'the channel' }],
  options: OPTIONS,
  examples: [{ command: 'resilient-stan channel orders', what: 'its figures, and each subscription' }],
  exitCodes: { 1: 'there is no such channel, or nobody answers' },
  async run(values, [name]) {
    checkChannel(name);
    const monitoring = await monitoringOf(values);
    const found = await oneChannel(monitoring, name);
    if (found === undefined) throw await noChannel(monitoring, name);
    const figures = figuresOf(found);
    if (values.json) return await print([JSON.stringify(jsonOf(figures))]);
    return await print(channelView(figures, tableWidth(process.stdout), paintFor(process.stdout, process.env)));
  },
});

async function monitoringOf(values: Parameters<typeof findMonitoring>[0]): Promise<Monitoring> {
  const monitoring = await findMonitoring(values);
  const { server, url } = monitoring;
  if (!leads(server)) {
    say(`${url} does not lead (${(server.role ?? server.state).toLowerCase()}): its figures may be a second old`);
  }
  return monitoring;
}

async function noChannel(monitoring: Monitoring, name: string): Promise<CommandError> {
  const page = await monitoring.get<{ names?: string[] }>('/streaming/channelsz?limit=10000');
  const near = suggest(name, page?.names ?? []);
  return new CommandError(
    `there is no channel '${name}' in cluster '${monitoring.server.cluster_id}'` +
      (near === undefined ? ": 'resilient-stan channels' lists them" : `: did you mean '${near}'?`),
  );
}

async function print(lines: readonly string[]): Promise<number> {
  const output = new Output();
  // A reader that has gone has all it wants.
  await Promise.race([output.write(lines.map((line) => `${line}\n`).join('')).catch(() => undefined), output.gone]);
  return 0;
}

/** The names are those of the options and of the library where there are such. */
function jsonOf(figures: ChannelFigures): object {
  const { subscriptions, ...rest } = figures;
  return {
    ...rest,
    lag: largestLag(figures),
    durables: subscriptions.filter(({ durable }) => durable !== undefined).length,
    offline: subscriptions.filter(({ offline }) => offline).length,
    subscriptions,
  };
}

export function channelTable(channels: readonly ChannelFigures[], width: number, paint: Paint): string[] {
  const right = true;
  return table(
    [
      { head: 'channel' },
      { head: 'messages', right },
      { head: 'bytes', right },
      { head: 'first', right },
      { head: 'last', right },
      { head: 'subs', right },
      { head: 'durables', right },
      { head: 'offline', right },
      { head: 'lag', right },
    ],
    channels.map((each) => {
      const { channel, messages, bytes, first, last, subscriptions } = each;
      const offline = subscriptions.filter((sub) => sub.offline).length;
      const lag = largestLag(each);
      return [
        channel,
        String(messages),
        formatBytes(bytes),
        messages === 0 ? '–' : String(first),
        String(last),
        String(subscriptions.length),
        String(subscriptions.filter(({ durable }) => durable !== undefined).length),
        offline === 0 ? '0' : paint('warn', String(offline)),
        lag === 0 ? '0' : paint('warn', String(lag)),
      ];
    }),
    width,
    paint,
  );
}

export function channelView(figures: ChannelFigures, width: number, paint: Paint): string[] {
  const { channel, messages, bytes, first, last, subscriptions } = figures;
  const stored =
    messages === 0
      ? `no messages${last === 0 ? '' : `, the last was number ${last}`}`
      : `${plural(messages, 'message')} (${formatBytes(bytes)}), numbers ${first} to ${last}`;
  if (subscriptions.length === 0) return [`${paint('strong', channel)}: ${stored}`, '', '  no subscriptions'];
  const right = true;
  const columns = [
    { head: 'subscription' },
    { head: 'kind' },
    { head: 'state' },
    { head: 'last sent', right },
    { head: 'pending', right },
    { head: 'lag', right },
    { head: 'clients' },
  ];
  const rows = subscriptions.map((sub) => [
    sub.name,
    sub.kind,
    stateOf(sub, paint),
    String(sub.lastSent),
    String(sub.pending),
    sub.lag === 0 ? '0' : paint('warn', String(sub.lag)),
    sub.clients.join(', ') || '–',
  ]);
  return [`${paint('strong', channel)}: ${stored}`, '', ...table(columns, rows, width, paint)];
}

function stateOf({ offline, stalled }: SubscriptionFigures, paint: Paint): string {
  if (offline) return paint('warn', 'offline');
  return stalled ? paint('bad', 'stalled') : 'online';
}
