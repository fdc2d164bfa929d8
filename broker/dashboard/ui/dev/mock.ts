// The admin API for `npm run dev`, made up: figures that move, a few Clients and subscriptions, some retained messages.
//
// BROKER_URL (ws://127.0.0.1:8080) is the broker that the page talks MQTT with. With MOCK_LOCKED=1 nobody is let in
// without a log-in; the password of any user is "secret".

import type { IncomingMessage, ServerResponse } from "node:http";
import type { Plugin } from "vite";

type Answer = [status: number, body: unknown];

const BROKER = process.env.BROKER_URL ?? "ws://127.0.0.1:8080";
const START = Date.now() / 1000;
const SECRET = "secret";
const LOCKED = process.env.MOCK_LOCKED === "1";

let user: string | null = null;
let runs: { id: string; started: number; workload: string; seconds: number; rounds: number }[] = [];
const kicked = new Set<string>();
const retained = new Map<string, string>(
  Array.from({ length: 250 }, (_, index) => [`devices/${index}/config`, JSON.stringify({ id: index, interval: 10 })]),
);

const now = () => Date.now() / 1000;
const wave = (mean: number, spread: number, period: number, at = now()) =>
  mean + spread * Math.sin(at / period) + spread * 0.2 * Math.sin(at / 3);
const total = (rate: number, at = now()) => Math.round(rate * (at - START + 3600) + 20 * rate * Math.sin(at / 60));

function percentiles(scale: number) {
  const p50 = scale * wave(1, 0.2, 20);
  return { p50_ms: p50, p90_ms: 2 * p50, p99_ms: 5 * p50, max_ms: 12 * p50, count: 4200 };
}

function transport(share: number, overhead: number) {
  const received = total(900 * share);
  const sent = total(2400 * share);
  return {
    connections: Math.round(40 * share),
    connects: Math.round(100 * share),
    messages_received: received,
    messages_sent: sent,
    bytes_received: received * (64 + overhead),
    bytes_sent: sent * (64 + overhead),
    publish_received: received,
    publish_sent: sent,
    publish_bytes_received: received * 64,
    publish_bytes_sent: sent * 64,
  };
}

function overview() {
  return {
    version: "0.1.0",
    build: "plain",
    started: START - 3600,
    uptime_s: now() - START + 3600,
    now: now(),
    listeners: [
      { name: "mqtt", type: "tcp", url: "mqtt://0.0.0.0:1883", tls: false, connections: 26 },
      { name: "web", type: "ws", url: "ws://0.0.0.0:8080/mqtt", tls: false, connections: 14 },
    ],
    clients: { connected: 40, total_sessions: 52, by_transport: { tcp: 26, ws: 14, tls: 0, wss: 0, unix: 0 } },
    sessions_disconnected: 12,
    messages: {
      received: total(950),
      sent: total(2500),
      publish_received: total(900),
      publish_sent: total(2400),
      publish_dropped: total(0.1),
    },
    bytes: { received: total(70_000), sent: total(190_000) },
    transports: { tcp: transport(0.65, 14), ws: transport(0.35, 18) },
    latency: { tcp: { "0": percentiles(0.2), "1": percentiles(0.3) }, ws: { "0": percentiles(0.25), "1": percentiles(0.36) } },
    acknowledge: { tcp: { "1": percentiles(0.4) }, ws: { "1": percentiles(0.5) } },
    loop_lag: percentiles(0.1),
    queue: { messages: Math.max(0, Math.round(wave(40, 60, 30))), bytes: 8192 },
    retained: { messages: retained.size, bytes: retained.size * 32 },
    subscriptions: 84,
    memory_bytes: Math.round(wave(48e6, 2e6, 90)),
    cpu_seconds: total(0.22),
    store: { state: "ok", durability: "fsync", path: "/var/lib/triomq", free_bytes: 8e10 },
    limits: { buffered_bytes: 1e9 },
  };
}

function history() {
  const columns = ["time", "publish_received", "publish_sent", "bytes_received", "bytes_sent", "clients", "queue_messages", "dropped", "loop_lag_p99_ms", "latency_p99_ms", "memory_bytes", "cpu_seconds", "tcp_publish", "ws_publish"];
  const rows = Array.from({ length: 180 }, (_, index) => {
    const at = now() - 5 * (180 - index);
    return [at, total(900, at), total(2400, at), total(70_000, at), total(190_000, at), Math.round(wave(38, 3, 200, at)), Math.max(0, wave(40, 60, 30, at)), total(0.1, at), wave(0.5, 0.2, 40, at), wave(1.2, 0.5, 50, at), wave(48e6, 2e6, 90, at), total(0.22, at), total(2145, at), total(1155, at)];
  });
  return { interval_s: 5, columns, rows };
}

