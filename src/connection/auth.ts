/** Who we are, in the words of nats 1.4.12: credentials and TLS for the dial of one server. */
import { readFile } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import type { ConnectionOptions } from 'node:tls';
import { describe, InvalidArgumentError } from '../errors.js';
import { OptionReader } from '../option-reader.js';
import type { CredentialsProvider, ResolvedCredentials, TlsProvider } from '../options.js';
import { askUser, type OnThrown } from '../user-code.js';
import { kindOf } from '../validation.js';
import { userKeyFromSeed } from './nkey.js';
import type { ServerAddress } from './servers.js';
import { tlsFor } from './tls-identity.js';
import { checkTlsOptions, guardTlsFunctions } from './tls-options.js';

/** The part of `nats.connect`'s options that this file answers for. */
export interface NatsAuth {
  user?: string;
  pass?: string;
  token?: string;
  /** The public key; empty for none. */
  nkey?: string;
  nonceSigner: (nonce: Buffer) => Buffer;
  userJWT?: string;
  tls: false | ConnectionOptions;
}

/** Credentials as a dial needs them: nothing left to be read or asked. */
export type DialCredentials = Exclude<ResolvedCredentials, { kind: 'file' }>;

export const CREDENTIAL_NAMES = ['user', 'pass', 'token', 'nkey', 'userJWT', 'userCreds'] as const;
export const CREDENTIAL_HINTS: Readonly<Record<string, string>> = {
  password: "did you mean 'pass'?",
  username: "did you mean 'user'?",
  authToken: "did you mean 'token'?",
  auth_token: "did you mean 'token'?",
  tokenHandler: "use 'credentials', a function that resolves to { token }",
  nonceSigner: "give the seed as 'nkey' instead, and the nonce is signed with it",
  seed: "did you mean 'nkey'?",
  jwt: "did you mean 'userJWT'?",
  authenticator: "use 'credentials', or the static options user, pass, token, nkey, userCreds",
};

/**
 * The credentials of one dial: fresh from the provider, else those of the URL, else the static ones; a file is read.
 * The provider may take as long as it likes, so put a limit on it.
 *
 * @throws Error the provider's own, the file system's, or InvalidArgumentError for what is no credentials. Each is the
 *   failure of this dial only: a secret store may be down, and a file half written, for a moment.
 */
export async function dialCredentials(
  options: { readonly credentials?: CredentialsProvider; readonly staticCredentials: ResolvedCredentials },
  address: ServerAddress,
): Promise<DialCredentials> {
  const credentials = options.credentials
    ? await askProvider(options.credentials)
    : (urlCredentials(address) ?? options.staticCredentials);
  if (credentials.kind !== 'file') return credentials;
  return parseCredsFile(await readFile(credentials.userCreds, 'utf8'), credentials.userCreds);
}

async function askProvider(provider: CredentialsProvider): Promise<ResolvedCredentials> {
  const answer: unknown = await askUser(provider);
  if (typeof answer !== 'object' || answer === null || Array.isArray(answer)) {
    throw new InvalidArgumentError(
      'credentials',
      `the credentials function must resolve to an object such as { user, pass } or { token }, not ${kindOf(answer)}`,
    );
  }
  return readCredentials(
    new OptionReader(answer, 'credentials()', { known: CREDENTIAL_NAMES, hints: CREDENTIAL_HINTS }),
  );
}

function urlCredentials({ user, pass, token }: ServerAddress): ResolvedCredentials | undefined {
  if (token !== undefined) return { kind: 'token', token };
  if (user !== undefined) return { kind: 'password', user, pass: pass ?? '' };
  return undefined;
}

/**
 * Exactly one kind of proof, or none. Does not read a `userCreds` file.
 *
 * @throws InvalidArgumentError; no message has a secret in it
 */
