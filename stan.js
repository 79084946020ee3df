// For resolvers that do not read `exports` of package.json.
export * from './dist/stan/index.js';
export { default } from './dist/stan/index.js';
