/** TLS and authentication of a test cluster: what the servers are told, and what a client has to show. */
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { makeCertificates } from './certificates.js';
import type { ConfigValue } from './config.js';
import { makeUserNKey } from './nkey.js';

/** `true`: the servers have certificates of an authority made for this cluster. `verify`: clients need one, too. */
export type TlsOption = boolean | { verify?: boolean };

export interface SubjectPermissions {
  allow?: readonly string[];
  deny?: readonly string[];
}

export type AuthOption =
  /** A user with a password; limited to what the permissions say, if they say anything. */
  | { user: string; pass: string; permissions?: { publish?: SubjectPermissions; subscribe?: SubjectPermissions } }
  | { token: string }
  /** A key pair made for this cluster. */
  | { nkey: true };

/** What a client needs to connect, besides the URLs: options of `ResilientStan.connect`. */
export interface ClusterConnectOptions {
  clusterId: string;
  user?: string;
  pass?: string;
  token?: string;
  /** Seed (`SU…`). */
  nkey?: string;
  /** PEM texts. */
  tls?: { ca: string; cert?: string; key?: string };
}

export interface Security {
  connectOptions: Omit<ClusterConnectOptions, 'clusterId'>;
  /** To be merged into every server's configuration. */
  config: { readonly [key: string]: ConfigValue | undefined };
}

/** Makes keys and certificates, and writes those the servers read into `dir`. */
export async function prepareSecurity(
  dir: string,
  tls: TlsOption | undefined,
  auth: AuthOption | undefined,
): Promise<Security> {
  const parts: Security[] = [];
  if (tls) parts.push(await prepareTls(join(dir, 'tls'), tls === true ? {} : tls));
  if (auth) parts.push(await prepareAuth(dir, auth));
  const streaming = Object.assign({}, ...parts.map(({ config }) => config['streaming'])) as Record<string, ConfigValue>;
  return {
    connectOptions: Object.assign(
      {},
      ...parts.map(({ connectOptions }) => connectOptions),
    ) as Security['connectOptions'],
    config: Object.assign({}, ...parts.map(({ config }) => config), { streaming }) as Security['config'],
  };
}

async function prepareTls(dir: string, { verify = false }: { verify?: boolean }): Promise<Security> {
  const made = makeCertificates();
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const file = async (name: string, content: string): Promise<string> => {
    const path = join(dir, name);
    await writeFile(path, content, { mode: 0o600 });
    return path;
  };
  const [ca, cert, key] = await Promise.all([
    file('ca.pem', made.ca),
    file('server.pem', made.server.cert),
    file('server.key', made.server.key),
  ]);
  return {
    connectOptions: {
      tls: verify ? { ca: made.ca, cert: made.client.cert, key: made.client.key } : { ca: made.ca },
    },
    config: {
      tls: { cert_file: cert, key_file: key, ca_file: ca, verify, timeout: 5 },
      // The streaming server is a client of the NATS server it embeds, and has to know its authority.
      streaming: { tls: { client_ca: ca, ...(verify && { client_cert: cert, client_key: key }) } },
    },
  };
}

async function prepareAuth(dir: string, auth: AuthOption): Promise<Security> {
  if ('token' in auth) {
    const { token } = auth;
    return { connectOptions: { token }, config: { authorization: { token }, streaming: { token } } };
  }
  if ('nkey' in auth) {
    const client = makeUserNKey();
    const inner = makeUserNKey();
    const seedFile = join(dir, 'streaming.nk');
    await writeFile(seedFile, `${inner.seed}\n`, { mode: 0o600 });
    await chmod(seedFile, 0o600);
    return {
      connectOptions: { nkey: client.seed },
      config: {
        authorization: { users: [{ nkey: client.publicKey }, { nkey: inner.publicKey }] },
        streaming: { nkey_seed_file: seedFile },
      },
    };
  }
  // The streaming server has a user of its own: the client's permissions are not for it.
  const inner = { user: 'streaming-server', password: randomBytes(16).toString('hex') };
  const { user, pass, permissions } = auth;
  return {
    connectOptions: { user, pass },
    config: {
      authorization: {
        users: [inner, { user, password: pass, permissions: permissions as ConfigValue | undefined }],
      },
      streaming: { username: inner.user, password: inner.password },
    },
  };
}
