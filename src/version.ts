/** As in package.json. It stands here as well, because a bundle has no package.json to read. */
export const version = '0.1.0';
