import { expect, test } from "vitest";
import { Api, ApiError } from "./api";

type Call = { url: string; init: RequestInit };

function asking(...answers: (Response | Error)[]): { calls: Call[]; ask: typeof fetch } {
  const calls: Call[] = [];
  const ask = ((url: string, init: RequestInit) => {
    calls.push({ url, init });
    const answer = answers.shift()!;
    return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
  }) as typeof fetch;
  return { calls, ask };
}

const json = (body: unknown, status = 200) => new Response(JSON.stringify(body), { status });
const session = { user: "ada", role: "operator", csrf: "token", login: true, version: "1", features: {} };

test("parameters that say nothing are left out", async () => {
  const { calls, ask } = asking(json({ items: [] }));
  await new Api(undefined, ask).get("clients", { filter: "", connected: "true", sort: null, offset: 0 });
  expect(calls[0]!.url).toBe("/api/v1/clients?connected=true&offset=0");
  expect(calls[0]!.init.headers).not.toHaveProperty("X-CSRF-Token");
});

test("what changes something carries the token of the session", async () => {
  const { calls, ask } = asking(json(session), new Response(null, { status: 204 }), json({ id: "1" }));
  const api = new Api(undefined, ask);
  await api.logIn("ada", "secret");
  expect(await api.delete("clients/a%2Fb", { ban_s: 60 })).toBeNull();
  await api.post("bench", { workload: "pairs" });
  expect(calls.map(({ url, init }) => `${init.method} ${url} ${init.body ?? ""}`)).toEqual([
    'POST /api/v1/session {"user":"ada","password":"secret"}',
    "DELETE /api/v1/clients/a%2Fb?ban_s=60 ",
    'POST /api/v1/bench {"workload":"pairs"}',
  ]);
  expect(calls[1]!.init.headers).toMatchObject({ "X-CSRF-Token": "token" });
});

test.each([
  [json({ error: { code: "not_found", message: "No such Client." } }, 404), 404, "not_found", "No such Client."],
  [new Response("not found", { status: 404 }), 404, "no_api", "This broker has no API here."],
  [new Response("<html>", { status: 200 }), 200, "no_api", "This broker has no API here."],
  [json({}, 503), 503, "503", "The API answered 503."],
  [new TypeError("failed"), 0, "unreachable", "The broker cannot be reached."],
])("a refusal carries its words: %#", async (answer, status, code, message) => {
  const failure = await new Api(undefined, asking(answer).ask).get("clients").catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(ApiError);
  expect(failure).toMatchObject({ status, code, message });
});

test("a session that is over is told, but not a log-in that failed", async () => {
  let lost = 0;
  const refusal = () => json({ error: { code: "unauthorized", message: "Log in." } }, 401);
  const api = new Api(() => (lost += 1), asking(refusal(), refusal()).ask);
  await api.logIn("ada", "wrong").catch(() => undefined);
  expect(lost).toBe(0);
  await api.get("overview").catch(() => undefined);
  expect(lost).toBe(1);
});

test("a count that is asked for stands in the refusal", async () => {
  const answer = json({ error: { code: "count", message: "Say how many." }, count: 12 }, 409);
  const failure = await new Api(undefined, asking(answer).ask).delete("retained", { filter: "a/#" }).catch((error: unknown) => error);
  expect((failure as ApiError).body).toMatchObject({ count: 12 });
});
