/** Translates credentials and TLS options for the dial of one server into the options of nats 1.4.12. */
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

/** The options of `nats.connect` that are made here. */
export interface NatsAuth {
  user?: string;
  pass?: string;
  token?: string;
  /** The public key; empty if there is none. */
  nkey?: string;
  nonceSigner: (nonce: Buffer) => Buffer;
  userJWT?: string;
  tls: false | ConnectionOptions;
}

/**
 * Returns the credentials of one dial: from the provider if there is one, else from the URL, else the static ones. A
 * credentials file is read. The provider may take any time, so the caller sets a limit.
 *
 * @throws Error of the provider or of the file system, or InvalidArgumentError for credentials that cannot be used. Only this
 * dial fails because of it: a secret store may be down for a moment, or a file may be half written.
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
 * Returns the options of `nats.connect` for one server. Pure.
 * @param onThrown is told what a signer of the user throws, which counts as a wrong signature
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
    // With a JWT, the server takes the public key from the JWT.
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
  // A server that knows any NKey sends a nonce to every client. The wrapped client stops at a nonce unless it has a key and a
  // signer. The server treats empty ones as none.
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

/** Calls the user's signer. It must not throw, because the wrapped client calls it where a throw would end the process. */
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
 * Returns the TLS options of one dial. They come from the user's function if there is one.
 *
 * @param onThrown hears what a function among the options throws, which counts as "not verified"
 * @throws Error of the user's function, or InvalidArgumentError for options that cannot be used. Only this dial fails because
 * of it.
 */
export async function dialTls(
  { tls }: { readonly tls: boolean | ConnectionOptions | TlsProvider },
  onThrown: OnThrown,
): Promise<boolean | ConnectionOptions> {
  const given = typeof tls === 'function' ? checkTlsOptions(await askUser(tls), 'tls()') : tls;
  return typeof given === 'object' ? guardTlsFunctions(given, onThrown) : given;
}
