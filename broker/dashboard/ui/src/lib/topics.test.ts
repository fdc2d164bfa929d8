import { describe, expect, test } from "vitest";
import { LIMITS, TopicTree } from "./topics";

const bytes = (text: string) => new TextEncoder().encode(text);
const say = (tree: TopicTree, path: string, text: string, now = 0) => tree.hear(path, bytes(text), 0, false, now);
const kept = (tree: TopicTree, path: string) =>
  [...tree.find(path)!.history()].map(({ payload }) => new TextDecoder().decode(payload));

test("levels count their own messages and those below", () => {
  const tree = new TopicTree();
  say(tree, "a/b", "1");
  say(tree, "a/b/c", "2");
  say(tree, "a/b/c", "3");
  const level = tree.find("a/b")!;
  expect([level.count, level.below, level.topics, level.isTopic]).toEqual([1, 3, 2, true]);
  expect(tree.find("a")!.isTopic).toBe(false);
  expect([tree.topics, tree.messages, tree.changes, tree.shape]).toEqual([2, 3, 3, 2]);
});

test.each(["/", "a//b", "/a", "a/"])("empty levels are levels: %s", (path) => {
  const tree = new TopicTree();
  say(tree, path, "x");
  expect(tree.find(path)!.count).toBe(1);
  expect(tree.find(path)!.path).toBe(path);
});

test("history is newest first and of bounded length", () => {
  const tree = new TopicTree({ ...LIMITS, ring: 3, deepRing: 5 });
  for (let number = 0; number < 10; number += 1) say(tree, "a", String(number));
  expect(kept(tree, "a")).toEqual(["9", "8", "7"]);
  tree.find("a")!.deep = true;
  for (let number = 10; number < 20; number += 1) say(tree, "a", String(number));
  expect(kept(tree, "a")).toEqual(["19", "18", "17", "16", "15"]);
  expect(tree.find("a")!.kept).toBe(5);
});

describe("the budget", () => {
  test("lets the oldest superseded message go first, of whatever topic", () => {
    const tree = new TopicTree({ ...LIMITS, bytes: 5 * 350 });
    const text = "x".repeat(99);
    say(tree, "quiet", `${text}q`);
    for (let number = 0; number < 4; number += 1) say(tree, "loud", text + number);
    expect([tree.find("quiet")!.kept, tree.find("loud")!.kept]).toEqual([1, 4]);
    say(tree, "loud", `${text}4`);
    expect([tree.find("quiet")!.kept, tree.find("loud")!.kept]).toEqual([1, 4]);
    expect(kept(tree, "loud")[3]).toBe(`${text}1`);
    expect(tree.find("loud")!.count).toBe(5);
  });

  test("cuts new payloads where only last ones are left", () => {
    const tree = new TopicTree({ ...LIMITS, bytes: 20_000, cut: 10 });
    for (let number = 0; number < 40; number += 1) say(tree, `t/${number}`, "y".repeat(1000));
    const cut = tree.find("t/39")!.newest!;
    expect([cut.payload.length, cut.size]).toEqual([10, 1000]);
    expect(tree.bytes).toBeLessThan(20_000 + 40 * 260);
  });

  test("holds over many messages of many sizes", () => {
    const tree = new TopicTree({ ...LIMITS, bytes: 100_000, ring: 20 });
    let seed = 1;
    const random = (below: number) => (seed = (seed * 48_271) % 2_147_483_647) % below;
    for (let number = 0; number < 20_000; number += 1) {
      tree.hear(`t/${random(50)}`, new Uint8Array(random(900)), 0, false, number);
      expect(tree.bytes).toBeLessThanOrEqual(100_000);
    }
    let sum = 0;
    for (let topic = 0; topic < 50; topic += 1) {
      const history = [...tree.find(`t/${topic}`)!.history()];
      expect(history.length).toBe(tree.find(`t/${topic}`)!.kept);
      for (const message of history) sum += message.payload.length + 250;
    }
    expect(sum).toBe(tree.bytes);
  });

  test("topics beyond the limit are counted and not kept", () => {
    const tree = new TopicTree({ ...LIMITS, topics: 2 });
    for (const path of ["a", "b", "c", "d", "a"]) say(tree, path, "1");
    expect([tree.topics, tree.notKept, tree.messages]).toEqual([2, 2, 5]);
    expect(tree.find("c")).toBeUndefined();
  });
});

test("a payload is copied out of the buffer that it came in", () => {
  const tree = new TopicTree();
  const chunk = bytes("xxvaluexx");
  tree.hear("a", chunk.subarray(2, 7), 0, false, 0);
  chunk.fill(0);
  expect(kept(tree, "a")).toEqual(["value"]);
  expect(tree.find("a")!.newest!.payload.buffer.byteLength).toBe(5);
});

test("rates settle at what comes, and fade", () => {
  const tree = new TopicTree();
  for (let now = 0; now <= 30_000; now += 100) say(tree, "a/b", "1", now);
  expect(tree.find("a")!.rate(30_000)).toBeGreaterThan(9.5);
  expect(tree.find("a")!.rate(30_000)).toBeLessThan(10.5);
  expect(tree.find("a")!.rate(60_000)).toBeLessThan(0.05);
});

test("clearing leaves nothing", () => {
  const tree = new TopicTree();
  say(tree, "a/b", "1");
  say(tree, "a/b", "2");
  tree.clear();
  expect([tree.topics, tree.messages, tree.bytes, tree.find("a")]).toEqual([0, 0, 0, undefined]);
  say(tree, "a/b", "3");
  expect(kept(tree, "a/b")).toEqual(["3"]);
});
