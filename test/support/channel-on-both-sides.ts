/** One channel of STAN and its stream, as tests of the cut use them: what is published on both sides, and what the stream has. */
import type { ResilientStan } from '../../src/index.js';
import { streamName } from '../../src/migrate/index.js';
import { uniqueName } from './clients.js';
import type { JetStreamSide } from './jetstream-side.js';

/** A message of a stream: its number, its number in STAN, its text. */
export type Stored = [sequence: number, inStan: number | undefined, text: string];

export class ChannelOnBothSides {
  readonly channel: string;
  readonly stream: string;
  /** What was published to STAN, in order. */
  readonly published: string[] = [];
  readonly #stan: ResilientStan;
  readonly #js: JetStreamSide;

  constructor(stan: ResilientStan, js: JetStreamSide, prefix = 'cut') {
    this.#stan = stan;
    this.#js = js;
    this.channel = uniqueName(prefix);
    this.stream = streamName(this.channel);
  }

  async publish(count: number, stan = this.#stan): Promise<void> {
    for (let i = 0; i < count; i++) {
      const text = uniqueName('text');
      await stan.publish(this.channel, text);
      this.published.push(text);
    }
  }

  /** The native publisher of an application. Resolves to the number of its last message. */
  async native(count = 1): Promise<number> {
    let last = 0;
    for (let i = 0; i < count; i++) last = (await this.#js.jetstream.publish(this.channel, 'native')).seq;
    return last;
  }

  /** All that the stream has. */
  async content(): Promise<Stored[]> {
    const { manager } = this.#js;
    const { state } = await manager.streams.info(this.stream);
    const found: Stored[] = [];
    for (let seq = state.first_seq; seq <= state.last_seq; seq++) {
      const message = await manager.streams.getMessage(this.stream, { seq });
      const inStan = message!.header.get('Stan-Sequence');
      found.push([seq, inStan === '' ? undefined : Number(inStan), message!.string()]);
    }
    return found;
  }

  /** The numbers in STAN of what the stream has. Undefined for native messages. */
  async numbers(): Promise<(number | undefined)[]> {
    return (await this.content()).map(([, inStan]) => inStan);
  }
}
