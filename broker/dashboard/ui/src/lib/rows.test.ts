import { expect, test } from "vitest";
import { childrenOf, moved, moveOf, rowsOf, step, windowOf } from "./rows";
import { TopicTree } from "./topics";

function treeOf(...paths: string[]): TopicTree {
  const tree = new TopicTree();
  for (const path of paths) tree.hear(path, new Uint8Array(1), 0, false, 0);
  return tree;
}

const names = (tree: TopicTree, text = "") => rowsOf(tree.root, text).levels.map(({ path }) => path);

test("only expanded levels show what is below, in the order of names and numbers", () => {
  const tree = treeOf("b/x", "a/10", "a/9", "a/9/z");
  expect(names(tree)).toEqual(["a", "b"]);
  tree.find("a")!.expanded = true;
  expect(names(tree)).toEqual(["a", "a/9", "a/10", "b"]);
  tree.hear("a/1", new Uint8Array(1), 0, false, 0);
  expect(names(tree)).toEqual(["a", "a/1", "a/9", "a/10", "b"]);
});

test("the order of children is kept until there is a new one", () => {
  const tree = treeOf("a", "b");
  expect(childrenOf(tree.root)).toBe(childrenOf(tree.root));
});

test.each([
  ["TEMP", ["k", "k/1", "k/1/temp", "k/2", "k/2/temp"], 2],
  ["k/+/temp", ["k", "k/1", "k/1/temp", "k/2", "k/2/temp"], 2],
  ["k/1/#", ["k", "k/1", "k/1/hum", "k/1/temp"], 2],
  ["nowhere", [], 0],
])("what is looked for is shown with what leads to it: %s", (text, paths, found) => {
  const tree = treeOf("k/1/temp", "k/1/hum", "k/2/temp", "other");
  expect(names(tree, text)).toEqual(paths);
  expect(rowsOf(tree.root, text).found).toBe(found);
});

test("the anchor says how far the list has moved", () => {
  const tree = treeOf("b", "c");
  const before = rowsOf(tree.root, "").levels;
  tree.hear("a", new Uint8Array(1), 0, false, 0);
  const after = rowsOf(tree.root, "").levels;
  expect(moved(before, after, tree.find("c")!)).toBe(1);
  expect(moved(before, after, tree.find("a")!)).toBe(0);
  expect(moved(before, after, null)).toBe(0);
});

test("a window of rows is drawn, with some beyond its edges", () => {
  expect(windowOf(0, 100, 20, 1000, 2)).toEqual([0, 7]);
  expect(windowOf(2000, 100, 20, 1000, 2)).toEqual([98, 107]);
  expect(windowOf(999_999, 100, 20, 10, 2)).toEqual([10, 10]);
});

test("keys move as in any tree", () => {
  const tree = treeOf("a/b", "c");
  let levels = rowsOf(tree.root, "").levels;
  const go = (at: number, key: string) => step(levels, at, moveOf(key)!, 10, false);
  expect(go(0, "ArrowRight")).toEqual({ at: 0, open: true });
  tree.find("a")!.expanded = true;
  levels = rowsOf(tree.root, "").levels;
  expect(go(0, "ArrowRight")).toEqual({ at: 1 });
  expect(go(1, "ArrowLeft")).toEqual({ at: 0 });
  expect(go(0, "ArrowLeft")).toEqual({ at: 0, open: false });
  expect(go(2, "ArrowLeft")).toEqual({ at: 2 });
  expect(go(1, "j")).toEqual({ at: 2 });
  expect(go(2, "ArrowDown")).toEqual({ at: 2 });
  expect(go(0, "ArrowUp")).toEqual({ at: 0 });
  expect(go(0, "End")).toEqual({ at: 2 });
  expect(go(2, "Home")).toEqual({ at: 0 });
  expect(go(0, "PageDown")).toEqual({ at: 2 });
  expect(go(2, "PageUp")).toEqual({ at: 0 });
  expect(moveOf("x")).toBeUndefined();
});
