// Runs the scenarios in one Chromium; each result is a line of JSON on standard output.
//
// The argument is a JSON object with `chromium` (path), `pictures` (folder for screenshots, or null), and the brokers
// `open`, `withoutApi` and `locked`, each with the ports of its listeners `ws`, which serves the page, and `tcp`. `only`
// names scenarios; without it all are run.

import { createRequire } from "node:module";
import { chromium } from "playwright-core";
import mqtt from "../../interop/node/node_modules/mqtt/build/index.js";
import { locked, scenarios, until, withoutApi } from "./scenarios.mjs";

const options = JSON.parse(process.argv[2]);
const axePath = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
const VIEWS = ["overview", "topics", "publish", "retained", "clients", "subscriptions", "explain", "transports"];
const AT_A_TIME = 2;
const LONGEST = 60_000; // milliseconds of a scenario
const LOOKS = [
  { name: "dark", colorScheme: "dark", viewport: { width: 1280, height: 800 }, rules: ["color-contrast"] },
  { name: "phone", colorScheme: "light", viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true },
];

/** What a scenario has of a broker: its page's address, and devices, which are gone with `end`. */
function brokerAt({ ws, tcp }) {
  const clients = [];
  const device = async (clientId, transport) => {
    const url = transport === "ws" ? `ws://127.0.0.1:${ws}/mqtt` : `mqtt://127.0.0.1:${tcp}`;
    const client = await mqtt.connectAsync(url, { clientId, protocolVersion: 5, reconnectPeriod: 0 });
    clients.push(client);
    return client;
  };
  let publisher = null;
  return {
    origin: `http://127.0.0.1:${ws}`,
    device,
    async publish(topic, payload, settings = {}) {
      publisher ??= device(undefined, "tcp");
      await (await publisher).publishAsync(topic, payload, { qos: 1, ...settings });
    },
    /** A device that waits for one message. */
    async listen(topic) {
      const client = await device(undefined, "tcp");
      const message = new Promise((resolve) => client.on("message", (_, payload, packet) => resolve({ payload, packet })));
      await client.subscribeAsync(topic);
      return { message };
    },
    end: () => Promise.all(clients.map((client) => client.endAsync(true))),
  };
}

async function within(context, broker, run) {
  context.setDefaultTimeout(15_000);
  const page = await context.newPage();
  const mistakes = [];
  page.on("pageerror", (error) => mistakes.push(error.message));
  page.on("console", (message) => {
    const expected = /status of 40[0-9]/.test(message.text()); // of the API, and shown on the page
    if (message.type() === "error" && !expected) mistakes.push(message.text());
  });
  page.on("request", (request) => {
    const { origin } = new URL(request.url());
    if (origin !== broker.origin && origin !== "null") mistakes.push(`it asked ${origin}`);
  });
  const open = async (path) => {
    await page.goto(`${broker.origin}${path}`);
    await page.getByRole("navigation").waitFor();
  };
  try {
    await run(page, open);
    if (mistakes.length > 0) throw new Error(`the page said: ${mistakes.join("; ")}`);
  } finally {
    await broker.end();
    await context.close();
  }
}

/** What axe finds that is serious, of `rules` or of all, and what is wider than the window, in each view. */
async function look({ page, open, publish }, name, rules) {
  const found = [];
  await publish(`look/${name}/lamp`, '{"level": 20}', { retain: true });
  await publish(`look/${name}/lamp`, '{"level": 21}', { retain: true });
  for (const view of VIEWS) {
    await open(`/#/${view}`);
    if (view === "overview") await page.locator(".numbers").waitFor();
    if (view === "topics") {
      await page.getByLabel("Topic Filter to subscribe to").fill(`look/${name}/#`);
      await page.getByRole("button", { name: "Subscribe", exact: true }).click();
      await page.getByRole("treeitem").filter({ hasText: "lamp" }).click();
      await page.getByLabel("Field to chart").selectOption("level");
    }
    if (view === "retained") await page.getByRole("button", { name: `look/${name}/lamp` }).click();
    if (view === "clients") await page.getByRole("row").nth(1).getByRole("button").click();
    if (view === "subscriptions") await page.getByRole("row").nth(1).waitFor();
    await page.waitForTimeout(150);
    if (options.pictures) await page.screenshot({ path: `${options.pictures}/${view}-${name}.png` });
    await page.addScriptTag({ path: axePath }).catch(() => undefined);
    const { violations } = await page.evaluate((runOnly) => globalThis.axe.run(runOnly ? { runOnly } : {}), rules);
    for (const { id, impact, nodes } of violations) {
      if (impact === "serious" || impact === "critical") found.push(`${view}: ${id}: ${nodes[0].html.slice(0, 160)}`);
    }
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    if (wide > 0) found.push(`${view}: is ${wide} pixels wider than the window`);
  }
  if (found.length > 0) throw new Error(found.join("\n"));
}

const browser = await chromium.launch({ executablePath: options.chromium, args: ["--no-sandbox", "--disable-gpu"] });
const works = {};
function add(name, ports, settings, work) {
  works[name] = async () => {
    const broker = brokerAt(ports);
    const context = await browser.newContext(settings);
    await within(context, broker, (page, open) => work({ ...broker, page, open, root: name }));
  };
}
const desk = { viewport: { width: 1280, height: 800 } };
for (const [ports, group] of [
  [options.open, scenarios],
  [options.withoutApi, withoutApi],
  [options.locked, locked],
]) {
  for (const [name, scenario] of Object.entries(group)) add(name, ports, desk, scenario);
}
for (const { name, rules, ...settings } of LOOKS) {
  add(`look_${name}`, options.open, { ...settings, bypassCSP: true }, (given) => look(given, name, rules));
}

const waiting = Object.entries(works).filter(([name]) => !options.only || options.only.includes(name));
async function workThrough() {
  for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
    const [name, work] = next;
    const begun = Date.now();
    const late = new Promise((_, reject) => setTimeout(reject, LONGEST, new Error("it did not end")).unref());
    const error = await Promise.race([work(), late]).then(
      () => null,
      (reason) => String(reason?.message ?? reason),
    );
    process.stdout.write(`${JSON.stringify({ name, error, milliseconds: Date.now() - begun })}\n`);
  }
}
await Promise.all(Array.from({ length: AT_A_TIME }, workThrough));
await browser.close();
process.exit(0);
