import { readFileSync } from 'node:fs';

// Two levels up from here, in the sources as in the package.
const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

export const version = manifest.version;
