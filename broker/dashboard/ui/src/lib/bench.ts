// A report of `broker bench compare` as rows of a table, the subjects side by side.

import * as format from "./format";
import type { BenchReport } from "./types";

export interface BenchRow {
  title: string;
  cells: string[]; // one of each subject
  ratio: string; // of the last subject to the first, with its interval where there is one
}

const FIGURES: [string, string, (value: number) => string][] = [
  ["throughput", "Messages delivered", format.rate],
  ["p50", "Latency p50", seconds],
  ["p90", "Latency p90", seconds],
  ["p99", "Latency p99", seconds],
  ["p99.9", "Latency p99.9", seconds],
  ["max", "Latency, most", seconds],
  ["cpu", "Broker's CPU a message", seconds],
  ["broker_load", "Broker's CPU", format.percent],
  ["memory", "Memory a connection", format.bytes],
  ["sent_bytes", "Bytes a message in", format.bytes],
  ["received_bytes", "Bytes a message out", format.bytes],
  ["framing", "Framing of the bytes", format.percent],
  ["connect_p50", "Connect p50", seconds],
  ["connects", "Connects", format.rate],
  ["lost", "Lost", format.count],
];

function seconds(value: number): string {
  return format.milliseconds(value * 1000);
}

export function subjectsOf(report: BenchReport): string[] {
  return Object.keys(figuresOf(report));
}

export function rowsOfBench(report: BenchReport): BenchRow[] {
  const figures = figuresOf(report);
  const subjects = Object.values(figures);
  const last = subjects.at(-1);
  return FIGURES.filter(([name]) => subjects.some((each) => each[name] != null)).map(([name, title, text]) => ({
    title,
    cells: subjects.map((each) => (each[name] == null ? "–" : text(each[name]))),
    ratio: ratio(last?.[`${name}_ratio`], last?.[`${name}_ratio_low`], last?.[`${name}_ratio_high`]),
  }));
}

function ratio(value: number | null | undefined, low: number | null | undefined, high: number | null | undefined): string {
  if (value == null) return "";
  return low == null || high == null ? value.toFixed(2) : `${value.toFixed(2)} (${low.toFixed(2)} to ${high.toFixed(2)})`;
}

function figuresOf(report: BenchReport): Record<string, Record<string, number | null>> {
  return report.points?.[0]?.figures ?? report.figures ?? {};
}
