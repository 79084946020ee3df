/** TLS and authentication of a test cluster, for its servers and its clients. */
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { makeCertificates } from './certificates.js';
import type { ConfigValue } from './config.js';
import { makeUserNKey } from './nkey.js';

/**
 * Whether the servers use TLS. With `true` they have certificates of an authority that is made for this cluster.
 * @category Cluster
 */
export type TlsOption =
  | boolean
  | {
      /** Whether clients have to show a certificate of that authority. Default false. */
      verify?: boolean;
    };

/**
 * NATS subjects that a user may use, with wildcards.
 * @category Cluster
 */
export interface SubjectPermissions {
  /** The subjects that are allowed. Default: all. */
  allow?: readonly string[];
  /** The subjects that are not allowed. They win over `allow`. Default: none. */
  deny?: readonly string[];
}

/**
 * The credentials that clients have to show: user and password, or a token, or the key of an NKey.
 * @category Cluster
 */
export type AuthOption =
  | {
      /** User name. */
      user: string;
      /** Password. */
      pass: string;
      /** What the user may do. Default: everything. */
      permissions?: {
        /** Subjects to publish to. Default: all. */
        publish?: SubjectPermissions;
        /** Subjects to subscribe to. Default: all. */
        subscribe?: SubjectPermissions;
      };
    }
  | {
      /** Token. */
      token: string;
    }
  | {
      /** Makes a key pair for this cluster. */
      nkey: true;
    };

/**
 * The credentials and certificates that a client needs to connect to a server.
 * @category Cluster
 */
export interface ServerConnectOptions {
  /** User name, if the cluster wants one. */
  user?: string;
  /** Password, if the cluster wants one. */
  pass?: string;
  /** Token, if the cluster wants one. */
  token?: string;
  /** The seed (`SU…`) of an NKey, if the cluster wants one. */
  nkey?: string;
  /** Certificates as PEM texts, if the cluster uses TLS. */
  tls?: {
    /** Certificate of the authority. */
    ca: string;
    /** Certificate of the client, if the servers verify it. */
    cert?: string;
    /** Private key of the client, if the servers verify it. */
    key?: string;
  };
}

/**
 * The options that a client needs to connect to a cluster, besides its URLs. They are options of `ResilientStan.connect`.
 * @category Cluster
 */
export interface ClusterConnectOptions extends ServerConnectOptions {
  /** The cluster ID. */
  clusterId: string;
}

export interface Security {
  connectOptions: ServerConnectOptions;
  /** A part of each server's configuration. */
  config: { readonly [key: string]: ConfigValue | undefined };
}

/** Makes keys and certificates, and writes those that the servers read into `dir`. */
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
      // The streaming server is itself a client of its NATS server, so it has to know the authority.
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
  // The streaming server has a user of its own, because the client's permissions would not be enough for it.
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
