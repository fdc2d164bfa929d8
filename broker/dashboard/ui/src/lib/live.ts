// The page's own MQTT connection: MQTT.js over the WebSocket of the broker that served the page.
//
// Each watcher has a Subscription Identifier, so a message goes straight to whom it is for, and no filter is matched
// here. Timers are the page's own, as a worker would be made from a `blob:`, which the Content-Security-Policy forbids;
// a hidden page has its timers slowed to one a minute, thus the long Keep Alive.

import mqtt, { type IClientOptions, type IPublishPacket, type MqttClient } from "mqtt";

export type LinkState = "connecting" | "connected" | "offline" | "refused" | "stopped";

export interface Incoming {
  topic: string;
  payload: Uint8Array;
  qos: number;
  retain: boolean;
  time: number;
  properties: IPublishPacket["properties"];
}

export interface Watching {
  /** What the broker granted: a QoS, or a Reason Code of 0x80 or above. */
  granted: Promise<number>;
  stop(): void;
}

export interface PublishOptions {
  qos: 0 | 1 | 2;
  retain: boolean;
  properties?: {
    contentType?: string;
    responseTopic?: string;
    correlationData?: Uint8Array;
    messageExpiryInterval?: number;
    payloadFormatIndicator?: boolean;
    userProperties?: Record<string, string[]>;
  };
}

export interface Link {
  state: LinkState;
  detail: string;
}

type Connect = (url: string, options: IClientOptions) => MqttClient;

const KEEP_ALIVE = 120; // seconds
const NO_MATCHING_SUBSCRIBERS = 0x10;
const REASONS: Record<number, string> = {
  0x10: "no matching subscribers",
  0x80: "unspecified error",
  0x82: "protocol error",
  0x83: "implementation specific error",
  0x84: "unsupported protocol version",
  0x85: "client identifier not valid",
  0x86: "bad user name or password",
  0x87: "not authorized",
  0x88: "server unavailable",
  0x89: "server busy",
  0x8a: "banned",
  0x8b: "server shutting down",
  0x8c: "bad authentication method",
  0x8d: "keep alive timeout",
  0x8e: "session taken over",
  0x8f: "topic filter invalid",
  0x90: "topic name invalid",
  0x93: "receive maximum exceeded",
  0x95: "packet too large",
  0x96: "message rate too high",
  0x97: "quota exceeded",
  0x98: "administrative action",
  0x99: "payload format invalid",
  0x9a: "retain not supported",
  0x9b: "QoS not supported",
  0x9c: "use another server",
  0x9d: "server moved",
  0x9e: "shared subscriptions not supported",
  0x9f: "connection rate exceeded",
  0xa1: "subscription identifiers not supported",
  0xa2: "wildcard subscriptions not supported",
};

/** A Reason Code in the words of the standard. */
export function reasonText(code: number): string {
  return code < 0x80 && code !== NO_MATCHING_SUBSCRIBERS ? "success" : (REASONS[code] ?? `reason 0x${code.toString(16)}`);
}

export class Live {
  #client: MqttClient | null = null;
  readonly #watchers = new Map<number, { filter: string; hear: (message: Incoming) => void }>();
  #nextIdentifier = 1;
  link: Link = { state: "offline", detail: "" };

  constructor(
    readonly onLink: (link: Link) => void,
    readonly connectWith: Connect = (url, options) => mqtt.connect(url, options),
  ) {}

  get connected(): boolean {
    return this.link.state === "connected";
  }

