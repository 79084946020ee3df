/** Turns the server list of the user and the announcements of the cluster into addresses that can be dialled. Pure. */
import { isIPv4 } from 'node:net';
import { domainToASCII } from 'node:url';
import { InvalidArgumentError } from '../errors.js';
import { readForeign } from '../option-reader.js';
import { quote, show } from '../validation.js';

/** One server of the list. */
export interface ServerAddress {
  /** The name and key of the server: `nats://host:port` or `tls://host:port`, without credentials. */
  readonly url: string;
  readonly host: string;
  readonly port: number;
  /** Whether the URL asked for TLS. */
  readonly tls: boolean;
  /** The credentials of the URL, percent-decoded: `user:pass@` or `token@`. */
  readonly user?: string;
  readonly pass?: string;
  readonly token?: string;
  /** The names that its certificate may be for. If it is absent, the name is the host. */
  readonly names?: readonly string[];
}

const DEFAULT_SERVERS = 'nats://localhost:4222';
const DEFAULT_PORT = 4222;

/**
 * Parses `nats://user:pass@host:port`. The scheme (`nats` or `tls`), the credentials and the port (4222) may be left out. A
 * string may hold several servers separated by commas, as in the NATS tools. Duplicates are dropped.
 *
 * @throws InvalidArgumentError that names the entry without its credentials and says what is wrong with it
 */
export function parseServers(servers: unknown = DEFAULT_SERVERS): ServerAddress[] {
  const addresses = new Map<string, ServerAddress>();
  for (const entry of entriesOf(servers)) {
    const address = parseServer(entry.text, entry.refuse);
    // The same host and port with another scheme are the same server. TLS is the safer of the two.
    const place = `${address.host}:${address.port}`;
    const known = addresses.get(place);
    if (known !== undefined && !sameCredentials(known, address)) {
      entry.refuse(`${known.url} is in the list twice, with different credentials: keep one of them`);
    }
    if (known === undefined || (address.tls && !known.tls)) addresses.set(place, address);
  }
  return [...addresses.values()];
}

/** Throws an error that says why an entry cannot be used. It shows no secret of the entry. */
type Refuse = (reason: string) => never;

interface Entry {
  readonly text: string;
  readonly refuse: Refuse;
}

function entriesOf(servers: unknown): Entry[] {
  const list = readForeign('servers', 'the server list', () => listOf(servers));
  if (list === undefined) {
    const hint =
      typeof servers === 'object' && servers !== null && !isUrl(servers)
        ? '; options are the second argument: connect(servers, options)'
        : '';
    invalid(`the server list must be a URL or an array of URLs, not ${show(servers)}${hint}`);
  }
  if (list.length === 0) {
    invalid(`the server list is empty: give at least one URL, or leave it out for ${DEFAULT_SERVERS}`);
  }
  return list.flatMap(splitEntry);
}

/** Returns the entries, each read once; undefined if the value is no list. */
function listOf(servers: unknown): unknown[] | undefined {
  if (typeof servers === 'string') return [servers];
  return Array.isArray(servers) ? Array.from(servers as unknown[]) : undefined;
}

function isUrl(value: unknown): boolean {
  return readForeign('servers', 'a server of the list', () => Object.prototype.toString.call(value) === '[object URL]');
}

function splitEntry(entry: unknown): Entry[] {
  if (typeof entry !== 'string') {
    invalid(`every server must be a URL as a string, not ${show(entry)}${isUrl(entry) ? ': use url.href' : ''}`);
  }
  if (entry.trim() === '') invalid('a server of the list is an empty string: give a URL such as nats://host:4222');
  return entry.split(',').map((part, index, { length }): Entry => {
    const text = part.trim();
    if (text === '') invalid(`the server list ${quote(redact(entry))} has an empty entry: remove the comma too many`);
    // 'nats://me:pass,word@host' is split at its comma, and the part without an '@' looks like a host and a port.
    const mayBeSecret = length > 1 && entry.includes('@') && !text.includes('@');
    return {
      text,
      refuse: (reason) =>
        invalid(
          mayBeSecret
            ? `entry ${index + 1} of the server list ${quote(redact(entry))} is not usable: if it is a part of a password, ` +
                "write the ',' there as %2C"
            : `server ${quote(redact(text))} is not usable: ${reason}`,
        ),
    };
  });
}

