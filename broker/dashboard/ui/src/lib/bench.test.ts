// Comparisons: what is shown of them, and how long they take.

import { expect, test } from "vitest";
import { estimate, isUnderWay, rowsOfBench, sideBySide, subjectsOf, switched } from "./bench";
import type { BenchRun } from "./types";

const report = (figures: Record<string, Record<string, number | null>>) => ({ points: [{ figures }] });

test("a report of the bench has the subjects side by side", () => {
  const figures = { tcp: { throughput: 80_000, p50: 0.0001, lost: 0 }, ws: { throughput: 70_000, throughput_ratio: 0.875, throughput_ratio_low: 0.8, throughput_ratio_high: 0.95, p50: 0.0002, p50_ratio: 2 } };
  const report = { points: [{ figures, comparison: { rounds: Array(12).fill({}) } }] };
  expect(subjectsOf(report)).toEqual(["tcp", "ws"]);
  expect(rowsOfBench(report)).toEqual([
    { title: "Messages delivered", cells: ["80k/s", "70k/s"], ratio: "0.88 (0.80 to 0.95)" },
    { title: "Latency p50", cells: ["100 µs", "200 µs"], ratio: "2.00" },
    { title: "Lost", cells: ["0", "–"], ratio: "" },
  ]);
  expect(rowsOfBench({})).toEqual([]);
  const few = { points: [{ figures, comparison: { rounds: Array(10).fill({}) } }] };
  expect(rowsOfBench(few)[0]!.ratio).toBe("0.88");
});

test("two reports stand side by side, and what one lacks is empty", () => {
  const first = report({ tcp: { throughput: 80_000, lost: 0 }, ws: { throughput: 72_000, throughput_ratio: 0.9 } });
  const second = report({ tcp: { throughput: 90_000, p50: 0.0001 } });
  expect(sideBySide([first, second])).toEqual([
    { title: "Messages delivered", cells: ["80k/s", "72k/s", "0.90", "90k/s", ""] },
    { title: "Latency p50", cells: ["–", "–", "", "100 µs", ""] },
    { title: "Lost", cells: ["0", "–", "", "–", ""] },
  ]);
  expect(sideBySide([])).toEqual([]);
});

test("the two that were switched on last are shown", () => {
  expect(switched([], "a")).toEqual(["a"]);
  expect(switched(["a"], "b")).toEqual(["a", "b"]);
  expect(switched(["a", "b"], "c")).toEqual(["b", "c"]);
  expect(switched(["b", "c"], "b")).toEqual(["c"]);
});

test("what is being stopped is still under way", () => {
  const run = (state: BenchRun["state"]): BenchRun => ({ id: "x", state, progress: null });
  expect((["running", "stopping", "stopped", "done", "failed"] as const).filter((state) => isUnderWay(run(state)))).toEqual(["running", "stopping"]);
});

test("how long it takes", () => {
  expect(estimate(5, 6, true)).toBeCloseTo(123, 0);
  expect(estimate(0.5, 1, false)).toBeCloseTo(8.2, 1);
});
