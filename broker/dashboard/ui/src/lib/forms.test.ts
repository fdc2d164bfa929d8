// Drafts, keys, what is remembered.

import { beforeEach, describe, expect, test, vi } from "vitest";
import { draftMistake, EMPTY, optionsOf, payloadOf, withDraft } from "./draft";
import { recall, remember } from "./kept";
import { Keys } from "./keys";

describe("drafts", () => {
  const draft = { ...EMPTY, topic: "a/b" };

  test.each([
    [{ topic: "" }, "A Topic Name has at least one character."],
    [{ topic: "a/#" }, "A Topic Name has no + and no #; those belong to filters."],
    [{ writing: "json" as const, payload: "{" }, "The payload is not JSON."],
    [{ writing: "hex" as const, payload: "0" }, "The payload is not hexadecimal."],
    [{ writing: "base64" as const, payload: "*" }, "The payload is not base64."],
    [{ expiry: "1.5" }, "The expiry is a whole number of seconds."],
    [{ responseTopic: "a/+" }, "The response topic has a wildcard."],
    [{ userProperties: "no colon" }, "A user property is a line: name: value"],
    [{}, null],
  ])("%j", (part, mistake) => expect(draftMistake({ ...draft, ...part })).toBe(mistake));

  test("the payload is what was written, in bytes", () => {
    expect(payloadOf({ ...draft, payload: "é" })).toEqual(Uint8Array.of(0xc3, 0xa9));
    expect(payloadOf({ ...draft, writing: "hex", payload: "c3 a9" })).toEqual(Uint8Array.of(0xc3, 0xa9));
    expect(payloadOf({ ...draft, writing: "base64", payload: "w6k=" })).toEqual(Uint8Array.of(0xc3, 0xa9));
  });

  test("only properties that were given are sent", () => {
    expect(optionsOf(draft)).toEqual({ qos: 0, retain: false });
    const full = { ...draft, qos: 1 as const, expiry: "60", contentType: "text/plain", correlation: "7", userProperties: "a: 1\na:2\nb:x:y\n" };
    expect(optionsOf(full)).toEqual({
      qos: 1,
      retain: false,
      properties: {
        messageExpiryInterval: 60,
        contentType: "text/plain",
        correlationData: Uint8Array.of(0x37),
        userProperties: { a: ["1", "2"], b: ["x:y"] },
      },
    });
  });

  test("the list has each once, newest first, and an end", () => {
    const [one, two] = [{ ...draft, payload: "1" }, { ...draft, payload: "2" }];
    expect(withDraft(withDraft(withDraft([], one), two), { ...one })).toEqual([one, two]);
    expect(withDraft([one, two], draft, 2)).toEqual([draft, one]);
  });
});

describe("keys", () => {
  const press = (keys: Keys, key: string, now = 0, more = {}, typing = false) =>
    keys.press({ key, ctrlKey: false, metaKey: false, altKey: false, ...more }, typing, now);

  test("a letter is a command, but in a field it is a letter", () => {
    const keys = new Keys({ t: "topics" });
    expect(press(keys, "/")).toEqual({ do: "filter" });
    expect(press(keys, "p")).toEqual({ do: "pause" });
    expect(press(keys, "?")).toEqual({ do: "help" });
    expect(press(keys, "x")).toBeNull();
    expect(press(keys, "p", 0, {}, true)).toBeNull();
    expect(press(keys, "Escape", 0, {}, true)).toEqual({ do: "escape" });
    expect(press(keys, "p", 0, { ctrlKey: true })).toBeNull();
  });

  test("g and a letter go somewhere, soon after each other", () => {
    const keys = new Keys({ t: "topics", p: "publish" });
    press(keys, "g", 10);
    expect(press(keys, "t", 11)).toEqual({ do: "go", to: "topics" });
    expect(press(keys, "t", 11)).toBeNull();
    press(keys, "g", 20);
    expect(press(keys, "p", 20.5)).toEqual({ do: "go", to: "publish" });
    press(keys, "g", 30);
    expect(press(keys, "p", 32)).toEqual({ do: "pause" });
  });
});

describe("what is remembered", () => {
  beforeEach(() => vi.unstubAllGlobals());

  test("comes back", () => {
    const kept = new Map<string, string>();
    vi.stubGlobal("localStorage", { getItem: (name: string) => kept.get(name) ?? null, setItem: (name: string, text: string) => kept.set(name, text) });
    remember("pins", ["a"]);
    expect(recall("pins", [])).toEqual(["a"]);
    expect(recall("other", 7)).toBe(7);
    kept.set("triomq.pins", "{");
    expect(recall("pins", [])).toEqual([]);
  });

  test("is nothing where the browser keeps nothing", () => {
    remember("pins", ["a"]);
    expect(recall("pins", ["none"])).toEqual(["none"]);
  });
});
