/** What a team does to the streaming servers in a move in place: lines into their files, restarts, reloads. */
import { TimeoutError } from '../../errors.js';
import { mappingsBlock, NO_MAPPINGS } from '../../migrate/fence.js';
import { planInPlace } from '../../migrate/in-place.js';
import type { MigrateOptions } from '../../migrate/options.js';
import type { Report } from '../../migrate/report.js';
import type { StanCluster } from '../cluster.js';
import type { StanNode } from '../node.js';
import { PATIENCE, type Stage } from './stage.js';

/** The directory that the plan writes for that of JetStream. Here each server has another one. */
const PLANNED_DIR = '/var/lib/nats/jetstream';

/** The pause between two restarts, in ms: longer than the acknowledgement wait of the system. */
const BETWEEN = 2000;

/** How a server is told to read its file again. */
const RELOAD = 'nats-streaming-server --signal reload';

/**
 * Gives the streaming servers JetStream and the fence: the lines of `migrate plan --in-place` go into the file of each server, and
 * it is restarted or reads its file again, as the plan says.
 */
export async function prepareInPlace(stage: Stage, cluster: StanCluster, migration: MigrateOptions): Promise<Report> {
  stage.command('resilient-stan migrate plan --in-place');
  const plan = await stage.wait(planInPlace(migration), { what: 'the monitoring of the servers does not answer' });
  const nodes = await leaderLast(cluster);
  for (const [index, node] of nodes.entries()) {
    const add = plan.servers.find(({ monitor }) => monitor === node.monitor.url)?.add ?? [];
    const lines = add.flatMap((each) =>
      each.lines.map((line) => line.replace(PLANNED_DIR, cluster.jetstreamDir(node))),
    );
    if (index === 0) {
      stage.say(
        `server ${node.name} lacks these lines in its file${nodes.length > 1 ? ', and so do the others' : ''}:`,
      );
      for (const line of lines) stage.say(`    ${line}`);
    }
    await node.configure((text) => `${text}\n${lines.join('\n')}\n`);
    if (add.some(({ needs }) => needs === 'restart')) {
      if (index > 0) await stage.pause(BETWEEN);
      const last = index === nodes.length - 1 ? ', as the last one because it leads' : '';
      stage.say(`server ${node.name}: the lines are in its file, and it is restarted${last}`);
      await stage.wait(restart(node), { what: `server ${node.name} does not come back` });
      await stage.wait(cluster.settled({ timeout: PATIENCE }), {
        what: `server ${node.name} is not in the cluster again`,
      });
    } else {
      stage.command(`${RELOAD} # server ${node.name}, with the lines in its file`);
      await stage.wait(node.reload(), { what: `server ${node.name} does not read its file again` });
    }
  }
  cluster.gotJetStream();
  await stage.wait(cluster.settled({ timeout: PATIENCE }), { what: 'JetStream does not serve' });
  return plan;
}

/** Takes the fence away, as `migrate cut` asks for it: no mappings any more in the file of each server, and a reload. */
export async function openInPlace(stage: Stage, cluster: StanCluster, channels: readonly string[]): Promise<void> {
  stage.say(`the cut waits for the servers: '${NO_MAPPINGS}' goes into each file, in the place of the block`);
  for (const node of cluster.nodes) {
    await node.configure((text) => text.replace(mappingsBlock(channels), NO_MAPPINGS));
    stage.command(`${RELOAD} # server ${node.name}`);
    await stage.wait(node.reload(), { what: `server ${node.name} does not read its file again` });
  }
}

/**
 * The servers in the order in which they are restarted. Where leaders follow each other quickly, STAN may forget messages of a group
 * with several members, so there is one change of the leader only, at the end.
 */
async function leaderLast(cluster: StanCluster): Promise<StanNode[]> {
  const leader = await cluster.leader({ timeout: PATIENCE });
  return [...cluster.nodes.filter((node) => node !== leader), leader];
}

/** A streaming server may hang in its own shutdown, and is then killed, as an operator would do. */
async function restart(node: StanNode): Promise<void> {
  await node.stop().catch((error: unknown) => {
    if (!(error instanceof TimeoutError)) throw error;
  });
  await node.start({ timeout: PATIENCE });
}
