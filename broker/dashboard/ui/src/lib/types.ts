// What the admin API answers. Times are seconds since the epoch.

export type Role = "none" | "viewer" | "operator" | "admin";

export interface Session {
  user: string | null;
  role: Role;
  csrf: string | null;
  login: boolean;
  version: string;
  features: { api?: boolean; publish?: boolean; events?: boolean; bench?: boolean; mqtt_path?: string };
}

export interface Page<T> {
  total: number;
  offset: number;
  items: T[];
}

export interface Transport {
  connections: number;
  connects?: number;
  messages_received: number;
  messages_sent: number;
  bytes_received: number;
  bytes_sent: number;
  publish_received: number;
  publish_sent: number;
  publish_bytes_received: number;
  publish_bytes_sent: number;
}

export interface Percentiles {
  p50_ms: number;
  p90_ms?: number;
  p99_ms: number;
  max_ms: number;
  count?: number;
}

export type Latency = Record<string, Record<string, Percentiles>>; // transport, QoS

export interface Overview {
  version: string;
  build?: string;
  started?: number;
  uptime_s: number;
  now: number;
  listeners?: { name: string; type: string; url: string; tls: boolean; connections: number }[];
  clients: { connected: number; total_sessions: number; by_transport?: Record<string, number> };
  sessions_disconnected: number;
  messages: {
    received: number;
    sent: number;
    publish_received: number;
    publish_sent: number;
    publish_dropped: number;
  };
  bytes: { received: number; sent: number };
  transports: Record<string, Transport>;
  latency?: Latency;
  acknowledge?: Latency;
  loop_lag?: Percentiles | null;
  queue: { messages: number; bytes: number } | null;
  retained: { messages: number; bytes?: number };
  subscriptions: number;
  memory_bytes: number | null;
  cpu_seconds: number | null;
  store?: { state: string; durability?: string; path?: string; free_bytes?: number | null } | null;
  limits?: { buffered_bytes?: number };
}

export interface History {
  interval_s: number;
  columns: string[];
  rows: (number | null)[][];
}

export interface ClientItem {
  client_identifier: string;
  connected: boolean;
  user: string | null;
  address: string | null;
  transport: string | null;
  listener: string | null;
  version: string | null;
  keep_alive_s: number | null;
  clean_start: boolean | null;
  session_expiry_s: number | null;
  connected_since: number | null;
  disconnected_since: number | null;
  subscriptions: number;
  inflight: number;
  queue_messages: number;
  queue_bytes: number;
  messages_received: number;
  messages_sent: number;
  bytes_received: number;
  bytes_sent: number;
  dropped: number;
  rtt_ms: number | null;
}

export interface FlightEvent {
  time: number;
  direction: "in" | "out" | "decision";
  packet: string | null;
  topic: string | null;
  qos: number | null;
  packet_identifier: number | null;
  bytes: number | null;
  detail: string | null;
}

export interface ClientDetail extends ClientItem {
  subscriptions_list: SubscriptionItem[];
  will: null | { topic: string; qos: number; retain: boolean; delay_s: number };
  record: FlightEvent[];
  watched: boolean; // whether its packets are in the record, and not only what was decided
}

export interface SubscriptionItem {
  client_identifier: string;
  topic_filter: string;
  share_name: string | null;
  qos: number;
  no_local: boolean;
  retain_as_published: boolean;
  subscription_identifier: number | null;
}

export interface RetainedItem {
  topic: string;
  qos: number;
  bytes: number;
  payload_base64: string;
  truncated?: boolean;
  stored_at: number | null;
  expires_at: number | null;
  properties?: Record<string, unknown> | null;
}

export interface TopicItem {
  level: string;
  topic: string | null;
  children: number;
  retained: boolean;
  messages: number | null;
  last: number | null;
}

export interface Explanation {
  verdict: string;
  text: string;
  steps: { what: string; outcome: "ok" | "stop"; detail: string }[];
  last: null | ({ time: number } & Record<string, unknown>);
}

export interface BenchRun {
  id: string;
  state: "running" | "stopping" | "stopped" | "done" | "failed";
  progress: number | null;
  workload?: string;
  seconds?: number;
  rounds?: number;
  started?: number;
  error?: string | null;
  report?: BenchReport | null;
}

export interface BenchReport {
  environment?: { version?: string };
  points?: { figures: Record<string, Record<string, number | null>>; comparison?: { rounds: unknown[] } }[];
}

export interface BenchList {
  workloads: { name: string; text: string }[];
  items: BenchRun[];
}
