import type { ParseArgsConfig, parseArgs } from 'node:util';

type Options = NonNullable<ParseArgsConfig['options']>;

/** Parses the command's own arguments. @throws UsageError */
export type Parse = <const O extends Options>(
  options: O,
) => ReturnType<typeof parseArgs<{ args: string[]; options: O; allowPositionals: true; strict: true }>>;

/** A command. It resolves to the exit code. */
export type Command = (parse: Parse) => Promise<number>;

/** The command line is wrong. */
export class UsageError extends Error {}
