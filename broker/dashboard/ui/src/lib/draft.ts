// A message that is written to be published, and the list of those that were.

import { fromBase64, fromHex } from "./bytes";
import { topicMistake } from "./filter";
import type { PublishOptions } from "./live";

export type Writing = "text" | "json" | "hex" | "base64";

export interface Draft {
  topic: string;
  payload: string;
  writing: Writing;
  qos: 0 | 1 | 2;
  retain: boolean;
  contentType: string;
  responseTopic: string;
  correlation: string;
  expiry: string; // seconds, or nothing
  userProperties: string; // a line each: name: value
}

export const EMPTY: Draft = {
  topic: "",
  payload: "",
  writing: "text",
  qos: 0,
  retain: false,
  contentType: "",
  responseTopic: "",
  correlation: "",
  expiry: "",
  userProperties: "",
};

/** What is wrong with a draft, in one line that says how it is meant; null where nothing is. */
export function draftMistake(draft: Draft): string | null {
  const mistake = topicMistake(draft.topic);
  if (mistake !== null) return mistake;
  if (draft.responseTopic !== "" && topicMistake(draft.responseTopic) !== null) return "The response topic has a wildcard.";
  if (draft.expiry !== "" && !/^\d{1,10}$/.test(draft.expiry)) return "The expiry is a whole number of seconds.";
  if (userProperties(draft.userProperties) === null) return "A user property is a line: name: value";
  if (payloadOf(draft) === null) {
    return { text: "", json: "The payload is not JSON.", hex: "The payload is not hexadecimal.", base64: "The payload is not base64." }[
      draft.writing
    ];
  }
  return null;
}

/** The bytes of its payload; null where it is not what `writing` says. */
export function payloadOf(draft: Draft): Uint8Array | null {
  if (draft.writing === "hex") return fromHex(draft.payload);
  if (draft.writing === "base64") return fromBase64(draft.payload);
  if (draft.writing === "json") {
    try {
      JSON.parse(draft.payload);
    } catch {
      return null;
    }
  }
  return new TextEncoder().encode(draft.payload);
}

export function optionsOf(draft: Draft): PublishOptions {
  const users = userProperties(draft.userProperties) ?? {};
  const properties: NonNullable<PublishOptions["properties"]> = {
    ...(draft.contentType === "" ? {} : { contentType: draft.contentType }),
    ...(draft.responseTopic === "" ? {} : { responseTopic: draft.responseTopic }),
    ...(draft.correlation === "" ? {} : { correlationData: new TextEncoder().encode(draft.correlation) }),
    ...(draft.expiry === "" ? {} : { messageExpiryInterval: Number(draft.expiry) }),
    ...(Object.keys(users).length === 0 ? {} : { userProperties: users }),
  };
  return { qos: draft.qos, retain: draft.retain, ...(Object.keys(properties).length === 0 ? {} : { properties }) };
}

function userProperties(text: string): Record<string, string[]> | null {
  const found: Record<string, string[]> = {};
  for (const line of text.split("\n")) {
    if (line.trim() === "") continue;
    const at = line.indexOf(":");
    if (at <= 0) return null;
    (found[line.slice(0, at).trim()] ??= []).push(line.slice(at + 1).trim());
  }
  return found;
}

/** The list with `draft` first, each but once, of at most `limit`. */
export function withDraft(history: readonly Draft[], draft: Draft, limit = 50): Draft[] {
  const key = JSON.stringify(draft);
  return [draft, ...history.filter((each) => JSON.stringify(each) !== key)].slice(0, limit);
}
