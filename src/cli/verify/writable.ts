/** Finds out before a run whether its report can be written, so that nobody waits for one in vain. */
import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { describe } from '../../errors.js';
import { UsageError } from '../usage.js';

/**
 * Checks that a directory or a file can be made at a path, or can be written where it is there already. Nothing is made.
 * @throws UsageError that names the option
 */
export async function assertWritable(option: string, path: string, kind: 'directory' | 'file'): Promise<void> {
  const refuse = (reason: string): never => {
    throw new UsageError(`${option} must be a ${kind} that can be written, not '${path}': ${reason}`);
  };
  const there = await kindAt(path);
  if (there !== undefined && there !== kind) refuse(`there is ${there === 'file' ? 'a file' : 'a directory'}`);
  let existing = path;
  let found = there;
  // What is not there yet is made, below the first directory that is.
  while (found === undefined && dirname(existing) !== existing) {
    existing = dirname(existing);
    found = await kindAt(existing);
    if (found === 'file') refuse(`'${existing}' is a file`);
  }
  try {
    await access(existing, constants.W_OK);
  } catch (error) {
    refuse(describe(error));
  }
}

async function kindAt(path: string): Promise<'directory' | 'file' | undefined> {
  try {
    return (await stat(path)).isDirectory() ? 'directory' : 'file';
  } catch {
    return undefined;
  }
}
