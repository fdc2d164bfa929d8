// Which levels of the tree are shown, in order, and how the list stays where it is while topics come.

import { finder } from "./filter";
import type { Level } from "./topics";

export interface Rows {
  readonly levels: Level[];
  readonly found: number; // topics that match; all where nothing is looked for
}

const collator = new Intl.Collator("en", { numeric: true });
const sorted = new WeakMap<Level, { size: number; children: Level[] }>();

/** The children in order: names by their characters, numbers in them by value. */
export function childrenOf(level: Level): Level[] {
  const before = sorted.get(level);
  if (before !== undefined && before.size === level.children.size) return before.children;
  const children = [...level.children.values()].sort((a, b) => collator.compare(a.name, b.name));
  sorted.set(level, { size: level.children.size, children });
  return children;
}

/** What is shown below `root`: expanded levels, or with `text` all that match and what leads to them. */
export function rowsOf(root: Level, text: string): Rows {
  const levels: Level[] = [];
  const wanted = finder(text);
  if (wanted === null) {
    const walk = (level: Level): void => {
      for (const child of childrenOf(level)) {
        levels.push(child);
        if (child.expanded && child.children.size > 0) walk(child);
      }
    };
    walk(root);
    return { levels, found: root.topics };
  }
  let found = 0;
  const search = (level: Level): void => {
    for (const child of childrenOf(level)) {
      const at = levels.length;
      const hit = child.isTopic && wanted(child.path);
      if (hit) found += 1;
      levels.push(child);
      search(child);
      if (!hit && levels.length === at + 1) levels.pop();
    }
  };
  search(root);
  return { levels, found };
}

/** Rows by which `anchor` has moved from one list to the next; 0 where it is in one of them only. */
export function moved(before: readonly Level[], after: readonly Level[], anchor: Level | null): number {
  if (anchor === null) return 0;
  const was = before.indexOf(anchor);
  const is = after.indexOf(anchor);
  return was < 0 || is < 0 ? 0 : is - was;
}

/** First row to draw and the one after the last, of `total` rows of `height` pixels, with some beyond either edge. */
export function windowOf(top: number, view: number, height: number, total: number, beyond = 6): [number, number] {
  const first = Math.max(0, Math.min(total, Math.floor(top / height) - beyond));
  return [first, Math.min(total, Math.ceil((top + view) / height) + beyond)];
}

export type Move = "up" | "down" | "left" | "right" | "home" | "end" | "page-up" | "page-down" | "all";

const KEYS: Record<string, Move> = {
  ArrowUp: "up",
  k: "up",
  ArrowDown: "down",
  j: "down",
  ArrowLeft: "left",
  h: "left",
  ArrowRight: "right",
  l: "right",
  Home: "home",
  End: "end",
  PageUp: "page-up",
  PageDown: "page-down",
  "*": "all",
};

/** The move that a key asks for in a tree, as the ARIA pattern has it, and as vi has it. */
export function moveOf(key: string): Move | undefined {
  return KEYS[key];
}

/** Which row comes next; `open` says how a level is to be expanded or folded instead. */
export function step(
  levels: readonly Level[],
  at: number,
  move: Move,
  page: number,
  searching: boolean,
): { at: number; open?: boolean } {
  const last = levels.length - 1;
  const level = levels[at];
  const within = (row: number) => Math.max(0, Math.min(last, row));
  switch (move) {
    case "up":
      return { at: within(at - 1) };
    case "down":
      return { at: within(at + 1) };
    case "home":
      return { at: 0 };
    case "end":
      return { at: within(last) };
    case "page-up":
      return { at: within(at - page) };
    case "page-down":
      return { at: within(at + page) };
    case "right":
      if (level === undefined || level.children.size === 0) return { at };
      return level.expanded || searching ? { at: within(at + 1) } : { at, open: true };
    case "left": {
      if (level === undefined) return { at };
      if (level.expanded && level.children.size > 0 && !searching) return { at, open: false };
      const parent = level.parent === null ? -1 : levels.indexOf(level.parent);
      return { at: parent < 0 ? at : parent };
    }
    case "all":
      return { at };
  }
}
