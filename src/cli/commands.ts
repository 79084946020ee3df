/** All commands, in the order of the help. */
import { clusterCommand } from './cluster.js';
import type { Command } from './command.js';
import { serverCommand } from './server.js';
import { verifyCommand } from './verify/verify.js';

export const COMMANDS: readonly Command[] = [clusterCommand, verifyCommand, serverCommand];