  /** Connect, and again whenever the connection is lost; refused credentials end it. Without a user the cookie of a
   * log-in says who it is, where there is one. */
  connect(url: string, user: string | null, password: string | null): void {
    this.#client?.end(true);
    this.#tell("connecting", "");
    const client = this.connectWith(url, {
      protocolVersion: 5,
      clientId: `triomq-dashboard-${crypto.getRandomValues(new Uint32Array(1))[0]!.toString(36)}`,
      clean: true,
      keepalive: KEEP_ALIVE,
      connectTimeout: 10_000,
      reconnectPeriod: 1500,
      resubscribe: false,
      queueQoSZero: false,
      timerVariant: "native",
      ...(user === null ? {} : { username: user }),
      ...(password === null ? {} : { password }),
    });
    this.#client = client;
    const current = () => this.#client === client;
    client.on("connect", () => {
      if (!current()) return;
      this.#tell("connected", "");
      for (const identifier of this.#watchers.keys()) void this.#subscribe(identifier);
    });
    client.on("message", (topic, payload, packet) => current() && this.#hear(topic, payload, packet));
    client.on("disconnect", (packet) => current() && this.#tell("offline", reasonText(packet.reasonCode ?? 0)));
    client.on("close", () => {
      if (current() && this.link.state !== "refused") this.#tell("offline", this.link.detail);
    });
    client.on("reconnect", () => {
      if (current()) this.#tell("connecting", this.link.detail);
    });
    client.on("error", (error) => {
      const code = (error as { code?: unknown }).code;
      if (!current() || typeof code !== "number") return;
      this.#tell("refused", reasonText(code));
      client.end(true);
    });
  }

  stop(): void {
    const client = this.#client;
    this.#client = null;
    client?.end();
    this.#tell("stopped", "");
  }

  /** Hear what comes for `filter`, QoS 0, retained messages first; across reconnects, until `stop`. */
  watch(filter: string, hear: (message: Incoming) => void): Watching {
    const identifier = this.#nextIdentifier++;
    this.#watchers.set(identifier, { filter, hear });
    const granted = this.connected ? this.#subscribe(identifier) : Promise.resolve(0);
    return {
      granted,
      stop: () => {
        if (!this.#watchers.delete(identifier) || !this.connected) return;
        const others = [...this.#watchers].filter(([, each]) => each.filter === filter);
        const last = others.at(-1);
        // A later SUBSCRIBE for the same filter has replaced the identifier of an earlier one [MQTT-3.8.4-3].
        if (last === undefined) this.#client?.unsubscribe(filter);
        else void this.#subscribe(last[0], 2);
      },
    };
  }

  /** Publish; the answer is what the broker said, in the words of the standard. Errors carry theirs. */
  async publish(topic: string, payload: Uint8Array | string, options: PublishOptions): Promise<string> {
    const client = this.#client;
    if (client === null || !this.connected) throw new Error("There is no MQTT connection.");
    let reason = 0;
    const look = (packet: { cmd: string; reasonCode?: number }) => {
      if (packet.cmd === "puback" || packet.cmd === "pubrec") reason = packet.reasonCode ?? 0;
    };
    client.on("packetreceive", look as never);
    try {
      await client.publishAsync(topic, payload as never, options as never);
    } catch (error) {
      const code = (error as { code?: unknown }).code;
      throw new Error(typeof code === "number" ? reasonText(code) : String((error as Error).message));
    } finally {
      client.off("packetreceive", look as never);
    }
    return options.qos === 0 ? "sent" : reasonText(reason);
  }

  async #subscribe(identifier: number, retainHandling: 0 | 2 = 0): Promise<number> {
    const watcher = this.#watchers.get(identifier);
    const client = this.#client;
    if (watcher === undefined || client === null) return 0;
    try {
      const granted = await client.subscribeAsync(watcher.filter, {
        qos: 0,
        rap: true,
        rh: retainHandling,
        properties: { subscriptionIdentifier: identifier },
      });
      return granted[0]?.qos ?? 0;
    } catch (error) {
      const code = (error as { code?: unknown }).code;
      return typeof code === "number" && code >= 0x80 ? code : 0x80;
    }
  }

  #hear(topic: string, payload: Uint8Array, packet: IPublishPacket): void {
    const { properties } = packet;
    const message = { topic, payload, qos: packet.qos, retain: packet.retain, time: Date.now(), properties };
    const identifiers = [properties?.subscriptionIdentifier ?? []].flat() as number[];
    const filters = identifiers.map((identifier) => this.#watchers.get(identifier)?.filter);
    const told = new Set<(message: Incoming) => void>();
    for (const { filter, hear } of this.#watchers.values()) {
      if (!filters.includes(filter) || told.has(hear)) continue; // who watches by two filters hears it once
      told.add(hear);
      hear(message);
    }
  }

  #tell(state: LinkState, detail: string): void {
    this.link = { state, detail };
    this.onLink(this.link);
  }
}
