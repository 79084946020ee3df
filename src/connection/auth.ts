/** Who we are, in the words of nats 1.4.12: credentials and TLS for the dial of one server. */
import { readFile } from 'node:fs/promises';
import type { ConnectionOptions } from 'node:tls';
import { types } from 'node:util';
import { CallbackError, InvalidArgumentError } from '../errors.js';
import { OptionReader } from '../option-reader.js';
import { askUser, type OnThrown } from '../user-code.js';
import { kindOf } from '../validation.js';
import {
  CREDENTIAL_HINTS,
  CREDENTIAL_NAMES,
  parseCredsFile,
  readCredentials,
  type CredentialsProvider,
  type DialCredentials,
  type NonceSigner,
  type ResolvedCredentials,
} from './credentials.js';
import { userKeyFromSeed } from './nkey.js';
import type { ServerAddress } from './servers.js';
import { tlsFor } from './tls-identity.js';
import { checkTlsOptions, guardTlsFunctions, type TlsProvider } from './tls-options.js';

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
 * What `nats.connect` needs for this server. Pure.
 * @param onThrown hears what a signer of the user throws, which counts as a wrong signature
 */
export function natsAuth(
  options: { readonly tls: boolean | ConnectionOptions },
  address: ServerAddress,
  credentials: DialCredentials,
  onThrown: OnThrown = () => undefined,
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
  if (credentials.kind === 'signer') {
    const nonceSigner = (nonce: Buffer) => signed(credentials.nonceSigner, nonce, onThrown);
    return 'userJWT' in credentials
      ? { tls, nonceSigner, userJWT: credentials.userJWT }
      : { tls, nonceSigner, nkey: credentials.nkey };
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

/** It is called in the middle of the wrapped client's own work, where a throw would end the process. */
function signed(signer: NonceSigner, nonce: Buffer, onThrown: OnThrown): Buffer {
  try {
    const signature: unknown = signer(nonce);
    if (types.isUint8Array(signature)) return Buffer.from(signature);
    throw new Error(`it must return the signature as a Uint8Array, not ${kindOf(signature)}`);
  } catch (thrown) {
    onThrown(new CallbackError("the function 'nonceSigner'", thrown));
    return Buffer.alloc(0);
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
