// What the Topics view listens to and looks at. It lives as long as the page, so that another view loses nothing.

import { recall, remember } from "./lib/kept";
import { reasonText, type Incoming, type Watching } from "./lib/live";
import { filterMistake } from "./lib/filter";
import { TopicTree, type Level } from "./lib/topics";
import { app } from "./state.svelte";

interface Subscribed {
  filter: string;
  mistake: string | null;
  waiting: boolean; // for what the broker says to it
}

class Topics {
  readonly tree = new TopicTree();
  filters = $state<Subscribed[]>([]);
  text = $state("");
  paused = $state(false);
  passed = $state(0); // messages that came while it stood still
  pins = $state<string[]>(recall<string[]>("pins", []));
  selected = $state.raw<Level | null>(null);
  readonly #watching = new Map<string, Watching>();
  readonly #toOpen = new Set<string>();

  /** Listen again to what was listened to before; never to all that there is. */
  resume(): void {
    for (const filter of recall<string[]>("filters", [])) if (!/^[+#]/.test(filter)) this.subscribe(filter);
  }

  /** Listen to a filter; what is wrong with it, or null. */
  subscribe(filter: string): string | null {
    const mistake = filterMistake(filter);
    if (mistake !== null || this.#watching.has(filter)) return mistake;
    const levels = filter.split("/");
    const plain = levels.findIndex((level) => level === "#" || level === "+");
    levels.slice(0, plain).forEach((_, index) => this.#toOpen.add(levels.slice(0, index + 1).join("/")));

    const watching = app.live.watch(filter, this.#hear);
    this.#watching.set(filter, watching);
    this.filters.push({ filter, mistake: null, waiting: true });
    void watching.granted.then((code) => {
      const entry = this.filters.find((each) => each.filter === filter);
      if (entry === undefined) return;
      entry.waiting = false;
      if (code >= 0x80) entry.mistake = reasonText(code);
    });
    this.#remember();
    return null;
  }

  unsubscribe(filter: string): void {
    this.#watching.get(filter)?.stop();
    this.#watching.delete(filter);
    this.filters = this.filters.filter((each) => each.filter !== filter);
    this.#remember();
  }

  clear(): void {
    this.selected = null;
    this.tree.clear();
    this.passed = 0;
  }

  pause(): void {
    this.paused = !this.paused;
    if (!this.paused) this.passed = 0;
  }

  select(level: Level | null): void {
    if (this.selected !== null) this.selected.deep = this.pins.includes(this.selected.path);
    if (level !== null) level.deep = true;
    this.selected = level;
  }

  pin(path: string): void {
    this.pins = this.pins.includes(path) ? this.pins.filter((each) => each !== path) : [...this.pins, path];
    remember("pins", this.pins);
  }

  /** Expand what leads to a new filter's wildcards, once each. */
  open(): void {
    for (const path of this.#toOpen) {
      const level = this.tree.find(path);
      if (level === undefined) continue;
      level.expanded = true;
      this.#toOpen.delete(path);
    }
  }

  readonly #hear = (message: Incoming): void => {
    if (this.paused) this.passed += 1;
    else this.tree.hear(message.topic, message.payload, message.qos, message.retain, message.time);
  };

  #remember(): void {
    remember(
      "filters",
      this.filters.map(({ filter }) => filter),
    );
  }
}

export const topics = new Topics();
