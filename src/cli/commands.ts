/** All commands, in the order of the help. */
import { channelCommand, channelsCommand } from './channels.js';
import { clusterCommand } from './cluster.js';
import type { Command } from './command.js';
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
  clusterCommand,
  verifyCommand,
  serverCommand,
];
