/** The release of the server that is used: its version, its archives and their checksums. Pure. */

/**
 * The version of the server that is downloaded or built: the last release.
 * @category Server binary
 */
export const SERVER_VERSION = '0.25.6';

export const GO_MODULE = `github.com/nats-io/nats-streaming-server@v${SERVER_VERSION}`;

export const DOWNLOAD_URL = `https://github.com/nats-io/nats-streaming-server/releases/download/v${SERVER_VERSION}`;

/** SHA-256 of the official archives, as the official container image pins them. */
const SHA256: Readonly<Record<string, string>> = {
  'linux-amd64': '10f25b100a5b9a7389882883259790d599b557a16ddde1accdfcf9361e19b2f9',
  'linux-arm64': 'caf2839d14c610d9d62afeb9022ee36aa4ff5adc86d0402bb7e1a5d7f5e7d26f',
  'linux-arm6': 'afe4cad7cbd39c029c1a8286099c635e174cc04494dde27595e3ae461e9c187a',
  'linux-arm7': '0264455a2c028e2828d517070bb06837206a70702bfba66656406bc9d750c282',
  'linux-386': '796d25d9411e42c7f183950ad109b1918e039236960919cb22d57748b329cae0',
};

/** The name of this platform in the release's file names. */
export function releasePlatform(
  platform: string = process.platform,
  arch: string = process.arch,
  armVersion: string | undefined = (process.config.variables as { arm_version?: string }).arm_version,
): string {
  const os = platform === 'win32' ? 'windows' : platform;
  const cpu = { x64: 'amd64', ia32: '386', arm: `arm${armVersion === '6' ? 6 : 7}` }[arch] ?? arch;
  return `${os}-${cpu}`;
}

export function archiveName(platform: string): string {
  return `nats-streaming-server-v${SERVER_VERSION}-${platform}.tar.gz`;
}

export function pinnedChecksum(platform: string): string | undefined {
  return SHA256[platform];
}

/** The version in a line as "nats-streaming-server version 0.25.6, nats-server: v2.9.24". Undefined for another program. */
export function parseVersion(output: string): string | undefined {
  return /^nats-streaming-server version v?(\d+\.\d+\.\d+[^\s,]*)/m.exec(output)?.[1];
}
