/** The releases of the servers that are used: their versions, archives and checksums, and how a server tells its version. Pure. */
import { InvalidArgumentError } from '../../errors.js';

/**
 * The version of the streaming server that is downloaded or built: the last release.
 * @category Server binary
 */
export const SERVER_VERSION = '0.25.6';

/**
 * The version of `nats-server` that is built where none is asked for: the newest one with which the harness is tested. It needs
 * Go 1.26 or later. 2.12.15 and 2.10.27 are tested as well, and need less.
 * @category Server binary
 */
export const NATS_SERVER_VERSION = '2.15.2';

/**
 * The programs that can be found or got: the streaming server, and the server that JetStream's users run.
 * @category Server binary
 */
export type ServerProgram = 'nats-streaming-server' | 'nats-server';

/** One version of one program. */
export interface Release {
  readonly program: ServerProgram;
  readonly version: string;
  /** What `go install` is told. */
  readonly goModule: string;
  /** The first version of Go that builds it. Undefined when that is not known. */
  readonly go: string | undefined;
  /** The URL of the directory with the archives. */
  readonly downloadUrl: string;
  /** The environment variable with the path of the program. */
  readonly variable: string;
  /** The environment variable with the URL of a mirror. */
  readonly mirrorVariable: string;
  /** With which versions what is promised is tested. */
  readonly tested: readonly string[];
}

/** SHA-256 of the official archives, as the official container image pins them. */
const SHA256: Readonly<Record<string, string>> = {
  'linux-amd64': '10f25b100a5b9a7389882883259790d599b557a16ddde1accdfcf9361e19b2f9',
  'linux-arm64': 'caf2839d14c610d9d62afeb9022ee36aa4ff5adc86d0402bb7e1a5d7f5e7d26f',
  'linux-arm6': 'afe4cad7cbd39c029c1a8286099c635e174cc04494dde27595e3ae461e9c187a',
  'linux-arm7': '0264455a2c028e2828d517070bb06837206a70702bfba66656406bc9d750c282',
  'linux-386': '796d25d9411e42c7f183950ad109b1918e039236960919cb22d57748b329cae0',
};

/** The first version of Go that builds a version of `nats-server`, as its go.mod says. */
const GO_FOR: Readonly<Record<string, string>> = { '2.10.27': '1.23', '2.12.15': '1.25', '2.15.2': '1.26' };

/**
 * The release of a program.
 * @throws InvalidArgumentError when it is not a version, or not one that we know how to run
 */
export function releaseOf(program: ServerProgram = 'nats-streaming-server', version?: string): Release {
  if (version !== undefined && !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version)) {
    throw new InvalidArgumentError('version', `version must be three numbers, as '2.12.15', not '${version}'`);
  }
  switch (program) {
    case 'nats-streaming-server':
      if (version !== undefined && version !== SERVER_VERSION) {
        throw new InvalidArgumentError(
          'version',
          `only nats-streaming-server ${SERVER_VERSION} can be got, not ${version}: give the path of another one as 'server'`,
        );
      }
      return {
        program,
        version: SERVER_VERSION,
        goModule: `github.com/nats-io/nats-streaming-server@v${SERVER_VERSION}`,
        go: '1.20',
        downloadUrl: `https://github.com/nats-io/nats-streaming-server/releases/download/v${SERVER_VERSION}`,
        variable: 'RESILIENT_STAN_SERVER',
        mirrorVariable: 'RESILIENT_STAN_DOWNLOAD_URL',
        tested: [SERVER_VERSION],
      };
    case 'nats-server': {
      const wanted = version ?? NATS_SERVER_VERSION;
      return {
        program,
        version: wanted,
        goModule: `github.com/nats-io/nats-server/v2@v${wanted}`,
        go: GO_FOR[wanted],
        downloadUrl: `https://github.com/nats-io/nats-server/releases/download/v${wanted}`,
        variable: 'RESILIENT_STAN_NATS_SERVER',
        mirrorVariable: 'RESILIENT_STAN_NATS_DOWNLOAD_URL',
        tested: Object.keys(GO_FOR),
      };
    }
    default:
      throw new InvalidArgumentError(
        'program',
        `there is no program '${String(program)}': there are 'nats-streaming-server' and 'nats-server'`,
      );
  }
}

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

export function archiveName({ program, version }: Release, platform: string): string {
  return `${program}-v${version}-${platform}.tar.gz`;
}

/** The checksum of an official archive. Undefined where none is known. */
export function pinnedChecksum({ program }: Release, platform: string): string | undefined {
  return program === 'nats-streaming-server' ? SHA256[platform] : undefined;
}

const VERSION_LINE: Readonly<Record<ServerProgram, RegExp>> = {
  'nats-streaming-server': /^nats-streaming-server version v?(\d+\.\d+\.\d+[^\s,]*)/m,
  'nats-server': /^nats-server: v?(\d+\.\d+\.\d+\S*)/m,
};

/**
 * The version in a line as "nats-streaming-server version 0.25.6, nats-server: v2.9.24", or "nats-server: v2.15.2". Undefined for
 * another program.
 */
export function parseVersion(program: ServerProgram, output: string): string | undefined {
  return VERSION_LINE[program].exec(output)?.[1];
}
