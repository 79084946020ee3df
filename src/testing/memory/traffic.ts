/** What is on its way between the clients and the server, in both directions: everything arrives in its order, a turn later. */
import { nextTurn, turn } from './turns.js';

export class Traffic {
  #tasks: (() => void)[] = [];
  #arrived = 0;

  /** Sends something. It arrives in the next turn. */
  send(arrive: () => void): void {
    if (this.#tasks.push(arrive) === 1) nextTurn(this.#deliver);
  }

  /** How much has arrived so far. */
  get arrived(): number {
    return this.#arrived;
  }

  /** Resolves when something that is sent now has arrived, and with it all that was sent before. */
  trip(): Promise<void> {
    return new Promise((resolve) => this.send(resolve));
  }

  /** Resolves when nothing is on its way, and what has arrived has led to nothing new. */
  async settled(): Promise<void> {
    do await turn();
    while (this.#tasks.length > 0);
    await turn();
    if (this.#tasks.length > 0) await this.settled();
  }

  readonly #deliver = (): void => {
    const due = this.#tasks;
    this.#tasks = [];
    this.#arrived += due.length;
    for (const [index, arrive] of due.entries()) {
      try {
        arrive();
      } catch (error) {
        // The error goes to the process, and the rest arrives all the same.
        for (const rest of due.slice(index + 1)) this.send(rest);
        throw error;
      }
    }
  };
}
