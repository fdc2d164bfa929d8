// The broker's figures over time: from the API's history and overview, or from `$SYS/broker/#` where there is no API.
//
// Samples hold counters as they stood; what is drawn are their differences per second. A counter that went back, as
// after a restart of the broker, gives a gap and no negative rate.

import type { History, Overview, Transport } from "./types";

export type Sample = Record<string, number | null> & { time: number };

export const SPAN = 15 * 60; // seconds that are kept

/** A sample of what the overview says, with the names of the API's history. */
export function sampleOf(overview: Overview): Sample {
  const sample: Sample = {
    time: overview.now,
    publish_received: overview.messages.publish_received,
    publish_sent: overview.messages.publish_sent,
    bytes_received: overview.bytes.received,
    bytes_sent: overview.bytes.sent,
    clients: overview.clients.connected,
    queue_messages: overview.queue?.messages ?? null,
    dropped: overview.messages.publish_dropped,
    loop_lag_p99_ms: overview.loop_lag?.p99_ms ?? null,
    latency_p99_ms: worst(overview),
    memory_bytes: overview.memory_bytes,
    cpu_seconds: overview.cpu_seconds,
  };
  for (const [name, each] of Object.entries(overview.transports)) {
    sample[`${name}_publish`] = each.publish_received + each.publish_sent;
    sample[`${name}_bytes`] = each.bytes_received + each.bytes_sent;
  }
  return sample;
}

function worst(overview: Overview): number | null {
  const all = Object.values(overview.latency ?? {}).flatMap((byQos) => Object.values(byQos));
  const some = all.filter((each) => each.count !== 0).map((each) => each.p99_ms);
  return some.length === 0 ? null : Math.max(...some);
}

export function samplesOf(history: History): Sample[] {
  return history.rows.map((row) => {
    const sample: Sample = { time: 0 };
    history.columns.forEach((column, index) => (sample[column] = row[index] ?? null));
    return sample;
  });
}

/** Samples of the last quarter of an hour, in order of time, one a moment. */
export class Series {
  samples: Sample[] = [];

  /** Take the API's history, and keep what is newer than it. */
  reset(samples: Sample[]): void {
    const newest = samples.at(-1)?.time ?? 0;
    this.samples = [...samples, ...this.samples.filter(({ time }) => time > newest)];
    this.#trim();
  }

  add(sample: Sample): void {
    const newest = this.samples.at(-1);
    if (newest !== undefined && sample.time <= newest.time) return;
    this.samples.push(sample);
    this.#trim();
  }

  #trim(): void {
    const from = (this.samples.at(-1)?.time ?? 0) - SPAN;
    const first = this.samples.findIndex(({ time }) => time >= from);
    if (first > 0) this.samples = this.samples.slice(first);
  }

  times(): number[] {
    return this.samples.map(({ time }) => time);
  }

  values(name: string): (number | null)[] {
    return this.samples.map((sample) => sample[name] ?? null);
  }

  /** Differences per second to the sample before; null for the first, and where a counter went back. */
  rates(name: string): (number | null)[] {
    return this.samples.map((sample, index) => rateBetween(this.samples[index - 1], sample, name));
  }

  /** The rate between the last sample and one at least `seconds` before it; null where it is not known. */
  now(name: string, seconds = 4): number | null {
    const last = this.samples.at(-1);
    if (last === undefined) return null;
    const before = this.samples.findLast(({ time }) => time <= last.time - seconds) ?? this.samples[0];
    return rateBetween(before, last, name);
  }
}

function rateBetween(before: Sample | undefined, after: Sample, name: string): number | null {
  const was = before?.[name];
  const is = after[name];
  if (before === undefined || was == null || is == null || is < was || after.time <= before.time) return null;
  return (is - was) / (after.time - before.time);
}

export const SYS_ROOT = "$SYS/broker/";

/** The overview of what `$SYS/broker/#` has said, topic below it to value; null until it has said enough. */
export function overviewOfSys(values: ReadonlyMap<string, string>, now: number): Overview | null {
  const number = (name: string): number => Number(values.get(name) ?? NaN);
  const known = (name: string): number | null => (values.has(name) ? number(name) : null);
  if (!values.has("publish/messages/received") || !values.has("clients/connected")) return null;
  const transports: Record<string, Transport> = {};
  const connected: Record<string, number> = {};
  for (const topic of values.keys()) {
    const name = /^transport\/([^/]+)\/connections$/.exec(topic)?.[1];
    if (name === undefined) continue;
    const below = (what: string): number => known(`transport/${name}/${what}`) ?? 0;
    connected[name] = below("connections");
    transports[name] = {
      connections: below("connections"),
      messages_received: below("messages/received"),
      messages_sent: below("messages/sent"),
      bytes_received: below("bytes/received"),
      bytes_sent: below("bytes/sent"),
      publish_received: below("publish/messages/received"),
      publish_sent: below("publish/messages/sent"),
      publish_bytes_received: below("publish/bytes/received"),
      publish_bytes_sent: below("publish/bytes/sent"),
    };
  }
  const retained = known("retained messages/count") ?? 0;
  const stored = known("messages/stored");
  const state = values.get("store/state");
  return {
    version: (values.get("version") ?? "").replace(/^TrioMQ version /, ""),
    uptime_s: parseInt(values.get("uptime") ?? "0", 10),
    now,
    clients: {
      connected: number("clients/connected"),
      total_sessions: known("clients/total") ?? 0,
      by_transport: connected,
    },
    sessions_disconnected: known("clients/disconnected") ?? 0,
    messages: {
      received: known("messages/received") ?? 0,
      sent: known("messages/sent") ?? 0,
      publish_received: number("publish/messages/received"),
      publish_sent: known("publish/messages/sent") ?? 0,
      publish_dropped: known("publish/messages/dropped") ?? 0,
    },
    bytes: { received: known("bytes/received") ?? 0, sent: known("bytes/sent") ?? 0 },
    transports,
    queue: stored === null ? null : { messages: Math.max(0, stored - retained), bytes: NaN },
    retained: { messages: retained },
    subscriptions: known("subscriptions/count") ?? 0,
    memory_bytes: known("process/memory"),
    cpu_seconds: known("process/cpu"),
    store: state === undefined ? null : { state },
  };
}

/** Bytes on the wire that are no payload, for each PUBLISH in or out: headers, acknowledgements, framing. */
export function overheadPerPublish(transport: Transport): number | null {
  const messages = transport.publish_received + transport.publish_sent;
  const payload = transport.publish_bytes_received + transport.publish_bytes_sent;
  return messages === 0 ? null : (transport.bytes_received + transport.bytes_sent - payload) / messages;
}

const ORDER = ["tcp", "ws", "tls", "wss", "unix"];

/** TCP and WebSocket first, then what else has been used. */
export function inOrder(transports: Record<string, Transport>): [string, Transport][] {
  const rank = (name: string): number => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length);
  return Object.entries(transports)
    .filter(([name, each]) => rank(name) < 2 || each.connections > 0 || each.messages_received > 0)
    .sort(([a], [b]) => rank(a) - rank(b));
}
