// Reports of `broker bench compare` as rows of a table, the subjects of each side by side.

import * as format from "./format";
import type { BenchReport, BenchRun } from "./types";

export const SHOWN = 2; // reports beside each other
export const ENOUGH = 6; // rounds for an interval of 95 %

export interface BenchRow {
  title: string;
  cells: string[]; // one of each subject
  ratio: string; // of the last subject to the first, with its interval where there were rounds enough
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
  const rounds = (report.points?.[0]?.comparison?.rounds.length ?? 0) / subjects.length;
  const ratio = (name: string): string => {
    const [value, low, high] = ["", "_low", "_high"].map((end) => last?.[`${name}_ratio${end}`]);
    if (value == null) return "";
    return low == null || high == null || rounds < ENOUGH ? value.toFixed(2) : `${value.toFixed(2)} (${low.toFixed(2)} to ${high.toFixed(2)})`;
  };
  return FIGURES.filter(([name]) => subjects.some((each) => each[name] != null)).map(([name, title, text]) => ({
    title,
    cells: subjects.map((each) => (each[name] == null ? "–" : text(each[name]))),
    ratio: ratio(name),
  }));
}

/** The rows of several reports, each row with the cells of all of them: the subjects of the first, its ratio, and so on. */
export function sideBySide(reports: BenchReport[]): { title: string; cells: string[] }[] {
  const tables = reports.map((report) => ({
    none: [...subjectsOf(report).map(() => "–"), ""],
    rows: new Map(rowsOfBench(report).map(({ title, cells, ratio }) => [title, [...cells, ratio]])),
  }));
  return FIGURES.filter(([, title]) => tables.some(({ rows }) => rows.has(title))).map(([, title]) => ({
    title,
    cells: tables.flatMap(({ none, rows }) => rows.get(title) ?? none),
  }));
}

/** What is shown when `id` is switched on or off: at most SHOWN, the latest ones, in the order of switching on. */
export function switched(shown: string[], id: string): string[] {
  return shown.includes(id) ? shown.filter((each) => each !== id) : [...shown, id].slice(-SHOWN);
}

/** Whether it is not over yet. */
export function isUnderWay({ state }: BenchRun): boolean {
  return state === "running" || state === "stopping";
}

/** Seconds that a comparison takes, roughly: of two subjects, each with a run that does not count and its `rounds`. */
export function estimate(each: number, rounds: number, connections: boolean): number {
  const run = each + Math.min(1, each / 5) + 1.5;
  return 2 * (Math.min(1, each) + 1.5 + rounds * run + (connections ? (rounds + 2) * 1.75 : 0));
}

function figuresOf(report: BenchReport): Record<string, Record<string, number | null>> {
  return report.points?.[0]?.figures ?? {};
}
