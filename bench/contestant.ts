import type { Answer, Command, Contender } from './protocol.js';
import { Worker } from './worker-process.js';

/** A client in a process of its own. */
export class Contestant<Name extends Contender = Contender> extends Worker<Command, Answer> {
  declare readonly name: Name;

  constructor(name: Name, execArgv: readonly string[] = []) {
    super('./worker.js', name, ['--expose-gc', ...execArgv]);
  }

  /** The most memory that its process has had, in bytes. */
  async peak(): Promise<number> {
    return (await this.ask({ do: 'peak' })).peak ?? NaN;
  }
}
