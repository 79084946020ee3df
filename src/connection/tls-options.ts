/** Checks one set of TLS options of the user, and makes calls of its functions safe. */
import { createSecureContext, type ConnectionOptions } from 'node:tls';
import { types } from 'node:util';
import { CallbackError, describe, InvalidArgumentError } from '../errors.js';
import { readForeign, type OptionReader } from '../option-reader.js';
import { mayBePromise, whenSettled, type OnThrown } from '../user-code.js';
import { suggest } from '../suggest.js';
import { kindOf, show } from '../validation.js';
import type { ServerAddress } from './servers.js';

/**
 * Called before each dial, so that certificates can be renewed without a restart. It answers `true`, or options of
 * `tls.connect`. Every server is then reached over TLS, whatever its URL says. If it throws, or its promise is rejected, or
 * its answer cannot be used (as `false`), that dial has failed, and is tried again like any other.
 *
 * @example
 * ```ts
 * const tls: TlsProvider = async () => ({ ca: await readFile('ca.pem'), cert: await readFile('cert.pem'), key: await readFile('key.pem') });
 * ```
 * @category Connecting
 */
export type TlsProvider = () => boolean | ConnectionOptions | Promise<boolean | ConnectionOptions>;

/** The names of file paths in other clients, and options that the library sets itself. */
const NO_OPTIONS: Readonly<Record<string, string>> = {
  caFile: 'read the file: { ca: readFileSync(path) }',
  certFile: 'read the file: { cert: readFileSync(path) }',
  keyFile: 'read the file: { key: readFileSync(path) }',
  socket: 'the sockets are made by this library',
  path: 'servers are reached over TCP',
  session: 'a resumed session is not verified again, so every connection makes its own',
};

/** The options of `tls.connect` that a user may want here. */
const KNOWN = [
  ...['ca', 'cert', 'key', 'pfx', 'passphrase', 'crl', 'ciphers', 'ecdhCurve', 'sigalgs', 'dhparam', 'secureContext'],
  ...['servername', 'host', 'checkServerIdentity', 'rejectUnauthorized', 'minDHSize', 'pskCallback'],
  ...['minVersion', 'maxVersion', 'secureProtocol', 'secureOptions', 'honorCipherOrder', 'ALPNProtocols'],
  ...['privateKeyEngine', 'privateKeyIdentifier', 'clientCertEngine', 'enableTrace', 'requestOCSP', 'SNICallback'],
];

/**
 * Returns the TLS options for all servers of the list.
 * @throws InvalidArgumentError
 */
export function resolveTls(
  reader: OptionReader,
  addresses: readonly ServerAddress[],
): boolean | ConnectionOptions | TlsProvider {
  const given = reader.values.tls;
  const secure = addresses.find(({ tls }) => tls);
  const plain = addresses.find(({ tls }) => !tls);
  if (given === undefined) {
    if (secure !== undefined && plain !== undefined) {
      throw new InvalidArgumentError(
        'servers',
        `the server list mixes ${secure.url}, which asks for TLS, and ${plain.url}, which does not: what is protected on ` +
          "the way to one would go to the other in the clear. Write tls:// for all of them, or set 'tls' to true",
      );
    }
    return false;
  }
  if (given === false) {
    if (secure !== undefined) reader.refuse('tls', `must not be false, because the URL ${secure.url} asks for TLS`);
    return false;
  }
  if (typeof given === 'function') return given as TlsProvider;
  if (given !== true && (typeof given !== 'object' || given === null)) {
    reader.refuse(
      'tls',
      `must be true, false or an object with options of tls.connect, or a function that is asked for it, not ${show(given)}`,
    );
  }
  return checkTlsOptions(given, 'tls');
}

/**
 * Checks and copies one set of TLS options. Each option is read once, and undefined counts as left out. The options may be
 * inherited.
 *
 * @param argument the name of the options in an error: `tls`, or `tls()` for the result of a function
 * @throws InvalidArgumentError that names the option; its message contains no secret
 */