const CLIENTS = Array.from({ length: 52 }, (_, index) => ({
  client_identifier: index % 9 === 0 ? `dashboard/${index}` : `sensor-${String(index).padStart(3, "0")}`,
  connected: index < 40,
  user: index % 3 === 0 ? "plant" : null,
  address: index < 40 ? `192.0.2.${index}:5${index}123` : null,
  transport: index < 40 ? (index < 26 ? "tcp" : "ws") : null,
  listener: index < 40 ? (index < 26 ? "mqtt" : "web") : null,
  version: index < 40 ? (index % 2 === 0 ? "5.0" : "3.1.1") : null,
  keep_alive_s: 60,
  clean_start: index % 2 === 0,
  session_expiry_s: index % 2 === 0 ? 0 : 3600,
  connected_since: index < 40 ? START - 60 * index : null,
  disconnected_since: index < 40 ? null : START - 10 * index,
  subscriptions: 1 + (index % 3),
  inflight: index % 2,
  queue_messages: index % 7 === 0 ? 12 : 0,
  queue_bytes: index % 7 === 0 ? 900 : 0,
  messages_received: total(20 + index),
  messages_sent: total(50 + index),
  bytes_received: total(900),
  bytes_sent: total(3000),
  dropped: index === 7 ? 31 : 0,
  rtt_ms: index < 26 ? null : 0.4 + index / 50,
}));

const SUBSCRIPTIONS = CLIENTS.flatMap(({ client_identifier, subscriptions }) =>
  Array.from({ length: subscriptions }, (_, index) => ({
    client_identifier,
    topic_filter: index === 0 ? `devices/${client_identifier}/set` : `plant/${index}/#`,
    share_name: index === 2 ? "workers" : null,
    qos: index,
    no_local: index === 1,
    retain_as_published: false,
    retain_handling: index,
    subscription_identifier: index === 0 ? null : index,
  })),
);

function page<T>(items: T[], query: URLSearchParams): Answer {
  const offset = Number(query.get("offset") ?? 0);
  const limit = Number(query.get("limit") ?? 100);
  return [200, { total: items.length, offset, items: items.slice(offset, offset + limit) }];
}

function wrong(status: number, code: string, message: string): Answer {
  return [status, { error: { code, message } }];
}

function session() {
  const role = user !== null ? "admin" : LOCKED ? "none" : "operator";
  const features = { api: true, publish: true, events: true, bench: true, mqtt_path: "/mqtt" };
  return { user, role, csrf: "token", login: true, version: "0.1.0", features };
}

function item(topic: string, whole: boolean) {
  const payload = retained.get(topic) ?? "";
  return { topic, qos: 1, bytes: payload.length, payload_base64: btoa(payload), truncated: !whole && payload.length > 4096, stored_at: START, expires_at: null, properties: {} };
}