export function readCredentials(options: OptionReader): ResolvedCredentials {
  const user = options.secret('user');
  const pass = options.secret('pass', { empty: true });
  const token = options.secret('token');
  const nkey = options.secret('nkey');
  const userJWT = options.secret('userJWT');
  const userCreds = options.string('userCreds', undefined);

  const kinds = Object.entries({ user, token, nkey, userCreds }).filter(([, value]) => value !== undefined);
  if (kinds.length > 1) {
    const [[first], [second]] = kinds as [[string, string], [string, string]];
    options.refuse(second, `cannot be combined with '${options.path(first)}': use one kind of credentials`);
  }
  if (pass !== undefined && user === undefined) options.refuse('pass', `needs '${options.path('user')}' beside it`);
  if (userJWT !== undefined && nkey === undefined) {
    options.refuse('userJWT', `needs '${options.path('nkey')}' beside it, the seed to sign with`);
  }

  if (user !== undefined) {
    if (pass === undefined) {
      options.refuse(
        'user',
        `needs '${options.path('pass')}' beside it; a token alone goes into '${options.path('token')}'`,
      );
    }
    return { kind: 'password', user, pass };
  }
  if (token !== undefined) return { kind: 'token', token };
  if (nkey !== undefined) {
    try {
      userKeyFromSeed(nkey);
    } catch (error) {
      options.refuse('nkey', `must be the seed of a user NKey: ${describe(error)}`);
    }
    return userJWT === undefined ? { kind: 'nkey', nkey } : { kind: 'nkey', nkey, userJWT };
  }
  if (userCreds !== undefined) return { kind: 'file', userCreds };
  return { kind: 'none' };
}

/**
 * Reads the file once, before anything is dialled: in the wrapped client a missing one is an uncaught exception.
 *
 * @throws InvalidArgumentError
 */
export function checkCredsFile(path: string): void {
  let content: string;
  try {
    content = readFileSync(path, 'utf8');
  } catch (error) {
    throw new InvalidArgumentError(
      'userCreds',
      `option 'userCreds' names a file that cannot be read: ${describe(error)}`,
      {
        cause: error,
      },
    );
  }
  parseCredsFile(content, path);
}

/** A credentials file has two blocks between lines of dashes: the user's JWT, then the seed. */
export function parseCredsFile(content: string, path: string): DialCredentials {
  const blocks = [...content.matchAll(/-{3,}[^\n]*-{3,}\r?\n\s*([\w.+/=-]+)\s*\n-{3,}[^\n]*-{3,}/g)];
  const [userJWT, nkey] = blocks.map((block) => block[1]!);
  const fault = (reason: string) =>
    new InvalidArgumentError(
      'userCreds',
      `the credentials file '${path}' (option 'userCreds') is not usable: ${reason}`,
    );
  if (userJWT === undefined || nkey === undefined) {
    throw fault(`it has ${userJWT === undefined ? 'no user JWT' : 'no seed'} between lines of dashes`);
  }
  try {
    userKeyFromSeed(nkey);
  } catch (error) {
    throw fault(`of its seed, ${describe(error)}`);
  }
  return { kind: 'nkey', nkey, userJWT };
}

/** What `nats.connect` needs for this server. Pure. */
export function natsAuth(
  options: { readonly tls: boolean | ConnectionOptions },
  address: ServerAddress,
  credentials: DialCredentials,
): NatsAuth {
  const wanted = options.tls !== false || address.tls;
  const tls = wanted && tlsFor(typeof options.tls === 'object' ? options.tls : {}, address);
  if (credentials.kind === 'nkey') {
    const key = userKeyFromSeed(credentials.nkey);
    const nonceSigner = (nonce: Buffer) => key.sign(nonce);
    // With a JWT the server takes the public key from there.
    return credentials.userJWT === undefined
      ? { tls, nonceSigner, nkey: key.publicKey }
      : { tls, nonceSigner, userJWT: credentials.userJWT };
  }
  // A server that knows any NKey sends a nonce to everybody, and at the sight of one the wrapped client refuses to go on
  // without a key and a signer. To the server, empty ones are none.
  const unsigned = { tls, nonceSigner: () => Buffer.alloc(0), nkey: '' };
  switch (credentials.kind) {
    case 'password':
      return { ...unsigned, user: credentials.user, pass: credentials.pass };
    case 'token':
      return { ...unsigned, token: credentials.token };
    case 'none':
      return unsigned;
  }
}

/**
 * The TLS options of one dial: fresh from the user's function, if there is one.
 *
 * @param onThrown hears what a function in them throws, which counts as "not verified"
 * @throws Error the function's own, or InvalidArgumentError for what is no TLS options: the failure of this dial only
 */
export async function dialTls(
  { tls }: { readonly tls: boolean | ConnectionOptions | TlsProvider },
  onThrown: OnThrown,
): Promise<boolean | ConnectionOptions> {
  const given = typeof tls === 'function' ? checkTlsOptions(await askUser(tls), 'tls()') : tls;
  return typeof given === 'object' ? guardTlsFunctions(given, onThrown) : given;
}
