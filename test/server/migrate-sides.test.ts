/** A migration between servers that each want other credentials, and TLS: every step reaches both sides, and says which one refuses. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InvalidArgumentError, type ConnectOptions, type ResilientStan } from '../../src/index.js';
import {
  copy,
  cut,
  durables,
  MigrationSourceError,
  MigrationTargetError,
  plan,
  verify,
  type MigrateOptions,
  type Report,
  type SideOptions,
} from '../../src/migrate/index.js';
import {
  JetStreamCluster,
  StanCluster,
  type ClusterOptions,
  type JetStreamClusterOptions,
} from '../../src/testing/index.js';
import { Clients, rejection, uniqueName, until } from '../support/clients.js';
import { runCommand } from '../support/command.js';
import { credentials, tsNkeys } from '../support/nkeys.js';

/** How the servers of a side know their clients, and what a client of them needs. */
interface Kind {
  readonly stan: ClusterOptions;
  readonly jetstream: JetStreamClusterOptions;
  /** What a client needs. Undefined: what the cluster says. */
  readonly side?: SideOptions;
  /** Credentials that are refused. */
  readonly wrong: SideOptions;
}

const KINDS = ['user', 'token', 'nkey', 'creds', 'tls'] as const;
type KindName = (typeof KINDS)[number];

/** What the error of a side says when it refuses. */
const REFUSALS: Readonly<Record<KindName, RegExp>> = {
  user: /Authorization Violation/i,
  token: /Authorization Violation/i,
  nkey: /Authorization Violation/i,
  creds: /Authorization Violation/i,
  tls: /certificate/i,
};

