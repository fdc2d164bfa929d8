// The commands for a broker where nothing goes on yet.

import { describe, expect, test } from "vitest";
import { addresses, command } from "./first";

describe("first steps", () => {
  test("one address of each kind, TCP first", () => {
    const listeners = ["unix:/run/broker", "ws://127.0.0.1:8080/mqtt", "mqtts://10.0.0.1:8883", "mqtt://10.0.0.1:1883"];
    expect(addresses(listeners.map((url) => ({ url })), "here")).toEqual(["mqtts://10.0.0.1:8883", "ws://127.0.0.1:8080/mqtt"]);
    expect(addresses([{ url: "unix:/run/broker" }], "here")).toEqual([]);
  });

  test.each([
    ["mqtt://0.0.0.0:1883", "mqtt://here:1883"],
    ["wss://[::]:443/mqtt", "wss://here:443/mqtt"],
    ["mqtt://[::1]:1883", "mqtt://[::1]:1883"],
  ])("%s is reached at %s", (url, reached) => expect(addresses([{ url }], "here")).toEqual([reached]));

  test("commands", () => {
    const urls = ["mqtt://a:1", "ws://a:2/mqtt"];
    expect(command("simulate", urls)).toBe("broker simulate home --url mqtt://a:1 --url ws://a:2/mqtt");
    expect(command("pub", urls)).toBe("broker pub -L mqtt://a:1 -t home/kitchen/temperature -m 21.5 -q 1 -r");
    expect(command("sub", urls)).toBe("broker sub -L mqtt://a:1 -t 'home/#' -v");
  });
});
