/**
 * The names that channels and durables get in JetStream. Each name is escaped one-to-one, so that no two of them meet. Pure.
 *
 * A letter of A to Z, a digit, `-` and `_` stay. A full stop becomes `~`, because it is illegal in the name of a stream and
 * common in that of a channel. Any other byte becomes `=` and two hexadecimal digits. The parts of a consumer's name stand
 * between `+`.
 */

/** The longest name that a server takes, in bytes. */
export const MAX_NAME = 255;

/**
 * The name of the stream that a channel becomes: `orders` stays, and `orders.eu` becomes `orders~eu`.
 * @category Migration
 */
export function streamName(channel: string): string {
  return escaped(channel);
}

/**
 * The channel of a stream's name. Undefined when {@link streamName} never makes such a name.
 * @category Migration
 */
export function channelOf(stream: string): string | undefined {
  return unescaped(stream);
}

/**
 * What makes a durable subscription of STAN one of a kind on its channel.
 * @category Migration
 */
export type DurableId =
  | {
      /** The client ID that holds it. */
      readonly clientId: string;
      /** The durable's name. */
      readonly durable: string;
      /** Not there. */
      readonly group?: undefined;
    }
  | {
      /** The queue group. */
      readonly group: string;
      /** The durable's name. */
      readonly durable: string;
      /** Not there: a group has clients without number. */
      readonly clientId?: undefined;
    };

/**
 * The name of the JetStream consumer that a durable becomes: `client+durable`, or `group+durable+queue` for a durable queue
 * group, of which no client is the holder.
 * @category Migration
 */
export function consumerName(id: DurableId): string {
  return id.group === undefined
    ? `${escaped(id.clientId)}+${escaped(id.durable)}`
    : `group+${escaped(id.durable)}+${escaped(id.group)}`;
}

/**
 * The durable of a consumer's name. Undefined when {@link consumerName} never makes such a name.
 * @category Migration
 */
export function durableOf(consumer: string): DurableId | undefined {
  const parts = consumer.split('+');
  const [first, second, third] = parts.map(unescaped);
  if (parts.length === 2 && first !== undefined && second !== undefined) return { clientId: first, durable: second };
  if (parts.length === 3 && first === 'group' && second !== undefined && third !== undefined) {
    return { durable: second, group: third };
  }
  return undefined;
}

function escaped(text: string): string {
  return text.replace(/[^\w-]/gu, (character) =>
    character === '.'
      ? '~'
      : [...Buffer.from(character)].map((byte) => `=${byte.toString(16).toUpperCase().padStart(2, '0')}`).join(''),
  );
}

function unescaped(name: string): string | undefined {
  if (!/^(?:[\w~-]|=[\dA-F]{2})+$/.test(name)) return undefined;
  const bytes = [...name.matchAll(/=([\dA-F]{2})|([^=])/g)].map(([, hex, plain]) =>
    hex === undefined ? (plain === '~' ? 0x2e : plain!.charCodeAt(0)) : parseInt(hex, 16),
  );
  const text = Buffer.from(bytes).toString();
  return escaped(text) === name ? text : undefined;
}