function below(filter: string): string[] {
  const prefix = filter.replace(/[#+].*$/, "");
  return [...retained.keys()].filter((topic) => topic.startsWith(prefix));
}

function client(identifier: string, method: string): Answer {
  const found = CLIENTS.find((each) => each.client_identifier === identifier);
  if (found === undefined) return wrong(404, "not_found", `There is no Session of a Client "${identifier}".`);
  if (method === "DELETE") {
    kicked.add(identifier);
    return [204, null];
  }
  const record = Array.from({ length: 60 }, (_, index) => ({
    time: now() - (60 - index),
    direction: (["in", "decision", "out"] as const)[index % 3],
    packet: index % 3 === 1 ? null : "PUBLISH",
    topic: `devices/${identifier}/state`,
    qos: 1,
    packet_identifier: index,
    bytes: 64,
    detail: index % 3 === 1 ? "matched devices/+/state; queued, 3 before it" : null,
  }));
  const will = { topic: `devices/${identifier}/gone`, qos: 1, retain: true, delay_s: 5 };
  return [200, { ...found, connected: found.connected && !kicked.has(identifier), subscriptions_list: SUBSCRIPTIONS.filter((each) => each.client_identifier === identifier), will, record }];
}

function explain(query: URLSearchParams): Answer {
  const steps = [
    { what: "subscription", outcome: "ok", detail: "devices/+/state matches, QoS 1" },
    { what: "rights", outcome: "ok", detail: "the role plant may receive devices/#" },
    { what: "queue", outcome: "stop", detail: "12 of 12 messages wait; drop-newest" },
  ];
  return [200, { verdict: "dropped", text: `${query.get("client")} would not get it: its queue is full.`, steps, last: { time: now() - 3, detail: "queue full", topic: query.get("topic") } }];
}

function bench(method: string, id: string | undefined, body: Record<string, unknown>): Answer {
  const run = ({ started, ...rest }: (typeof runs)[number]) => {
    const progress = Math.min(1, (now() - started) / rest.seconds);
    const figures = { tcp: { throughput: 84_000, p50: 0.00013, p99: 0.0016, cpu: 5.3e-6 }, ws: { throughput: 74_000, throughput_ratio: 0.88, throughput_ratio_low: 0.8, throughput_ratio_high: 0.95, p50: 0.00017, p99: 0.0019, cpu: 6e-6 } };
    return { ...rest, started, state: progress < 1 ? "running" : "done", progress, error: null, report: progress < 1 ? null : { environment: { version: "triomq 0.0.0" }, points: [{ figures }] } };
  };
  if (method === "POST") {
    runs = [{ id: `run-${runs.length + 1}`, started: now(), workload: String(body.workload), seconds: Number(body.seconds), rounds: Number(body.rounds) }, ...runs];
    return [202, { id: runs[0]!.id }];
  }
  const workloads = [{ name: "pub", text: "10 publishers, each to a subscriber of its own" }, { name: "rtt", text: "1 message at a time, there and back" }];
  if (id === undefined) return [200, { workloads, items: runs.map(run).map(({ report, ...each }) => each) }];
  const found = runs.find((each) => each.id === id);
  if (found === undefined) return wrong(404, "not_found", "There is no such run.");
  if (method === "DELETE") runs = runs.filter((each) => each !== found);
  return method === "DELETE" ? [204, null] : [200, run(found)];
}

function answer(method: string, path: string, query: URLSearchParams, body: Record<string, unknown>): Answer {
  const [head = "", rest] = path.split(/\/(.*)/s);
  const name = rest === undefined ? undefined : decodeURIComponent(rest);
  if (head === "session") {
    if (method === "POST" && body.password !== SECRET) return wrong(401, "unauthorized", "This user and password are not known.");
    if (method === "POST") user = String(body.user);
    if (method === "DELETE") user = null;
    return method === "DELETE" ? [204, null] : [200, session()];
  }
  if (session().role === "none") return wrong(401, "unauthorized", "Log in first.");
  const text = (query.get("filter") ?? "").toLowerCase();
  switch (head) {
    case "overview":
      return [200, overview()];
    case "history":
      return [200, history()];
    case "clients": {
      if (name !== undefined) return client(name, method);
      const wanted = CLIENTS.filter((each) => `${each.client_identifier} ${each.user} ${each.address}`.toLowerCase().includes(text))
        .filter((each) => !query.has("connected") || String(each.connected) === query.get("connected"))
        .filter((each) => !query.has("transport") || each.transport === query.get("transport"));
      const key = (query.get("sort") ?? "client_identifier").replace("-", "") as keyof (typeof CLIENTS)[number];
      wanted.sort((a, b) => ((a[key] ?? 0) < (b[key] ?? 0) ? -1 : 1) * (query.get("sort")?.startsWith("-") ? -1 : 1));
      return page(wanted, query);
    }
    case "subscriptions":
      return page(SUBSCRIPTIONS.filter((each) => each.topic_filter.includes(text) && each.client_identifier.includes(query.get("client") ?? "")), query);
    case "retained":
      if (name !== undefined) {
        if (!retained.has(name)) return wrong(404, "not_found", `Nothing is retained for "${name}".`);
        if (method === "DELETE") return retained.delete(name), [204, null];
        return [200, item(name, true)];
      }
      if (method === "DELETE") {
        const topics = below(query.get("filter") ?? "#");
        if (query.get("expected") !== String(topics.length)) return [409, { error: { code: "count", message: "Say how many." }, count: topics.length }];
        for (const topic of topics) retained.delete(topic);
        return [200, { deleted: topics.length }];
      }
      return page(below(query.get("filter") ?? "#").map((topic) => item(topic, false)), query);
    case "topics":
      return page([{ level: "devices", topic: null, children: 250, retained: false, messages: 12_000, last: now() }], query);
    case "publish":
      return [200, { reason: 0, name: "success" }];
    case "explain":
      return explain(query);
    case "bench":
      return bench(method, name, body);
    default:
      return wrong(404, "not_found", "There is no such thing.");
  }
}

async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? "/", "http://mock");
  let text = "";
  for await (const part of request) text += part;
  const [status, body] = answer(request.method ?? "GET", url.pathname.replace(/^\//, ""), url.searchParams, text === "" ? {} : JSON.parse(text));
  response.writeHead(status, { "Content-Type": "application/json" });
  response.end(status === 204 ? undefined : JSON.stringify(body));
}

export function mockApi(): Plugin {
  return {
    name: "mock-api",
    apply: "serve",
    config: () => ({ server: { proxy: { "/mqtt": { target: BROKER, ws: true, changeOrigin: true } } } }),
    configureServer(server) {
      server.middlewares.use("/api/v1", (request, response) => void serve(request, response));
    },
  };
}
