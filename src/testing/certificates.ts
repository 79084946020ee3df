/**
 * Makes certificates for a test cluster: an authority, a server certificate for the loopback names, and a client certificate.
 * Node can check certificates but not make them, and not every machine has openssl. So their structures (DER, X.509 version
 * 3, ECDSA on P-256) are written here. For tests only.
 */
import { createHash, generateKeyPairSync, randomBytes, sign, type KeyObject } from 'node:crypto';

/** PEM texts. */
export interface CertificateSet {
  ca: string;
  server: { cert: string; key: string };
  client: { cert: string; key: string };
}

const DAY = 24 * 60 * 60 * 1000;

/** Makes the certificates. They are valid from one day before `now` to ten days after. */
export function makeCertificates(now = Date.now()): CertificateSet {
  const authority = keyPair();
  const issuer = 'resilient-stan test authority';
  const validity = sequence(time(now - DAY), time(now + 10 * DAY));
  const issue = (subject: string, publicKey: KeyObject, extensions: Buffer[]): string =>
    certificate({
      issuer,
      signer: authority.privateKey,
      subject,
      publicKey,
      validity,
      // Strict verifiers want to know which key has signed it.
      extensions: [
        ...extensions,
        extension(OID.authorityKeyIdentifier, sequence(tlv(0x80, keyId(authority.publicKey)))),
      ],
    });

  const server = keyPair();
  const client = keyPair();
  return {
    ca: issue(issuer, authority.publicKey, [
      extension(OID.basicConstraints, sequence(TRUE), true),
      extension(OID.subjectKeyIdentifier, tlv(0x04, keyId(authority.publicKey))),
      // keyCertSign and cRLSign
      extension(OID.keyUsage, tlv(0x03, Buffer.from([1, 0x06])), true),
    ]),
    server: {
      cert: issue('localhost', server.publicKey, [
        extension(
          OID.subjectAltName,
          sequence(dnsName('localhost'), ipAddress([127, 0, 0, 1]), ipAddress(LOOPBACK_V6)),
        ),
        // The server also uses it as a client, for its inner connection.
        extension(OID.extendedKeyUsage, sequence(oid(OID.serverAuth), oid(OID.clientAuth))),
      ]),
      key: pem(server.privateKey),
    },
    client: {
      cert: issue('resilient-stan test client', client.publicKey, [
        extension(OID.extendedKeyUsage, sequence(oid(OID.clientAuth))),
      ]),
      key: pem(client.privateKey),
    },
  };
}

const OID = {
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  commonName: '2.5.4.3',
  basicConstraints: '2.5.29.19',
  subjectKeyIdentifier: '2.5.29.14',
  authorityKeyIdentifier: '2.5.29.35',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  extendedKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
} as const;

const LOOPBACK_V6 = [...Array<number>(15).fill(0), 1];

function keyPair(): { publicKey: KeyObject; privateKey: KeyObject } {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' });
}

/** An identifier of a key: any 20 bytes will do that differ from key to key. */
function keyId(key: KeyObject): Buffer {
  return createHash('sha1')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest();
}

function pem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }) as string;
}

function certificate(of: {
  issuer: string;
  signer: KeyObject;
  subject: string;
  publicKey: KeyObject;
  validity: Buffer;
  extensions: Buffer[];
}): string {
  const algorithm = sequence(oid(OID.ecdsaWithSha256));
  const serial = randomBytes(16);
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40; // so that it is positive and has its full length
  const toBeSigned = sequence(
    tlv(0xa0, tlv(0x02, Buffer.from([2]))), // version 3
    tlv(0x02, serial),
    algorithm,
    name(of.issuer),
    of.validity,
    name(of.subject),
    of.publicKey.export({ type: 'spki', format: 'der' }),
    tlv(0xa3, sequence(...of.extensions)),
  );
  const signature = sign('sha256', toBeSigned, of.signer);
  const der = sequence(toBeSigned, algorithm, tlv(0x03, Buffer.concat([Buffer.from([0]), signature])));
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}

function name(commonName: string): Buffer {
  return sequence(tlv(0x31, sequence(oid(OID.commonName), tlv(0x0c, Buffer.from(commonName)))));
}

function extension(id: string, value: Buffer, critical = false): Buffer {
  return sequence(oid(id), ...(critical ? [TRUE] : []), tlv(0x04, value));
}

function dnsName(host: string): Buffer {
  return tlv(0x82, Buffer.from(host));
}

function ipAddress(bytes: readonly number[]): Buffer {
  return tlv(0x87, Buffer.from(bytes));
}

/** A time as UTCTime, which can be used up to 2049, or as GeneralizedTime. */
function time(ms: number): Buffer {
  const digits = new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, '');
  return Number(digits.slice(0, 4)) < 2050 ? tlv(0x17, Buffer.from(digits.slice(2))) : tlv(0x18, Buffer.from(digits));
}

function sequence(...parts: Buffer[]): Buffer {
  return tlv(0x30, Buffer.concat(parts));
}

function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const bytes = [first * 40 + second];
  for (const arc of rest) {
    const digits = [arc & 0x7f];
    for (let left = arc >>> 7; left > 0; left >>>= 7) digits.unshift((left & 0x7f) | 0x80);
    bytes.push(...digits);
  }
  return tlv(0x06, Buffer.from(bytes));
}

/** Tag, length, value. */
function tlv(tag: number, value: Buffer): Buffer {
  const { length } = value;
  if (length < 0x80) return Buffer.concat([Buffer.from([tag, length]), value]);
  const digits: number[] = [];
  for (let left = length; left > 0; left >>>= 8) digits.unshift(left & 0xff);
  return Buffer.concat([Buffer.from([tag, 0x80 | digits.length, ...digits]), value]);
}

const TRUE = tlv(0x01, Buffer.from([0xff]));
