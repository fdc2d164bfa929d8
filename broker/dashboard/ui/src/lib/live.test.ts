import { EventEmitter } from "node:events";
import type { IClientOptions, MqttClient } from "mqtt";
import { expect, test } from "vitest";
import { Live, reasonText, type Incoming, type Link } from "./live";

interface Subscribed {
  filter: string;
  options: { rh: number; properties: { subscriptionIdentifier: number } };
}

class Client extends EventEmitter {
  subscribed: Subscribed[] = [];
  unsubscribed: string[] = [];
  published: unknown[][] = [];
  ended = 0;
  refusal: number | null = null;
  acknowledgement: number | null = null;

  constructor(readonly options: IClientOptions) {
    super();
  }

  subscribeAsync(filter: string, options: Subscribed["options"]): Promise<{ qos: number }[]> {
    if (this.refusal !== null) return Promise.reject(Object.assign(new Error("refused"), { code: this.refusal }));
    this.subscribed.push({ filter, options });
    return Promise.resolve([{ qos: 0 }]);
  }

  unsubscribe(filter: string): void {
    this.unsubscribed.push(filter);
  }

  publishAsync(...given: unknown[]): Promise<void> {
    this.published.push(given);
    if (this.refusal !== null) return Promise.reject(Object.assign(new Error("refused"), { code: this.refusal }));
    if (this.acknowledgement !== null) this.emit("packetreceive", { cmd: "puback", reasonCode: this.acknowledgement });
    return Promise.resolve();
  }

  end(): void {
    this.ended += 1;
  }

  say(topic: string, text: string, ...identifiers: number[]): void {
    const subscriptionIdentifier = identifiers.length === 1 ? identifiers[0] : identifiers;
    this.emit("message", topic, new TextEncoder().encode(text), { qos: 0, retain: false, properties: { subscriptionIdentifier } });
  }
}

function connected(): { live: Live; client: Client; links: Link[] } {
  const links: Link[] = [];
  let client!: Client;
  const live = new Live(
    (link) => links.push(link),
    (_, options) => (client = new Client(options)) as unknown as MqttClient,
  );
  live.connect("ws://broker/mqtt", null, null);
  client.emit("connect");
  return { live, client, links };
}

const hearing = (heard: string[]) => (message: Incoming) => heard.push(new TextDecoder().decode(message.payload));

test("messages go to whom their Subscription Identifiers name, and once to each", () => {
  const { live, client } = connected();
  const [one, two]: [string[], string[]] = [[], []];
  const hear = hearing(one);
  live.watch("a/#", hear);
  live.watch("a/b", hear);
  live.watch("b", hearing(two));
  client.say("a/b", "x", 1, 2);
  client.say("b", "y", 3);
  client.say("c", "z", 9);
  expect([one, two]).toEqual([["x"], ["y"]]);
});

test("two who watch the same filter both hear, and the subscription ends with the last", () => {
  const { live, client } = connected();
  const [one, two]: [string[], string[]] = [[], []];
  live.watch("a", hearing(one));
  const second = live.watch("a", hearing(two));
  client.say("a", "x", 2);
  expect([one, two]).toEqual([["x"], ["x"]]);
  second.stop();
  expect(client.unsubscribed).toEqual([]);
  expect(client.subscribed.at(-1)).toMatchObject({ filter: "a", options: { rh: 2, properties: { subscriptionIdentifier: 1 } } });
  client.say("a", "y", 1);
  expect([one, two]).toEqual([["x", "y"], ["x"]]);
});

test("what is no longer watched is unsubscribed from, once", () => {
  const { live, client } = connected();
  const watching = live.watch("a", () => undefined);
  watching.stop();
  watching.stop();
  expect(client.unsubscribed).toEqual(["a"]);
});

test("after a lost connection all is subscribed to again", () => {
  const { live, client, links } = connected();
  live.watch("a", () => undefined);
  client.emit("disconnect", { reasonCode: 0x98 });
  client.emit("close");
  client.emit("reconnect");
  client.emit("connect");
  expect(client.subscribed.map(({ filter }) => filter)).toEqual(["a", "a"]);
  expect(links.map(({ state, detail }) => `${state} ${detail}`.trim())).toEqual([
    "connecting",
    "connected",
    "offline administrative action",
    "offline administrative action",
    "connecting administrative action",
    "connected",
  ]);
});

test("refused credentials end it with the reason", () => {
  const { live, client } = connected();
  client.emit("error", Object.assign(new Error("Connection refused"), { code: 0x86 }));
  client.emit("close");
  expect(live.link).toEqual({ state: "refused", detail: "bad user name or password" });
  expect(client.ended).toBe(1);
});

test("a client that was replaced is heard no more", () => {
  const { live, client } = connected();
  live.connect("ws://broker/mqtt", "ada", "secret");
  client.emit("close");
  expect(live.link.state).toBe("connecting");
});

test("a refused filter tells its Reason Code", async () => {
  const { live, client } = connected();
  client.refusal = 0x87;
  expect(await live.watch("a", () => undefined).granted).toBe(0x87);
});

test.each([
  [0, null, "sent"],
  [1, 0, "success"],
  [1, 0x10, "no matching subscribers"],
] as const)("publishing at QoS %i, acknowledged with %s: %s", async (qos, acknowledgement, answer) => {
  const { live, client } = connected();
  client.acknowledgement = acknowledgement;
  expect(await live.publish("a", "x", { qos, retain: false })).toBe(answer);
  expect(client.listenerCount("packetreceive")).toBe(0);
});

test("what cannot be published says why", async () => {
  const { live, client } = connected();
  client.refusal = 0x97;
  await expect(live.publish("a", "x", { qos: 1, retain: false })).rejects.toThrow("quota exceeded");
  live.stop();
  await expect(live.publish("a", "x", { qos: 0, retain: false })).rejects.toThrow("There is no MQTT connection.");
});

test("Reason Codes have their names", () => {
  expect([0, 2, 0x10, 0x87, 0xf0].map(reasonText)).toEqual(["success", "success", "no matching subscribers", "not authorized", "reason 0xf0"]);
});
