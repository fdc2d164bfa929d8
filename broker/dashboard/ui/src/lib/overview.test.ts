import { expect, test } from "vitest";
import { inOrder, overheadPerPublish, overviewOfSys, sampleOf, samplesOf, Series, SPAN } from "./overview";
import type { Transport } from "./types";

const SYS = new Map(
  Object.entries({
    version: "TrioMQ version 0.1.0",
    uptime: "61 seconds",
    "clients/connected": "3",
    "clients/total": "5",
    "clients/disconnected": "2",
    "publish/messages/received": "100",
    "publish/messages/sent": "300",
    "publish/messages/dropped": "1",
    "bytes/received": "4000",
    "bytes/sent": "9000",
    "messages/stored": "12",
    "retained messages/count": "10",
    "process/memory": "1048576",
    "process/cpu": "1.5",
    "store/state": "ok",
    "transport/ws/connections": "2",
    "transport/ws/publish/messages/received": "60",
    "transport/ws/publish/messages/sent": "40",
    "transport/ws/publish/bytes/received": "600",
    "transport/ws/publish/bytes/sent": "400",
    "transport/ws/bytes/received": "1000",
    "transport/ws/bytes/sent": "1500",
  }),
);

test("$SYS gives an overview", () => {
  const overview = overviewOfSys(SYS, 1000)!;
  expect(overview).toMatchObject({
    version: "0.1.0",
    uptime_s: 61,
    clients: { connected: 3, total_sessions: 5, by_transport: { ws: 2 } },
    queue: { messages: 2 },
    retained: { messages: 10 },
    memory_bytes: 1_048_576,
    store: { state: "ok" },
  });
  expect(overheadPerPublish(overview.transports.ws!)).toBe(15);
  expect(sampleOf(overview)).toMatchObject({ time: 1000, publish_received: 100, clients: 3, ws_publish: 100, latency_p99_ms: null });
});

test("$SYS that has said too little gives none", () => {
  expect(overviewOfSys(new Map([["clients/connected", "1"]]), 0)).toBeNull();
});

test("the worst latency is drawn, of those that were measured", () => {
  const overview = overviewOfSys(SYS, 0)!;
  const of = (p99_ms: number, count: number) => ({ p50_ms: 1, p99_ms, max_ms: 9, count });
  overview.latency = { tcp: { "0": of(2, 5), "1": of(7, 0) }, ws: { "0": of(3, 1) } };
  expect(sampleOf(overview).latency_p99_ms).toBe(3);
});

test("the API's history and later samples are one series", () => {
  const series = new Series();
  series.add({ time: 20, n: 5 });
  series.reset(samplesOf({ interval_s: 5, columns: ["time", "n"], rows: [[5, 1], [10, 2]] }));
  expect(series.values("n")).toEqual([1, 2, 5]);
  series.add({ time: 20, n: 6 });
  expect(series.times()).toEqual([5, 10, 20]);
  series.add({ time: 10 + SPAN, n: 7 });
  expect(series.times()).toEqual([10, 20, 10 + SPAN]);
});

test("rates are differences, and none where a counter went back", () => {
  const series = new Series();
  for (const [time, n] of [[0, 0], [2, 10], [4, 10], [6, 3], [8, 7]] as const) series.add({ time, n });
  expect(series.rates("n")).toEqual([null, 5, 0, null, 2]);
  expect(series.now("n", 2)).toBe(2);
  expect(series.now("n", 4)).toBeNull();
  expect(series.now("other")).toBeNull();
  expect(new Series().now("n")).toBeNull();
});

test("transports come in order, and unused ones not at all", () => {
  const of = (connections: number, messages_received = 0) => ({ connections, messages_received }) as Transport;
  const names = inOrder({ unix: of(0), wss: of(1), other: of(0, 5), ws: of(0), tcp: of(2), tls: of(0) }).map(([name]) => name);
  expect(names).toEqual(["tcp", "ws", "wss", "other"]);
});
