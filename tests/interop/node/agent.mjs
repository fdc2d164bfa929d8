// MQTT.js at the command of a Python test: the same agent runs in Node and in a browser's page.
//
// Each command is an object with `do`: connect, subscribe, unsubscribe, publish, end. What happens is reported as
// objects with `event`: connect, message, close, error, `done` for a command that succeeded and `failed` for one that did
// not; `connection` is the number that `connect` gave, so that a late event of an earlier connection is known.

const toBase64 = (bytes) => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
const fromBase64 = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

export async function agent(mqtt, nextCommand, send) {
  let client = null;
  let report = send;

  const actions = {
    connect({ url, options, connection }) {
      const reportOf = (event) => send({ connection, ...event });
      report = reportOf;

      client = mqtt.connect(url, options);
      client.on("connect", (connack) => reportOf({ event: "connect", sessionPresent: connack.sessionPresent }));
      client.on("close", () => reportOf({ event: "close" }));
      client.on("error", (error) => reportOf({ event: "error", message: String(error.message) }));
      client.on("message", (topic, payload, packet) =>
        reportOf({
          event: "message",
          topic,
          payload: toBase64(payload),
          qos: packet.qos,
          retain: packet.retain,
          contentType: packet.properties?.contentType ?? null,
          userProperties: packet.properties?.userProperties ?? null,
        }),
      );
    },
    async subscribe({ filter, options }) {
      const granted = await client.subscribeAsync(filter, options);
      report({ event: "done", do: "subscribe", granted: granted.map(({ qos }) => qos) });
    },
    async unsubscribe({ filter }) {
      await client.unsubscribeAsync(filter);
      report({ event: "done", do: "unsubscribe" });
    },
    async publish({ topic, payload, options }) {
      await client.publishAsync(topic, fromBase64(payload), options);
      report({ event: "done", do: "publish" });
    },
    async end() {
      const begun = performance.now();
      await client.endAsync();
      report({ event: "done", do: "end", milliseconds: performance.now() - begun });
    },
  };

  for (let command = await nextCommand(); command !== null; command = await nextCommand()) {
    try {
      await actions[command.do](command);
    } catch (error) {
      report({ event: "failed", do: command.do, message: String(error?.message ?? error) });
    }
  }
}
