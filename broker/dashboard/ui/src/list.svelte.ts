// A list of the API that is asked for anew when what is asked changes, and every few seconds while it is looked at.

import type { Page } from "./lib/types";

type Parameters = Record<string, string | number | boolean | null | undefined>;

export const LIMIT = 100;

export class List<T> {
  items = $state.raw<T[]>([]);
  total = $state(0);
  offset = $state(0);
  mistake = $state("");
  asked = $state(false); // whether an answer has come
  #turn = 0;

  constructor(
    readonly ask: (parameters: Parameters) => Promise<Page<T>>,
    readonly parameters: () => Parameters,
    readonly ready: () => boolean,
    seconds: number,
  ) {
    let before = "";
    $effect(() => {
      if (!this.ready()) return;
      const now = JSON.stringify(this.parameters());
      if (now !== before) this.offset = 0; // another list, from its beginning
      before = now;
      const parameters = { ...this.parameters(), offset: this.offset, limit: LIMIT };
      const first = setTimeout(() => void this.#load(parameters), 120); // after the last letter that is typed
      const again = setInterval(() => document.hidden || void this.#load(parameters), seconds * 1000);
      return () => {
        clearTimeout(first);
        clearInterval(again);
      };
    });
  }

  reload(): Promise<void> {
    return this.#load({ ...this.parameters(), offset: this.offset, limit: LIMIT });
  }

  async #load(parameters: Parameters): Promise<void> {
    const turn = ++this.#turn;
    try {
      const page = await this.ask(parameters);
      if (turn !== this.#turn) return; // a later question has been asked
      this.items = page.items;
      this.total = page.total;
      this.mistake = "";
    } catch (error) {
      if (turn === this.#turn) this.mistake = error instanceof Error ? error.message : String(error);
    }
    this.asked = true;
  }
}
