/** Checks the credentials that a user gives, and reads credentials files. */
import { readFileSync } from 'node:fs';
import { describe, InvalidArgumentError } from '../errors.js';
import type { OptionReader } from '../option-reader.js';
import { isUserPublicKey, userKeyFromSeed } from './nkey.js';
import type { ServerAddress } from './servers.js';

/**
 * The credentials of this client, with the names of the NATS client. Only one kind may be given: `user` and `pass`, or
 * `token`, or `nkey`, or `userCreds`. Default: none.
 * @category Connecting
 */
export interface Credentials {
  /**
   * User name. It needs `pass`.
   * @group Credentials
   */
  user?: string | undefined;
  /**
   * Password. It needs `user`.
   * @group Credentials
   */
  pass?: string | undefined;
  /**
   * Authorization token.
   * @group Credentials
   */
  token?: string | undefined;
  /**
   * The seed (`SU…`) of a user's NKey. The public key follows from it, and it signs the server's nonce.
   * @group Credentials
   */
  nkey?: string | undefined;
  /**
   * The user's JWT as a string. It needs `nkey`.
   * @group Credentials
   */
  userJWT?: string | undefined;
  /**
   * Signs the server's nonce instead of a seed, so that the seed may be where nobody can read it. It needs `userJWT`, or the
   * user's public key (`U…`) as `nkey`.
   * @group Credentials
   */
  nonceSigner?: NonceSigner | undefined;
  /**
   * Path of a credentials file with JWT and seed. It is read before each dial, so it may be replaced in place.
   * @group Credentials
   */
  userCreds?: string | undefined;
}

/**
 * Signs a nonce of the server with the user's Ed25519 key, and returns the 64 bytes of the signature at once, not a promise.
 * If it throws or returns anything else, the server refuses that dial, and the client emits `error`.
 *
 * @param nonce the bytes to sign
 * @example
 * ```ts
 * const nonceSigner: NonceSigner = (nonce) => sign(null, nonce, privateKey); // sign() of node:crypto
 * ```
 * @category Connecting
 */
export type NonceSigner = (nonce: Buffer) => Uint8Array;

/**
 * Called before each dial, so that each one has fresh credentials. If it throws or its promise is rejected, that dial has
 * failed, and is tried again like any other.
 *
 * @example
 * ```ts
 * const credentials: CredentialsProvider = async () => ({ token: await readToken() });
 * ```
 * @category Connecting
 */
export type CredentialsProvider = () => Credentials | Promise<Credentials>;

/** Credentials that were checked: one complete kind, or none. */
export type ResolvedCredentials =
  | { readonly kind: 'none' }
  | { readonly kind: 'password'; readonly user: string; readonly pass: string }
  | { readonly kind: 'token'; readonly token: string }
  /** `nkey` is the seed. */
  | { readonly kind: 'nkey'; readonly nkey: string; readonly userJWT?: string }
  | ({ readonly kind: 'signer'; readonly nonceSigner: NonceSigner } & (
      | { readonly userJWT: string }
      /** `nkey` is the public key. */
      | { readonly nkey: string }
    ))
  | { readonly kind: 'file'; readonly userCreds: string };

/** Credentials that a dial can use without reading or asking anything. */
export type DialCredentials = Exclude<ResolvedCredentials, { kind: 'file' }>;

export const CREDENTIAL_NAMES = ['user', 'pass', 'token', 'nkey', 'userJWT', 'nonceSigner', 'userCreds'] as const;
export const CREDENTIAL_HINTS: Readonly<Record<string, string>> = {
  password: "did you mean 'pass'?",
  username: "did you mean 'user'?",
  authToken: "did you mean 'token'?",
  auth_token: "did you mean 'token'?",
  tokenHandler: "use 'credentials', a function that resolves to { token }",
  sigCB: "did you mean 'nonceSigner'?",
  seed: "did you mean 'nkey'?",
  jwt: "did you mean 'userJWT'?",
  authenticator: "use 'credentials', or the static options user, pass, token, nkey, userCreds",
};

/**
 * Returns the static credentials. They are none if a function or a URL gives credentials.
 * @throws InvalidArgumentError
 */
export function resolveCredentials(reader: OptionReader, addresses: readonly ServerAddress[]): ResolvedCredentials {
  const credentials = readCredentials(reader);
  const given = CREDENTIAL_NAMES.find((name) => reader.has(name));
  if (reader.has('credentials') && given !== undefined) {
    reader.refuse(given, "cannot be combined with 'credentials', which is asked before every dial: use one of the two");
  }
  const fromUrl = addresses.find(({ user, token }) => user !== undefined || token !== undefined);
  const option = reader.has('credentials') ? 'credentials' : given;
  if (fromUrl !== undefined && option !== undefined) {
    reader.refuse(option, `cannot be combined with the credentials in the URL of ${fromUrl.url}: use one of the two`);
  }
  if (credentials.kind === 'file') checkCredsFile(credentials.userCreds);
  return credentials;
}

/**
 * Returns credentials of exactly one kind, or none. It does not read a `userCreds` file.
 *
 * @throws InvalidArgumentError; its message contains no secret
 */
export function readCredentials(options: OptionReader): ResolvedCredentials {
  const user = options.secret('user');
  const pass = options.secret('pass', { empty: true });
  const token = options.secret('token');
  const nkey = options.secret('nkey');
  const userJWT = options.secret('userJWT');
  const userCreds = options.string('userCreds', undefined);
  const nonceSigner = options.callback<NonceSigner>('nonceSigner', '(nonce) => …');
  if (nonceSigner !== undefined) return signerCredentials(options, nonceSigner, { user, token, userCreds });

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

function signerCredentials(
  options: OptionReader,
  nonceSigner: NonceSigner,
  others: Record<string, string | undefined>,
): ResolvedCredentials {
  const other = Object.keys(others).find((name) => others[name] !== undefined);
  if (other !== undefined) {
    options.refuse(other, `cannot be combined with '${options.path('nonceSigner')}': use one kind of credentials`);
  }
  const userJWT = options.secret('userJWT');
  if (userJWT !== undefined) return { kind: 'signer', nonceSigner, userJWT };
  const nkey = options.secret('nkey');
  if (nkey === undefined) {
    options.refuse(
      'nonceSigner',
      `needs the user's public key beside it, as '${options.path('nkey')}', or '${options.path('userJWT')}'`,
    );
  }
  if (!isUserPublicKey(nkey)) {
    options.refuse(
      'nkey',
      `must be the public key of a user beside '${options.path('nonceSigner')}': 56 characters of A–Z and 2–7 that start with 'U'`,
    );
  }
  return { kind: 'signer', nonceSigner, nkey };
}

/**
 * Reads the file once before anything is dialled, because in the wrapped client a missing file is an uncaught exception.
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

/** Reads a credentials file. It has two blocks between lines of dashes: the user's JWT, and then the seed. */
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
