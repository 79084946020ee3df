import { readFileSync } from 'node:fs';

// It is two levels up, in the sources as well as in the package.
const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

export const version = manifest.version;
