/** The command line, or a setting that stands for a part of it, is wrong. The exit code is 2. */
export class UsageError extends Error {}