export function checkTlsOptions(given: unknown, argument: string): true | ConnectionOptions {
  if (given === true) return true;
  if (
    typeof given !== 'object' ||
    given === null ||
    readForeign(argument, name(argument), () => Array.isArray(given))
  ) {
    refuse(argument, `must be true or an object with options of tls.connect, not ${kindOf(given)}`);
  }
  const options = copy(given as Record<string, unknown>, argument);
  for (const option of Object.keys(options)) {
    if (KNOWN.includes(option) || option in NO_OPTIONS) continue;
    // Node may have options that are not known here, but a misspelled name of a known one would go unnoticed.
    const near = suggest(option, KNOWN);
    if (near === undefined) continue;
    const path = `${argument}.${option}`;
    throw new InvalidArgumentError(path, `there is no option '${path}': did you mean '${argument}.${near}'?`);
  }
  for (const [option, hint] of Object.entries(NO_OPTIONS)) {
    if (options[option] === undefined) continue;
    const path = `${argument}.${option}`;
    throw new InvalidArgumentError(path, `there is no option '${path}': ${hint}`);
  }
  for (const option of ['ca', 'cert', 'key', 'pfx'] as const) {
    const path = `${argument}.${option}`;
    const fault = readForeign(path, name(path), () => contentFault(option, options[option]));
    if (fault !== undefined) refuse(path, fault);
  }
  checkPair(options, argument);
  for (const option of ['checkServerIdentity', 'pskCallback']) {
    const value = options[option];
    if (value === undefined || typeof value === 'function') continue;
    refuse(`${argument}.${option}`, `must be a function, not ${kindOf(value)}`);
  }
  for (const option of ['servername', 'host']) {
    const value = options[option];
    if (value === undefined || (typeof value === 'string' && value !== '')) continue;
    refuse(`${argument}.${option}`, `must be a host name, not ${kindOf(value)}`);
  }
  try {
    // Without this, a key that does not fit its certificate would show only at the first dial, as a dial that hangs.
    createSecureContext(options);
  } catch (error) {
    throw new InvalidArgumentError(
      argument,
      `${name(argument)} has a certificate, key or setting that cannot be used: ${describe(error)}` +
        ' (ca, cert, key and pfx are contents, not paths)',
      { cause: error },
    );
  }
  return options;
}

/**
 * Returns the same options with functions that cannot do harm. An error that one throws is reported and counts as a "no".
 * OpenSSL calls them from the socket, where an error would end the process and the connection would go on unverified.
 */
export function guardTlsFunctions(options: ConnectionOptions, onThrown: OnThrown): ConnectionOptions {
  const guarded: Record<string, unknown> = { ...options };
  for (const [option, value] of Object.entries(guarded)) {
    if (typeof value !== 'function') continue;
    const call = (self: unknown, args: unknown[]): unknown =>
      Reflect.apply(value as (...args: unknown[]) => unknown, self, args);
    const refused = refusals[option] ?? (() => undefined);
    const verdict = verdicts[option] ?? ((answer: unknown) => answer);
    guarded[option] = function (this: unknown, ...args: unknown[]): unknown {
      try {
        return verdict(call(this, args));
      } catch (thrown) {
        const error = new CallbackError(`the TLS option '${option}'`, thrown);
        onThrown(error);
        return refused(error);
      }
    };
  }
  return guarded;
}

/** The result of each function that means "no". For all others it is undefined. */
const refusals: Readonly<Record<string, (error: Error) => unknown>> = {
  checkServerIdentity: (error) => error,
  pskCallback: () => null,
};

/** The checks of the results. They throw at a result without a meaning, because Node would take it for a "yes" or fail on it. */
const verdicts: Readonly<Record<string, (answer: unknown) => unknown>> = {
  checkServerIdentity(answer) {
    if (answer === undefined || answer === null || types.isNativeError(answer)) return answer;
    refusePromise(answer);
    if (answer instanceof Error) return answer;
    throw new TypeError(
      `it must return undefined when the certificate is good, and an Error when it is not; it returned ${kindOf(answer)}`,
    );
  },
  pskCallback(answer) {
    if (answer === undefined || answer === null) return null;
    refusePromise(answer);
    const { psk, identity } = answer as { psk?: unknown; identity?: unknown };
    const fits = ArrayBuffer.isView(psk) && psk.byteLength <= MAX_PSK && typeof identity === 'string';
    if (fits && Buffer.byteLength(identity) <= MAX_IDENTITY) return { psk, identity };
    throw new TypeError('it must return null, or { psk, identity } with bytes and a string that OpenSSL can take');
  },
};

