/** One step of a migration in a process of its own, so that its CPU and its memory are those of the step alone. */
import { copy, verify } from '../../src/migrate/index.js';

/** What to do: the first argument, as JSON. */
export interface StepOrder {
  readonly step: 'copy' | 'follow' | 'verify';
  readonly from: string[];
  readonly monitor: string;
  readonly channel: string;
}

/** What it has cost: the message to the parent. */
export interface StepCost {
  /** How long it took, in ms, without the start of the process. */
  readonly ms: number;
  /** CPU time in it, in µs. */
  readonly cpu: number;
  /** The most memory that the process has had (RSS), in bytes. */
  readonly peak: number;
  /** The same at the beginning of the step, in bytes. */
  readonly atFirst: number;
  /** How many messages were copied, or compared. */
  readonly messages: number;
}

const { step, channel, ...sides } = JSON.parse(process.argv[2]!) as StepOrder;
const stop = new AbortController();
process.once('message', () => stop.abort());
const options = { ...sides, channels: [channel], signal: stop.signal };
const atFirst = process.memoryUsage.rss();
const began = performance.now();
const before = process.cpuUsage();
let following = false;
const onProgress = ({ channelsDone }: { channelsDone: number }): void => {
  if (following || channelsDone === 0) return;
  following = true;
  process.send!('following');
};
const report =
  step === 'verify'
    ? await verify(options)
    : await copy({ ...options, ...(step === 'follow' && { follow: true, onProgress }) });
const { user, system } = process.cpuUsage(before);
const cost: StepCost = {
  ms: performance.now() - began,
  cpu: user + system,
  peak: process.resourceUsage().maxRSS * 1024,
  atFirst,
  messages: 'copied' in report ? report.copied : report.compared,
};
if (!report.ok) throw new Error(report.problems.map(({ message }) => message).join('; '));
process.send!(cost, () => process.disconnect());
