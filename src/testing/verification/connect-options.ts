/** How the processes of a run prove who they are. All of it is text, because it is sent to other processes. */
import type { OptionReader } from '../../option-reader.js';
import { resolveConnectOptions } from '../../options.js';

/**
 * Credentials and TLS for the servers of {@link VerifyOptions.servers}, as the options of `ResilientStan.connect` of the same
 * names.
 *
 * @example
 * ```ts
 * await verify({ servers: 'nats://a:4222', connectOptions: { user: 'verify', pass: process.env.PASS, tls: true } });
 * ```
 * @category Verification
 */
export interface VerifyConnectOptions {
  /** User name. It needs `pass`. */
  user?: string | undefined;
  /** Password. It needs `user`. */
  pass?: string | undefined;
  /** Authorization token. */
  token?: string | undefined;
  /** The seed (`SU…`) of a user's NKey. */
  nkey?: string | undefined;
  /** Path of a credentials file with JWT and seed. */
  userCreds?: string | undefined;
  /** Whether TLS is demanded, and with which certificates. Default: for servers with a `tls://` URL only. */
  tls?:
    | boolean
    | {
        /** Certificate of the authority, as a PEM text. Default: those that Node knows. */
        ca?: string | undefined;
        /** Certificate of the client, as a PEM text. Default: none. */
        cert?: string | undefined;
        /** Private key of the client, as a PEM text. Default: none. */
        key?: string | undefined;
        /** The name that the servers' certificates are for. Default: the host of the URL. */
        servername?: string | undefined;
      }
    | undefined;
}

const NAMES = {
  known: ['user', 'pass', 'token', 'nkey', 'userCreds', 'tls'],
  hints: {
    creds: "did you mean 'userCreds'?",
    password: "did you mean 'pass'?",
    clusterId: "it stands beside 'servers'",
  },
};

const TLS_NAMES = { known: ['ca', 'cert', 'key', 'servername'], hints: { serverName: "did you mean 'servername'?" } };

/**
 * Reads `connectOptions`, and lets the library check them.
 * @throws InvalidArgumentError that shows no secret
 */
export function readConnectOptions(reader: OptionReader, servers: string | readonly string[]): VerifyConnectOptions {
  const given = reader.nested('connectOptions', NAMES);
  const options: VerifyConnectOptions = {};
  for (const name of ['user', 'token', 'nkey', 'userCreds'] as const) {
    const text = given.secret(name);
    if (text !== undefined) options[name] = text;
  }
  const pass = given.secret('pass', { empty: true });
  if (pass !== undefined) options.pass = pass;
  if (typeof given.values.tls === 'boolean') {
    options.tls = given.values.tls;
  } else if (given.has('tls')) {
    const tls = given.nested('tls', TLS_NAMES);
    const texts = TLS_NAMES.known.flatMap((name) => {
      const text = tls.secret(name);
      return text === undefined ? [] : [[name, text] as const];
    });
    options.tls = Object.fromEntries(texts);
  }
  resolveConnectOptions(servers, options);
  return options;
}