/** The limits of OpenSSL, in bytes. */
const MAX_PSK = 512;
const MAX_IDENTITY = 256;

function refusePromise(answer: unknown): void {
  if (!mayBePromise(answer) || typeof (answer as { then?: unknown }).then !== 'function') return;
  // The result comes too late, and the promise may still be rejected.
  const ignore = (): void => undefined;
  whenSettled(answer, ignore, ignore);
  throw new TypeError('it returned a promise, and TLS does not wait: it must answer at once');
}

function copy(given: Record<string, unknown>, argument: string): ConnectionOptions & Record<string, unknown> {
  const names = readForeign(argument, name(argument), () => {
    const names: string[] = [];
    for (const option in given) names.push(option);
    return names;
  });
  const options: Record<string, unknown> = {};
  for (const option of names) {
    const path = `${argument}.${option}`;
    const value = readForeign(path, name(path), () => {
      const value = given[option];
      return Array.isArray(value) ? [...(value as unknown[])] : value;
    });
    // An option that is undefined would replace the default of Node in some cases.
    if (value !== undefined) options[option] = value;
  }
  return options;
}

/** Returns why a value cannot be a certificate or key. For a list it is about the first item that cannot. */
function contentFault(option: 'ca' | 'cert' | 'key' | 'pfx', value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (!Array.isArray(value)) return itemFault(option, value);
  if (value.length === 0) return 'is an empty array: give it a value, or leave it out';
  for (const item of value) {
    const fault = itemFault(option, item);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

function itemFault(option: 'ca' | 'cert' | 'key' | 'pfx', item: unknown): string | undefined {
  const content = contentOf(item);
  if (content === '') return 'is an empty string: give it a value, or leave it out';
  if (option === 'pfx') {
    if (typeof content !== 'string') return undefined;
    return 'must be the bytes of the file, not a string, which can only be its path: { pfx: readFileSync(path) }';
  }
  if (typeof content === 'string') {
    if (content.includes(PEM)) return undefined;
    return `must be the content of a PEM file ('${PEM} …'), and looks like its path: { ${option}: readFileSync(path) }`;
  }
  if (ArrayBuffer.isView(content)) {
    const bytes = Buffer.from(content.buffer, content.byteOffset, content.byteLength);
    if (!bytes.includes(PEM)) return `must be the content of a PEM file ('${PEM} …'), and these bytes are not`;
  }
  // Node refuses all other values with an error of its own.
  return undefined;
}

const PEM = '-----BEGIN';

/** Returns the content of an item. A key may also be `{ pem, passphrase }`, and a PFX `{ buf, passphrase }`. */
function contentOf(item: unknown): unknown {
  if (typeof item !== 'object' || item === null || ArrayBuffer.isView(item)) return item;
  const { pem, buf } = item as { pem?: unknown; buf?: unknown };
  return pem ?? buf ?? item;
}

function checkPair(options: ConnectionOptions, argument: string): void {
  const { cert, key, pfx, secureContext } = options;
  if (pfx !== undefined || secureContext !== undefined) return;
  const { privateKeyIdentifier } = options as { privateKeyIdentifier?: unknown };
  if (cert !== undefined && key === undefined && privateKeyIdentifier === undefined) {
    refuse(
      `${argument}.cert`,
      `needs '${argument}.key' beside it: a certificate proves nothing without its private key`,
    );
  }
  if (key !== undefined && cert === undefined) {
    refuse(`${argument}.key`, `needs '${argument}.cert' beside it: servers want to see the certificate of the key`);
  }
}

function name(argument: string): string {
  return `option '${argument}'`;
}

function refuse(argument: string, reason: string): never {
  throw new InvalidArgumentError(argument, `${name(argument)} ${reason}`);
}
