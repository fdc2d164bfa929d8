// Runs the scenarios in one Chromium; each result is a line of JSON on standard output.
//
// Arguments: a JSON object with `chromium` (path), `folder` (of the built page), `origin` (of the broker's WebSocket
// listener), `tcp` (port), `pictures` (folder for screenshots), and `only`, names of scenarios, or all.

import { createRequire } from "node:module";
import { chromium } from "playwright-core";
import mqtt from "../../interop/node/node_modules/mqtt/build/index.js";
import { scenarios, until } from "./scenarios.mjs";
import { serve } from "./served.mjs";

const options = JSON.parse(process.argv[2]);
const axePath = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
const VIEWS = ["overview", "topics", "publish", "retained", "clients", "subscriptions", "explain", "transports"];
const AT_A_TIME = 2;
const LOOKS = [
  { name: "dark", colorScheme: "dark", viewport: { width: 1280, height: 800 } },
  { name: "phone", colorScheme: "light", viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true },
];

const device = await mqtt.connectAsync(`mqtt://127.0.0.1:${options.tcp}`, { protocolVersion: 5 });
const publish = (topic, payload, settings = {}) => device.publishAsync(topic, payload, { qos: 1, ...settings });

/** A device that waits for one message. */
function listener(topic) {
  const heard = Promise.withResolvers?.() ?? deferred();
  device.on("message", function hear(at, payload, packet) {
    if (at !== topic) return;
    device.off("message", hear);
    heard.resolve({ payload, packet });
  });
  return { ready: device.subscribeAsync(topic), message: heard.promise };
}

function deferred() {
  let resolve;
  const promise = new Promise((done) => (resolve = done));
  return { promise, resolve };
}

async function within(context, run) {
  await serve(context, options.origin, options.folder);
  context.setDefaultTimeout(15_000);
  const page = await context.newPage();
  const mistakes = [];
  page.on("pageerror", (error) => mistakes.push(error.message));
  page.on("console", (message) => {
    const expected = /404/.test(message.text()); // the API that is not there
    if (message.type() === "error" && !expected) mistakes.push(message.text());
  });
  const open = async (path) => {
    await page.goto(`${options.origin}${path}`);
    await page.getByRole("navigation").waitFor();
  };
  try {
    await run(page, open);
    if (mistakes.length > 0) throw new Error(`the page said: ${mistakes.join("; ")}`);
  } finally {
    await context.close();
  }
}

/** What axe finds that is serious, and what is wider than the window, in each view. */
async function look(page, open, name) {
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
    if (view === "retained") {
      await page.getByLabel("Topic Filter").fill(`look/${name}/#`);
      await until(() => page.getByRole("button", { name: "Look" }).isEnabled(), Boolean, "a connection");
      await page.getByRole("button", { name: "Look" }).click();
      await page.getByRole("button", { name: `look/${name}/lamp` }).click();
    }
    await page.waitForTimeout(150);
    if (options.pictures) await page.screenshot({ path: `${options.pictures}/${view}-${name}.png` });
    await page.addScriptTag({ path: axePath }).catch(() => undefined);
    const { violations } = await page.evaluate(() => globalThis.axe.run());
    for (const { id, impact, nodes } of violations) {
      if (impact === "serious" || impact === "critical") found.push(`${view}: ${id}: ${nodes[0].html.slice(0, 160)}`);
    }
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    if (wide > 0) found.push(`${view}: is ${wide} pixels wider than the window`);
  }
  if (found.length > 0) throw new Error(found.join("\n"));
}

// A page that a test hands over comes from no address, and Chromium would not let it connect to this machine.
const flags = ["--no-sandbox", "--disable-gpu", "--disable-features=LocalNetworkAccessChecks"];
const browser = await chromium.launch({ executablePath: options.chromium, args: flags });
const works = {
  ...Object.fromEntries(
    Object.entries(scenarios).map(([name, scenario]) => [
      name,
      async () => {
        const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
        const { origin } = options;
        await within(context, (page, open) => scenario({ page, open, publish, device: listener, origin, root: name }));
      },
    ]),
  ),
  ...Object.fromEntries(
    LOOKS.map(({ name, ...settings }) => [
      `look_${name}`,
      async () => within(await browser.newContext({ ...settings, bypassCSP: true }), (page, open) => look(page, open, name)),
    ]),
  ),
};
const waiting = Object.entries(works).filter(([name]) => !options.only || options.only.includes(name));
async function workThrough() {
  for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
    const [name, work] = next;
    const begun = Date.now();
    const error = await work().then(
      () => null,
      (reason) => String(reason?.message ?? reason),
    );
    process.stdout.write(`${JSON.stringify({ name, error, milliseconds: Date.now() - begun })}\n`);
  }
}
await Promise.all(Array.from({ length: AT_A_TIME }, workThrough));
await browser.close();
await device.endAsync();
