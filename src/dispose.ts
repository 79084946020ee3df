/**
 * The symbols of `await using`, for a TypeScript before 5.2 and a `lib` without them: our declarations name them. Those of
 * TypeScript and of Node's types say the same, and go together with these.
 */
declare global {
  interface SymbolConstructor {
    readonly dispose: unique symbol;
    readonly asyncDispose: unique symbol;
  }
}

export {};
