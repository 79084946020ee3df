/** All commands, in the order of the help. */
import { channelCommand, channelsCommand } from './channels.js';
import { clusterCommand } from './cluster.js';
import type { Command } from './command.js';
import { doctorCommand } from './doctor.js';
import { migrateCopyCommand } from './migrate/copy.js';
import { migrateCutCommand } from './migrate/cut.js';
import { migrateDurablesCommand } from './migrate/durables.js';
import { migrateFinishCommand } from './migrate/finish.js';
import { migratePlanCommand } from './migrate/plan.js';
import { migrateRehearseCommand } from './migrate/rehearse.js';
import { migrateVerifyCommand } from './migrate/verify.js';
import { pubCommand } from './pub.js';
import { subCommand, tailCommand } from './sub.js';
import { serverCommand } from './server.js';
import { verifyCommand } from './verify/verify.js';

export const COMMANDS: readonly Command[] = [
  pubCommand,
  subCommand,
  tailCommand,
  channelsCommand,
  channelCommand,
  doctorCommand,
  clusterCommand,
  verifyCommand,
  serverCommand,
  migratePlanCommand,
  migrateCopyCommand,
  migrateVerifyCommand,
  migrateDurablesCommand,
  migrateCutCommand,
  migrateFinishCommand,
  migrateRehearseCommand,
];
