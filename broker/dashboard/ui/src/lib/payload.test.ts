import { encode as toMsgpack } from "@msgpack/msgpack";
import { encode as toCbor } from "cborg";
import { describe, expect, test } from "vitest";
import { detect, indent, numbers, preview, print, show } from "./payload";

const bytes = (text: string) => new TextEncoder().encode(text);

describe("detect", () => {
  test.each([
    ["", "empty"],
    ["on", "text"],
    ["21.5", "text"],
    ["{not json", "text"],
    ["two\nlines\t", "text"],
    ['{"a":1}', "json"],
    [" [1]", "json"],
    ['"quoted"', "text"],
  ])("%j is %s", (text, format) => {
    expect(detect(bytes(text)).format).toBe(format);
  });

  test("a bare number has a value", () => {
    expect(detect(bytes("21.5")).value).toBe(21.5);
    expect(detect(bytes("on")).value).toBeUndefined();
  });

  test("MessagePack and CBOR are found by taking every byte", () => {
    const value = { temperature: 21.5, name: "é" };
    expect(detect(toMsgpack(value))).toMatchObject({ format: "msgpack", value });
    expect(detect(toCbor(value))).toMatchObject({ format: "cbor", value });
    expect(detect(Uint8Array.of(...toMsgpack({ a: 1 }), 0xc1)).format).toBe("hex");
  });

  test("bytes that are nothing else are shown as bytes", () => {
    expect(detect(Uint8Array.of(0xff, 0x00, 0x41)).text).toBe(`000000  ff 00 41${" ".repeat(15)}  ${" ".repeat(23)}  ··A`);
  });
});

describe("show", () => {
  test.each(["json", "msgpack", "cbor"] as const)("what is not %s is shown as bytes with the reason", (format) => {
    const shown = show(Uint8Array.of(0xc1, 0xff), format);
    expect(shown.format).toBe("hex");
    expect(shown.mistake).toMatch(/^This is not /);
  });

  test("text that is not UTF-8 is shown as far as it goes", () => {
    expect(show(Uint8Array.of(0x61, 0xff), "text").text).toBe("a\ufffd");
  });

  test("dates, large numbers and keys that are no text", () => {
    expect(show(Uint8Array.of(0xc1, 0x00), "cbor").text).toBe("1970-01-01T00:00:00.000Z");
    expect(show(toCbor(new Map([[1, "one"]])), "cbor").text).toBe('{\n  "1": "one"\n}');
    expect(show(toMsgpack(2n ** 63n, { useBigInt64: true }), "msgpack").text).toBe("9223372036854775808");
    expect(show(toMsgpack(new Uint8Array([1, 2])), "msgpack").text).toBe("h'0102'");
  });
});

test("indenting keeps each token as it was written", () => {
  const text = '{"id":12345678901234567890, "s":"a\\"{b,", "e":{}, "l":[ ],"n":[1.50,{"x":null}]}';
  expect(indent(text)).toBe(
    [
      "{",
      '  "id": 12345678901234567890,',
      '  "s": "a\\"{b,",',
      '  "e": {},',
      '  "l": [],',
      '  "n": [',
      "    1.50,",
      "    {",
      '      "x": null',
      "    }",
      "  ]",
      "}",
    ].join("\n"),
  );
  expect(JSON.parse(indent(text))).toEqual(JSON.parse(text));
});

test("print stops at a depth", () => {
  let deep: unknown = 1;
  for (let level = 0; level < 100; level += 1) deep = [deep];
  expect(print(deep, "")).toBe(`${"[".repeat(65)}…${"]".repeat(65)}`);
});

describe("preview", () => {
  test("is one line, cut", () => {
    expect(preview(bytes("a\n  b\tc"))).toBe("a b c");
    expect(preview(bytes("x".repeat(500)), 10)).toBe(`${"x".repeat(10)}…`);
  });

  test("shows what is in MessagePack, else bytes", () => {
    expect(preview(toMsgpack({ on: true, level: 200 }))).toBe('{"on":true,"level":200}');
    expect(preview(Uint8Array.of(1, 0xff))).toBe("01 ff");
    expect(preview(new Uint8Array(5000), 30)).toBe("00 00 00 00 00 00 00 00 00 00 …");
  });
});

test("numbers are found with the way to them", () => {
  const value = { t: 21.5, on: true, name: "x", b: { volts: [3, 4n] }, raw: new Uint8Array([1]), none: null };
  expect(numbers(value)).toEqual([
    { path: "t", value: 21.5 },
    { path: "on", value: 1 },
    { path: "b.volts[0]", value: 3 },
    { path: "b.volts[1]", value: 4 },
  ]);
  expect(numbers(7)).toEqual([{ path: "", value: 7 }]);
  expect(numbers(Array.from({ length: 500 }, () => 1))).toHaveLength(64);
});