function parseServer(text: string, refuse: Refuse): ServerAddress {
  const [, scheme, afterScheme] = /^(?:([a-zA-Z][a-zA-Z0-9+.-]*):\/\/)?(.*)$/s.exec(text) as unknown as [
    string,
    string | undefined,
    string,
  ];
  const protocol = scheme?.toLowerCase() ?? 'nats';
  if (protocol !== 'nats' && protocol !== 'tls') {
    refuse(`its scheme is '${protocol}:', and only nats: and tls: can be dialled: write nats://host:port`);
  }

  const at = afterScheme.lastIndexOf('@');
  const credentials = at < 0 ? {} : parseCredentials(refuse, afterScheme.slice(0, at));
  const [, place, rest] = /^([^/?#]*)(.*)$/s.exec(afterScheme.slice(at + 1)) as unknown as [string, string, string];
  if (rest !== '' && rest !== '/') {
    refuse(
      `it has a ${rest.startsWith('/') ? 'path' : rest.startsWith('?') ? 'query' : 'fragment'}, which means nothing to NATS: end it after the port`,
    );
  }

  if (place.startsWith('[') || place.split(':').length > 2) {
    refuse('it is an IPv6 literal, which is not supported: use a host name that resolves to that address');
  }
  const [hostText = '', portText] = place.split(':');
  const host = parseHost(refuse, hostText);
  const port = parsePort(refuse, portText);
  return { url: `${protocol}://${host}:${port}`, host, port, tls: protocol === 'tls', ...credentials };
}

function parseHost(refuse: Refuse, host: string): string {
  if (host === '') refuse('it has no host: write nats://host:port');
  const wrong = /[^a-zA-Z0-9._\-\u0080-\uffff]/.exec(host);
  if (wrong !== null) refuse(`its host has a ${quote(wrong[0])}`);
  // Names with letters beyond ASCII are dialled in their ASCII form, which is empty if there is none.
  const ascii = /[\u0080-\uffff]/.test(host) ? domainToASCII(host) : host.toLowerCase();
  if (/^[\d.]+$/.test(ascii) && !isIPv4(ascii)) refuse('its host is not an IPv4 address');
  if (ascii === '' || ascii.length > 253 || /^\.|\.\./.test(ascii)) refuse('its host is not a legal name');
  return ascii;
}

function parsePort(refuse: Refuse, port: string | undefined): number {
  if (port === undefined) return DEFAULT_PORT;
  if (port === '') refuse(`it has no port after the ':': add one, or leave the ':' out for ${DEFAULT_PORT}`);
  if (!/^\d+$/.test(port)) refuse(`its port ${quote(port)} is not a number`);
  const number = Number(port);
  if (number < 1 || number > 65535) refuse(`its port ${port.slice(0, 20)} is out of range: ports go from 1 to 65535`);
  return number;
}

function parseCredentials(refuse: Refuse, userInfo: string): Pick<ServerAddress, 'user' | 'pass' | 'token'> {
  const colon = userInfo.indexOf(':');
  const [first, second] = colon < 0 ? [userInfo, undefined] : [userInfo.slice(0, colon), userInfo.slice(colon + 1)];
  if (first === '') refuse("it has no user or token before the '@'");
  return second === undefined
    ? { token: decode(refuse, first) }
    : { user: decode(refuse, first), pass: decode(refuse, second) };
}

function decode(refuse: Refuse, encoded: string): string {
  try {
    return decodeURIComponent(encoded);
  } catch {
    return refuse("its credentials have a '%' that is no percent-encoding: write '%' itself as %25");
  }
}

function sameCredentials(a: ServerAddress, b: ServerAddress): boolean {
  return a.user === b.user && a.pass === b.pass && a.token === b.token;
}

/** Returns a URL, or a list of them, in a form that may be shown. Everything before the last '@' could be a secret. */
export function redact(text: string): string {
  return text.replace(
    /^(\s*[a-zA-Z][a-zA-Z0-9+.-]*:\/\/)?.*@/s,
    (_, scheme: string | undefined) => `${scheme ?? ''}***@`,
  );
}

function invalid(message: string): never {
  throw new InvalidArgumentError('servers', message);
}

/**
 * Returns the announced servers that can be dialled. They get the scheme and the credentials of the server that announced them.
 *
 * @param announced `host:port` of each. Malformed ones and IPv6 literals are left out, because anybody may have answered.
 * @param ownNames whether their certificates may also be for their own names; otherwise only for the name of `by`, which the
 * user gave
 */
export function announcedServers(
  announced: readonly string[],
  by: ServerAddress,
  { most, ownNames }: { most: number; ownNames: boolean },
): ServerAddress[] {
  const malformed = (): never => {
    throw new Error('malformed');
  };
  const servers = new Map<string, ServerAddress>();
  const { user, pass, token } = by;
  for (const text of announced) {
    if (servers.size >= most) break;
    if (text.length > 300 || !/^[^@/?#\s,[\]]+:\d+$/.test(text)) continue;
    try {
      const { host, port } = parseServer(text, malformed);
      const url = `${by.tls ? 'tls' : 'nats'}://${host}:${port}`;
      // This is the name that the user gave. It is kept along a chain of announcements, so that the names do not pile up.
      const given = by.names?.[0] ?? by.host;
      servers.set(url, {
        url,
        host,
        port,
        tls: by.tls,
        ...(user !== undefined && { user }),
        ...(pass !== undefined && { pass }),
        ...(token !== undefined && { token }),
        names: ownNames && host !== given ? [given, host] : [given],
      });
    } catch {
      // Nobody is told, because the next INFO may be well-formed.
    }
  }
  return [...servers.values()];
}

/**
 * Returns a shuffled copy (Fisher–Yates).
 * @param random returns a number in [0, 1)
 */
export function shuffle<T>(list: readonly T[], random: () => number = Math.random): T[] {
  const shuffled = [...list];
  for (let last = shuffled.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    [shuffled[last], shuffled[other]] = [shuffled[other]!, shuffled[last]!];
  }
  return shuffled;
}
