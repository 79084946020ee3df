import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** The limit of time for a command, in ms. */
const PATIENCE = 60_000;

/** A process that answers commands, one at a time, as its parent sees it. */
export class Worker<Command extends { do: string }, Answer> {
  readonly name: string;
  readonly #child: ChildProcess;
  #waiting: { resolve: (answer: Answer) => void; reject: (error: Error) => void } | undefined;

  /** @param module of the process, relative to this one */
  constructor(module: string, name: string, execArgv: readonly string[] = []) {
    this.name = name;
    this.#child = fork(fileURLToPath(new URL(module, import.meta.url)), [name], { execArgv: [...execArgv] });
    this.#child.on('message', ({ answer, error }: { answer?: Answer; error?: string }) => {
      const waiting = this.#waiting;
      this.#waiting = undefined;
      if (answer) waiting?.resolve(answer);
      else waiting?.reject(new Error(`${name}: ${error}`));
    });
    this.#child.once('exit', (code, signal) => {
      this.#waiting?.reject(new Error(`the process of '${name}' ended: ${signal ?? `exit code ${code}`}`));
    });
  }

  /** @throws Error when it does not answer in time: on a machine that is very busy the raw client may lose its connection */
  async ask(command: Command): Promise<Answer> {
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise<Answer>((resolve, reject) => {
        this.#waiting = { resolve, reject };
        timer = setTimeout(() => reject(new Error(`${this.name}: '${command.do}' takes too long`)), PATIENCE);
        this.#child.send(command);
      });
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends the process, without waiting for what it does. */
  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = new Promise((resolve) => this.#child.once('exit', resolve));
    // It then exits by itself, and writes its profile if there is one.
    if (this.#child.connected) this.#child.disconnect();
    await exited;
  }
}