describe('the sides of a migration', function () {
  this.timeout(60_000);
  const clients = new Clients();
  let dir: string;
  let kinds: Record<KindName, Kind>;

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'migrate-sides-'));
    const [jwt, other] = [credentials(), credentials()];
    const [userCreds, wrongCreds] = [join(dir, 'right.creds'), join(dir, 'wrong.creds')];
    await writeFile(userCreds, jwt.credsFile);
    await writeFile(wrongCreds, other.credsFile);
    const operator = {
      operator: jwt.operator,
      resolver: 'MEMORY',
      system_account: jwt.systemKey,
      resolver_preload: { [jwt.accountKey]: jwt.account, [jwt.systemKey]: jwt.system },
    };
    const same = (options: Pick<ClusterOptions, 'auth' | 'tls'>, wrong: SideOptions): Kind => ({
      stan: options,
      jetstream: options,
      wrong,
    });
    kinds = {
      user: same({ auth: { user: 'm@e', pass: 's:e/c%r?t#' } }, { user: 'm@e', pass: 'wrong' }),
      token: same({ auth: { token: 's%cr@t' } }, { token: 'wrong' }),
      nkey: same({ auth: { nkey: true } }, { nkey: tsNkeys.createUser().getSeed().toString() }),
      creds: {
        stan: { config: { ...operator, streaming: { credentials: userCreds } } },
        jetstream: { config: operator },
        side: { userCreds },
        wrong: { userCreds: wrongCreds },
      },
      tls: same({ tls: { verify: true } }, { tls: true }),
    };
  });
  after(async () => {
    await clients.closeAll();
    await rm(dir, { recursive: true, force: true });
  });

  /** What a side is given. */
  function sideOf({ side }: Kind, { connectOptions }: StanCluster | JetStreamCluster): SideOptions {
    const { clusterId: _, ...own } = connectOptions as ConnectOptions;
    return side ?? (own as SideOptions);
  }

  /** A channel with a durable that has something pending. */
  async function prepare(stan: ResilientStan, channel: string): Promise<void> {
    for (let i = 0; i < 20; i++) await stan.publish(channel, `${i}`);
    const seen: number[] = [];
    const options = { durableName: 'reader', startAt: 'first', manualAck: true } as const;
    const subscription = await stan.subscribe(
      channel,
      (message) => {
        seen.push(message.sequence);
        if (message.sequence > 5) message.ack();
      },
      options,
    );
    await until(() => seen.length === 20, 'the durable gets nothing');
    await subscription.close();
  }

  const done = ({ ok, problems }: Report): void => assert.deepEqual([ok, problems], [true, []]);

  /** All steps, from the first to the last. */
  async function move(options: MigrateOptions): Promise<void> {
    const planned = await plan(options);
    done(planned);
    assert.deepEqual(
      planned.channels.map(({ messages }) => messages),
      [20],
    );
    done(await copy(options));
    const verified = await verify(options);
    done(verified);
    assert.equal(verified.compared, 20);
    const moved = await durables(options);
    done(moved);
    assert.deepEqual(
      moved.durables.map(({ outcome, pending }) => [outcome, pending]),
      [['made', 5]],
    );
    const { channels, ...report } = await cut({ ...options, quiet: 1 });
    done(report);
    assert.deepEqual(
      channels.map(({ state, cutAt }) => [state, cutAt]),
      [[options.to === undefined ? 'open' : 'opened', 20]],
    );
  }

  /** The options of a command line for a side. */
  async function flagsOf(side: SideOptions, prefix: '--' | '--to-'): Promise<string[]> {
    const flags = Object.entries({ user: side.user, pass: side.pass, token: side.token, nkey: side.nkey });
    const given = flags.flatMap(([name, value]) => (value === undefined ? [] : [`${prefix}${name}`, value]));
    if (side.userCreds !== undefined) given.push(`${prefix}creds`, side.userCreds);
    if (typeof side.tls === 'object') {
      for (const [name, text] of Object.entries(side.tls as Record<string, string>)) {
        const file = join(dir, uniqueName(name));
        await writeFile(file, text, { mode: 0o600 });
        given.push(`${prefix}tls-${name}`, file);
      }
    } else if (side.tls === true) given.push(`${prefix}tls`);
    return given;
  }

  for (const [i, source] of KINDS.entries()) {
    const target = KINDS[(i + 1) % KINDS.length]!;

    describe(`--from with ${source}, --to with ${target}`, () => {
      let cluster: StanCluster;
      let jetstream: JetStreamCluster;
      let options: MigrateOptions & { source: SideOptions; target: SideOptions };

      before(async () => {
        [cluster, jetstream] = await Promise.all([
          StanCluster.start({ mode: 'single', store: 'memory', ...kinds[source].stan }),
          JetStreamCluster.start({ nodes: 1, ...kinds[target].jetstream }),
        ]);
        options = {
          from: cluster.urls,
          monitor: cluster.nodes[0]!.monitor.url,
          to: jetstream.urls,
          source: sideOf(kinds[source], cluster),
          target: sideOf(kinds[target], jetstream),
        };
        const stan = await clients.connect(cluster.urls, { ...(options.source as ConnectOptions), clientId: 'worker' });
        await prepare(stan, 'orders');
        await stan.close();
      });
      after(() => Promise.all([cluster?.stop(), jetstream?.stop()]));

      for (const [side, role, Kind] of [
        ['source', 'STAN', MigrationSourceError],
        ['target', 'JetStream', MigrationTargetError],
      ] as const) {
        it(`wrong at ${role}: every step says which side, which servers, why, and what to do`, async () => {
          const kind = side === 'source' ? source : target;
          const place = new URL((side === 'source' ? cluster : jetstream).urls[0]!).host;
          const wrong = { ...options, [side]: kinds[kind].wrong };
          for (const step of [plan, copy, verify, durables, cut]) {
            await rejection(
              step(wrong),
              Kind,
              `no connection to ${role} at ${place}`,
              REFUSALS[kind],
              `option '${side}'`,
              side === 'source' ? ' (--' : ' (--to-',
            );
          }
          const args = [
            ...['--from', cluster.urls.join(), '--to', jetstream.urls.join(), '--monitor', options.monitor as string],
            ...(await flagsOf(wrong.source, '--')),
            ...(await flagsOf(wrong.target, '--to-')),
          ];
          const { code, stderr } = await runCommand(['migrate', 'plan', ...args]);
          assert.equal(code, 1, stderr);
          assert.match(stderr, new RegExp(`no connection to ${role} at ${place}`));
        });
      }

      it('right: from the command line', async () => {
        const args = [
          ...['--from', cluster.urls.join(), '--to', jetstream.urls.join(), '--monitor', options.monitor as string],
          ...(await flagsOf(options.source, '--')),
          ...(await flagsOf(options.target, '--to-')),
        ];
        const { code, stderr } = await runCommand(['migrate', 'plan', ...args]);
        assert.equal(code, 0, stderr);
      });

      it('right: every step', () => move(options));
    });
  }

  describe('in place', () => {
    for (const kind of KINDS) {
      it(`with ${kind}: every step, by the credentials of STAN alone`, async () => {
        const { stan: made } = kinds[kind];
        await using cluster = await StanCluster.start({
          mode: 'single',
          ...made,
          ...(kind === 'tls' && { auth: { user: 'u', pass: 'p' } }),
          config: { ...made.config, jetstream: { store_dir: 'jetstream' } },
        });
        const source = sideOf(kinds[kind], cluster);
        const stan = await clients.connect(cluster.urls, { ...(source as ConnectOptions), clientId: 'worker' });
        await prepare(stan, 'orders');
        await stan.close();
        const { url: monitor } = cluster.nodes[0]!.monitor;
        await move({ from: cluster.urls, monitor, source });
        const wrong = { from: cluster.urls, monitor, source, target: kinds[kind].wrong };
        await rejection(plan(wrong), MigrationTargetError, 'no connection to JetStream', "option 'target'");
      });
    }

    it('a credentials file that is not there: says which one, and of which side', async () => {
      await using cluster = await StanCluster.start({ mode: 'single', jetstream: true });
      const { url: monitor } = cluster.nodes[0]!.monitor;
      const userCreds = join(dir, 'nobody.creds');
      const both = { from: cluster.urls, monitor };
      for (const side of ['source', 'target']) {
        await rejection(
          plan({ ...both, [side]: { userCreds } }),
          InvalidArgumentError,
          userCreds,
          `'${side}.userCreds'`,
        );
      }
    });
  });
});
