/** How to prove who we are: what users may say, and what it comes to. */
import { readFileSync } from 'node:fs';
import { describe, InvalidArgumentError } from '../errors.js';
import type { OptionReader } from '../option-reader.js';
import { isUserPublicKey, userKeyFromSeed } from './nkey.js';
import type { ServerAddress } from './servers.js';

/** How to prove who we are. The names are those of the NATS client; use one kind of proof only. */
export interface Credentials {
  /** User name; goes with `pass`. */
  user?: string | undefined;
  /** Password; goes with `user`. */
  pass?: string | undefined;
  /** Authorization token. */
  token?: string | undefined;
  /** NKey *seed* of a user (`SU…`). The public key is derived from it, and the server's nonce is signed with it. */
  nkey?: string | undefined;
  /** User JWT, when it is at hand as a string; goes with `nkey`. In a file together with its seed: `userCreds`. */
  userJWT?: string | undefined;
  /**
   * Signs the server's nonce (Ed25519, 64 bytes) in the place of a seed, so that the seed may be where nobody can read it. Goes
   * with `userJWT`, or with the user's *public* key (`U…`) as `nkey`.
   */
  nonceSigner?: NonceSigner | undefined;
  /** Path of a credentials file (JWT and seed). It is read before every dial, so it may be rotated in place. */
  userCreds?: string | undefined;
}

/** Answers at once; one that throws is the failure of that dial. */
export type NonceSigner = (nonce: Buffer) => Uint8Array;

/**
 * Called before every dial, so that each one goes out with fresh credentials. A rejection counts as the failure of
 * that dial, and is retried like any other.
 */
export type CredentialsProvider = () => Credentials | Promise<Credentials>;

/** Credentials that were checked: one complete kind of proof, or none. */
export type ResolvedCredentials =
  | { readonly kind: 'none' }
  | { readonly kind: 'password'; readonly user: string; readonly pass: string }
  | { readonly kind: 'token'; readonly token: string }
  /** `nkey` is the seed. */
  | { readonly kind: 'nkey'; readonly nkey: string; readonly userJWT?: string }
  | ({ readonly kind: 'signer'; readonly nonceSigner: NonceSigner } & (
      | { readonly userJWT: string }
      /** The public key. */
      | { readonly nkey: string }
    ))
  | { readonly kind: 'file'; readonly userCreds: string };

/** Credentials as a dial needs them: nothing left to be read or asked. */
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
 * The static credentials, or none where a function or a URL has them.
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
