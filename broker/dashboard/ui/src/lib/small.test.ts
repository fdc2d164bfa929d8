// Formatters, filters, bytes and diffs.

import { describe, expect, test } from "vitest";
import { dump, fromBase64, fromHex, toBase64, toHex } from "./bytes";
import { diff } from "./diff";
import { filterMistake, finder, isPattern, matches, topicMistake } from "./filter";
import * as format from "./format";

describe("figures", () => {
  test.each([
    [0, "0"],
    [5.25, "5.25"],
    [950, "950"],
    [999.96, "1000"],
    [1000, "1k"],
    [12_345, "12.3k"],
    [999_900, "1M"],
    [4_560_000, "4.56M"],
    [7.2e10, "72G"],
    [NaN, "–"],
    [null, "–"],
  ])("short %s", (value, text) => expect(format.short(value)).toBe(text));

  test.each([
    [0, "0 B"],
    [1023, "1,023 B"],
    [1024, "1 KiB"],
    [1_048_500, "1 MiB"],
    [5 * 2 ** 40, "5 TiB"],
    [2 ** 60, "1048576 TiB"],
  ])("bytes %s", (value, text) => expect(format.bytes(value)).toBe(text));

  test.each([
    [0, "0 s"],
    [59.9, "59 s"],
    [61, "1 min 1 s"],
    [3600, "1 h"],
    [90_061, "1 d 1 h"],
  ])("duration %s", (value, text) => expect(format.duration(value)).toBe(text));

  test.each([
    [0, "0 ms"],
    [0.00134, "1.34 µs"],
    [0.0456, "46 µs"],
    [12.345, "12.3 ms"],
    [2500, "2.5 s"],
  ])("milliseconds %s", (value, text) => expect(format.milliseconds(value)).toBe(text));

  test("the rest", () => {
    expect(format.count(1_234_567)).toBe("1,234,567");
    expect([0, 1, 1200].map((value) => format.many(value, "topic"))).toEqual(["0 topics", "1 topic", "1,200 topics"]);
    expect(format.rate(0.01)).toBe("0/s");
    expect(format.rate(1500)).toBe("1.5k/s");
    expect(format.byteRate(2048)).toBe("2 KiB/s");
    expect(format.percent(0.125)).toBe("12.5 %");
    expect(format.clock(new Date(2026, 0, 2, 3, 4, 5, 6).getTime())).toBe("03:04:05.006");
    expect(format.moment(new Date(2026, 0, 2, 3, 4, 5).getTime() / 1000)).toBe("2026-01-02 03:04:05");
  });
});

describe("filters", () => {
  test.each([
    ["a/b", "a/b", true],
    ["a/+", "a/b", true],
    ["a/+", "a/b/c", false],
    ["a/#", "a", true],
    ["a/#", "a/b/c", true],
    ["a/+/c", "a//c", true],
    ["#", "$SYS/x", false],
    ["+/x", "$SYS/x", false],
    ["$SYS/#", "$SYS/x", true],
    ["a", "a/b", false],
    ["a/b", "a", false],
  ])("%s and %s", (filter, topic, does) => expect(matches(filter, topic)).toBe(does));

  test.each(["", "a#", "#/a", "a+/b", "$share/x", "$share//y", "a\0"])("%j is none", (filter) => {
    expect(filterMistake(filter)).not.toBeNull();
  });

  test.each(["#", "+", "a/+/#", "$share/group/a/#", "/"])("%j is one", (filter) => {
    expect(filterMistake(filter)).toBeNull();
  });

  test("topics have no wildcards", () => {
    expect(topicMistake("a/b")).toBeNull();
    for (const topic of ["", "a/#", "a/+", "a\0"]) expect(topicMistake(topic)).not.toBeNull();
  });

  test("what is typed is a pattern where it has wildcards, else text", () => {
    expect(isPattern("a/+")).toBe(true);
    expect(isPattern("a+b")).toBe(false);
    expect(finder("  ")).toBeNull();
    expect(finder("A+b")!("xa+by")).toBe(true);
    expect(finder("+/b")!("a/b")).toBe(true);
    expect(finder("+/b")!("x/a/b")).toBe(false);
  });
});

describe("bytes", () => {
  const all = Uint8Array.from({ length: 256 }, (_, value) => value);

  test("there and back", () => {
    expect(fromHex(toHex(all))).toEqual(all);
    expect(fromBase64(toBase64(all))).toEqual(all);
    expect(fromHex("0x0A, ff")).toEqual(Uint8Array.of(10, 255));
  });

  test("what is neither", () => {
    expect(fromHex("abc")).toBeNull();
    expect(fromHex("zz")).toBeNull();
    expect(fromBase64("a b*")).toBeNull();
  });

  test("a dump has sixteen bytes a line", () => {
    const lines = dump(all.subarray(0x40, 0x52)).split("\n");
    expect(lines[0]).toBe("000000  40 41 42 43 44 45 46 47  48 49 4a 4b 4c 4d 4e 4f  @ABCDEFGHIJKLMNO");
    expect(lines[1]!.startsWith("000010  50 51  ")).toBe(true);
  });
});

describe("diff", () => {
  const marks = (before: string, after: string) =>
    diff([...before], [...after]).map(({ kind, text }) => ({ same: " ", gone: "-", new: "+" })[kind] + text).join("");

  test.each([
    ["abc", "abc", " a b c"],
    ["abc", "axc", " a-b+x c"],
    ["", "ab", "+a+b"],
    ["ab", "", "-a-b"],
    ["abcd", "bcde", "-a b c d+e"],
    ["aa", "a", " a-a"],
  ])("%s to %s", (before, after, expected) => expect(marks(before, after)).toBe(expected));

  test("what is too long to compare is shown as gone and new", () => {
    const before = Array.from({ length: 1000 }, (_, line) => `a${line}`);
    const after = Array.from({ length: 1000 }, (_, line) => `b${line}`);
    const lines = diff(["x", ...before], ["x", ...after]);
    expect(lines.map(({ kind }) => kind)).toEqual(["same", ...before.map(() => "gone"), ...after.map(() => "new")]);
  });
});
