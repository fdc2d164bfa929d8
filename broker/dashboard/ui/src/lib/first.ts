// What one types in a terminal so that there is something to look at, with the addresses of this very broker.

export type Step = "simulate" | "pub" | "sub";

const EVERYWHERE = /^(0\.0\.0\.0|\[::\])$/;

/** Where `listeners` are reached from a machine that knows the broker as `host`: MQTT over TCP first, then WebSocket. */
export function addresses(listeners: readonly { url: string }[], host: string): string[] {
  const found = new Map<string, string>();
  for (const { url } of listeners) {
    const parts = /^(mqtt|ws)s?:\/\/(\[[^\]]*\]|[^:/]+)/.exec(url);
    if (parts === null || found.has(parts[1]!)) continue;
    found.set(parts[1]!, EVERYWHERE.test(parts[2]!) ? url.replace(parts[2]!, host) : url);
  }
  return ["mqtt", "ws"].flatMap((scheme) => found.get(scheme) ?? []);
}

/** The command of a step; `urls` as of `addresses`, one at least. */
export function command(step: Step, urls: readonly string[]): string {
  if (step === "simulate") return ["broker simulate home", ...urls.map((url) => `--url ${url}`)].join(" ");
  if (step === "pub") return `broker pub -L ${urls[0]} -t home/kitchen/temperature -m 21.5 -q 1 -r`;
  return `broker sub -L ${urls[0]} -t 'home/#' -v`;
}
