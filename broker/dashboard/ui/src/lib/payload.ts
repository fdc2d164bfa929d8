// A payload as something to read: text, JSON, MessagePack, CBOR or bytes; said or found out.
//
// Nothing is guessed into a format that does not take every byte of it. JSON is indented as it was written, token by
// token, so that a number of twenty digits stays what the sender wrote.

import { decode as fromMsgpack } from "@msgpack/msgpack";
import { decode as fromCbor } from "cborg";
import { dump, toHex } from "./bytes";

export type Format = "empty" | "text" | "json" | "msgpack" | "cbor" | "hex";
export const FORMATS: readonly Format[] = ["text", "json", "msgpack", "cbor", "hex"];

export interface Shown {
  format: Format;
  text: string;
  value: unknown; // of json, msgpack and cbor, and of text that is a number; else undefined
  mistake: string | null; // why it is not what was asked for
}

const strictUtf8 = new TextDecoder("utf-8", { fatal: true });
const anyUtf8 = new TextDecoder("utf-8");
// eslint-disable-next-line no-control-regex
const CONTROLS = /[\u0000-\u0008\u000b\u000c\u000e-\u001f]/;

/** Show `payload` in the format that it seems to be in. */
export function detect(payload: Uint8Array): Shown {
  if (payload.length === 0) return { format: "empty", text: "", value: undefined, mistake: null };
  const text = utf8(payload);
  if (text !== null && !CONTROLS.test(text)) {
    const value = /^\s*[[{"\-0-9tfn]/.test(text) ? json(text) : undefined;
    if (value === undefined) return { format: "text", text, value: undefined, mistake: null };
    const format = typeof value === "object" && value !== null ? "json" : "text";
    return { format, text: format === "json" ? indent(text) : text, value, mistake: null };
  }
  for (const format of ["msgpack", "cbor"] as const) {
    const shown = show(payload, format);
    if (shown.mistake === null && typeof shown.value === "object" && shown.value !== null) return shown;
  }
  return show(payload, "hex");
}

/** Show `payload` in that format, or as bytes with the reason why not. */
export function show(payload: Uint8Array, format: Format): Shown {
  switch (format) {
    case "empty":
    case "text":
      return { format, text: anyUtf8.decode(payload), value: undefined, mistake: null };
    case "hex":
      return { format, text: dump(payload), value: undefined, mistake: null };
    case "json": {
      const text = utf8(payload);
      const value = text === null ? undefined : json(text);
      if (text === null || value === undefined) return not(payload, "This is not JSON.");
      return { format, text: indent(text), value, mistake: null };
    }
    case "msgpack":
    case "cbor":
      try {
        const value =
          format === "msgpack"
            ? fromMsgpack(payload, { useBigInt64: true })
            : fromCbor(payload, { useMaps: true, tags: CBOR_TAGS });
        const plain = withoutMaps(value);
        return { format, text: print(plain), value: plain, mistake: null };
      } catch (error) {
        const name = format === "msgpack" ? "MessagePack" : "CBOR";
        return not(payload, `This is not ${name}: ${error instanceof Error ? error.message : String(error)}`);
      }
  }
}

/** A line of it for a list, of at most `length` characters. */
export function preview(payload: Uint8Array, length = 120): string {
  const head = payload.length > 4 * length ? payload.subarray(0, 4 * length) : payload;
  const text = anyUtf8.decode(head);
  if (!CONTROLS.test(text) && !text.includes("\ufffd")) return oneLine(text, length);
  if (payload.length <= 4096) {
    const shown = detect(payload);
    if (shown.value !== undefined) return oneLine(print(shown.value, ""), length);
  }
  const bytes = toHex(head.subarray(0, Math.floor(length / 3)));
  return head.length < payload.length || head.length > length / 3 ? `${bytes} …` : bytes;
}

function oneLine(text: string, length: number): string {
  const line = text.length > length ? `${text.slice(0, length)}…` : text;
  return /[\r\n\t]/.test(line) ? line.replace(/\s*[\r\n\t]+\s*/g, " ") : line;
}

function not(payload: Uint8Array, mistake: string): Shown {
  return { format: "hex", text: dump(payload), value: undefined, mistake };
}

function utf8(payload: Uint8Array): string | null {
  try {
    return strictUtf8.decode(payload);
  } catch {
    return null;
  }
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** JSON text, known to be valid, with a line for each member; each token as it was written. */
export function indent(text: string): string {
  let result = "";
  let depth = 0;
  let at = 0;
  const newLine = () => `\n${"  ".repeat(depth)}`;
  while (at < text.length) {
    const character = text[at]!;
    if (character === '"') {
      const start = at;
      at += 1;
      while (text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
      result += text.slice(start, at + 1);
    } else if (character === "{" || character === "[") {
      const closing = /^\s*[}\]]/.exec(text.slice(at + 1, at + 65));
      if (closing !== null) {
        result += character + closing[0].trim();
        at += closing[0].length;
      } else {
        depth += 1;
        result += character + newLine();
      }
    } else if (character === "}" || character === "]") {
      depth -= 1;
      result += newLine() + character;
    } else if (character === ",") {
      result += character + newLine();
    } else if (character === ":") {
      result += ": ";
    } else if (!/\s/.test(character)) {
      result += character;
    }
    at += 1;
  }
  return result;
}

/** Any decoded value as JSON-like text: bytes as h'…', whole numbers of any size as they are. */
export function print(value: unknown, space = "  ", depth = 0): string {
  const outer = space === "" ? "" : `\n${space.repeat(depth)}`;
  const inner = space === "" ? "" : `\n${space.repeat(depth + 1)}`;
  const colon = space === "" ? ":" : ": ";
  if (depth > 64) return "…";
  if (value instanceof Uint8Array) return `h'${toHex(value, "")}'`;
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? "(no date)" : value.toISOString();
  if (typeof value === "bigint" || typeof value === "number" || typeof value === "boolean") return String(value);
  if (value === undefined) return "undefined";
  if (value === null || typeof value === "string") return JSON.stringify(value);
  if (Array.isArray(value)) {
    if (value.length === 0) return "[]";
    return `[${inner}${value.map((each) => print(each, space, depth + 1)).join(`,${inner}`)}${outer}]`;
  }
  if (typeof value === "object") {
    const members = Object.entries(value);
    if (members.length === 0) return "{}";
    const lines = members.map(([name, each]) => `${JSON.stringify(name)}${colon}${print(each, space, depth + 1)}`);
    return `{${inner}${lines.join(`,${inner}`)}${outer}}`;
  }
  return JSON.stringify(String(value));
}

interface Numbered {
  path: string;
  value: number;
}

/** The numbers in a value with the way to each: `temperature`, `battery.volts`, `samples[2]`; `` for a bare number. */
export function numbers(value: unknown, limit = 64): Numbered[] {
  const found: Numbered[] = [];
  const walk = (each: unknown, path: string, depth: number): void => {
    if (found.length >= limit || depth > 8) return;
    const number = numeric(each);
    if (number !== null) found.push({ path, value: number });
    else if (Array.isArray(each)) each.slice(0, limit).forEach((item, index) => walk(item, `${path}[${index}]`, depth + 1));
    else if (typeof each === "object" && each !== null && !(each instanceof Uint8Array)) {
      for (const [name, item] of Object.entries(each)) walk(item, path === "" ? name : `${path}.${name}`, depth + 1);
    }
  };
  walk(value, "", 0);
  return found;
}

function numeric(value: unknown): number | null {
  if (typeof value === "number" && Number.isFinite(value)) return value;
  if (typeof value === "bigint") return Number(value);
  if (typeof value === "boolean") return value ? 1 : 0;
  return null;
}

/** Maps as objects: a key that is no text is written as it is printed. */
function withoutMaps(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutMaps);
  if (!(value instanceof Map)) return value;
  const named = [...value].map(([key, each]) => [typeof key === "string" ? key : print(key, ""), withoutMaps(each)]);
  return Object.fromEntries(named);
}

const CBOR_TAGS = {
  0: (decode: () => unknown) => new Date(String(decode())),
  1: (decode: () => unknown) => new Date(Number(decode()) * 1000),
};
