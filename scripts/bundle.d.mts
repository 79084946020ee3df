export function bundleInto(dir: string): Promise<unknown>;
