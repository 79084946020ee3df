/** Key pairs made with ts-nkeys, the implementation that the wrapped client uses. For tests only. */
import { createRequire } from 'node:module';

interface KeyPair {
  getSeed(): Buffer;
  getPublicKey(): Buffer;
  sign(input: Buffer): Buffer;
  verify(input: Buffer, signature: Buffer): boolean;
}

// Not a dependency of ours: found from where `nats` finds it.
const nats = createRequire(import.meta.url).resolve('nats');
export const tsNkeys = createRequire(nats)('ts-nkeys') as {
  createUser(): KeyPair;
  createAccount(): KeyPair;
  createOperator(): KeyPair;
  fromPublic(key: Buffer): KeyPair;
};

/** The seed of some user. */
export const SEED = tsNkeys.createUser().getSeed().toString();

/** A new operator with one account and one user in it, and the system's account: what a server and a client of it need. */
export function credentials() {
  const [operator, account, user] = [tsNkeys.createOperator(), tsNkeys.createAccount(), tsNkeys.createUser()];
  const system = tsNkeys.createAccount();
  const unlimited = { subs: -1, data: -1, payload: -1 };
  const userJwt = jwt(user, account, { type: 'user', pub: {}, sub: {}, ...unlimited });
  const seed = user.getSeed().toString();
  return {
    operator: jwt(operator, operator, { type: 'operator' }),
    accountKey: account.getPublicKey().toString(),
    account: jwt(account, operator, {
      type: 'account',
      limits: {
        ...{ ...unlimited, imports: -1, exports: -1, wildcards: true, conn: -1, leaf: -1 },
        // Without these it has no JetStream.
        ...{ mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 },
      },
    }),
    systemKey: system.getPublicKey().toString(),
    system: jwt(system, operator, { type: 'account', limits: { ...unlimited, conn: -1 } }),
    user: userJwt,
    seed,
    credsFile:
      `-----BEGIN NATS USER JWT-----\n${userJwt}\n------END NATS USER JWT------\n\n` +
      `-----BEGIN USER NKEY SEED-----\n${seed}\n------END USER NKEY SEED------\n`,
  };
}

/** A JWT as NATS has them: about `subject`, signed by `issuer` with its NKey. */
function jwt(subject: KeyPair, issuer: KeyPair, nats: Record<string, unknown>): string {
  const encode = (part: unknown) => Buffer.from(JSON.stringify(part)).toString('base64url');
  const iat = Math.floor(Date.now() / 1000);
  const [sub, iss] = [subject.getPublicKey().toString(), issuer.getPublicKey().toString()];
  const claims = { jti: sub, iat, iss, name: String(nats.type), sub, nats: { ...nats, version: 2 } };
  const signed = `${encode({ typ: 'JWT', alg: 'ed25519-nkey' })}.${encode(claims)}`;
  return `${signed}.${Buffer.from(issuer.sign(Buffer.from(signed))).toString('base64url')}`;
}
