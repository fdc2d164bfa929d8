// How the Topics view keeps up: frames a second, memory and processor (seconds a second) of the page, under load. It is run by hand:
//
//     node frames.mjs '{"chromium": "/usr/bin/chromium", "ws": 8080, "tcp": 1883}'
//
// `ws` is the port of the broker's listener that serves the page, and `tcp` the one for the device that publishes.
// `topics` (1000), `rate` (5000 messages a second), `seconds` (30); with `slow` the page's processor is that many times
// slower: Chromium's own brake.

import { chromium } from "playwright-core";
import mqtt from "../../interop/node/node_modules/mqtt/build/index.js";

const options = { topics: 1000, rate: 5000, seconds: 30, slow: 1, ...JSON.parse(process.argv[2]) };
const TICK = 10; // milliseconds between two writes of the device
const MEBIBYTE = 1 << 20;

/** A PUBLISH of MQTT 5.0, QoS 0, without properties. */
function packet(topic, payload) {
  const name = Buffer.from(topic);
  const rest = Buffer.concat([Buffer.from([name.length >> 8, name.length & 255]), name, Buffer.from([0]), Buffer.from(payload)]);
  const length = rest.length < 128 ? [rest.length] : [(rest.length & 127) | 128, rest.length >> 7];
  return Buffer.concat([Buffer.from([0x30, ...length]), rest]);
}

const device = await mqtt.connectAsync(`mqtt://127.0.0.1:${options.tcp}`, { protocolVersion: 5 });
let sent = 0;
function load(begun) {
  const due = Math.floor(((Date.now() - begun) / 1000) * options.rate);
  const packets = [];
  for (; sent < due; sent += 1) {
    const number = sent % options.topics;
    const payload = JSON.stringify({ t: Math.round(Math.random() * 1000) / 10, n: sent, on: sent % 2 === 0 });
    packets.push(packet(`plant/line${number % 10}/device${number}/state`, payload));
  }
  if (packets.length > 0) device.stream.write(Buffer.concat(packets));
}

const flags = ["--no-sandbox", "--disable-gpu", "--enable-precise-memory-info"];
const browser = await chromium.launch({ executablePath: options.chromium, args: flags });
const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
const page = await context.newPage();
const session = await context.newCDPSession(page);
await page.goto(`http://127.0.0.1:${options.ws}/#/topics`);
await page.getByText("MQTT connected").waitFor();
await page.getByLabel("Topic Filter to subscribe to").fill("plant/#");
await page.getByRole("button", { name: "Subscribe", exact: true }).click();
const begun = Date.now();
const timer = setInterval(load, TICK, begun);
await page.getByRole("treeitem").first().waitFor();
await page.waitForTimeout(1000);
await page.getByRole("tree").focus();
await page.locator("[data-filter]").fill("state"); // all topics, expanded: forty rows, each of which changes
await page.waitForTimeout(1500);
await page.getByRole("treeitem").filter({ hasText: "state" }).first().click();
await page.getByLabel("Field to chart").selectOption("t");
await page.mouse.move(640, 20);
if (options.slow > 1) await session.send("Emulation.setCPUThrottlingRate", { rate: options.slow });

const heap = async () => {
  await session.send("HeapProfiler.collectGarbage");
  return (await page.evaluate(() => performance.memory.usedJSHeapSize)) / MEBIBYTE;
};
await session.send("Performance.enable", { timeDomain: "threadTicks" });
/** Seconds of the processor that the page's main thread has used. */
const used = async () => {
  const { metrics } = await session.send("Performance.getMetrics");
  return Object.fromEntries(metrics.map(({ name, value }) => [name, value]));
};
const KINDS = { script: "ScriptDuration", layout: "LayoutDuration", style: "RecalcStyleDuration", all: "TaskDuration" };
const figures = [];
for (let part = 0; part < 3; part += 1) {
  const before = sent;
  const usedBefore = await used();
  const frames = await page.evaluate(
    (milliseconds) =>
      new Promise((resolve) => {
        const gaps = [];
        const start = performance.now();
        let last = start;
        requestAnimationFrame(function count(now) {
          gaps.push(now - last);
          last = now;
          if (now - start < milliseconds) requestAnimationFrame(count);
          else resolve({ perSecond: (gaps.length / (now - start)) * 1000, longest: Math.max(...gaps), p95: gaps.sort((a, b) => a - b)[Math.floor(gaps.length * 0.95)] });
        });
      }),
    (options.seconds / 3) * 1000,
  );
  const head = (await page.locator(".head .bar").last().innerText()).replace(/\s+/g, " ");
  const usedAfter = await used();
  const share = ([name, key]) => [name, (usedAfter[key] - usedBefore[key]) / (options.seconds / 3)];
  const processor = Object.fromEntries(Object.entries(KINDS).map(share));
  const rate = Math.round((sent - before) / (options.seconds / 3));
  figures.push({ ...frames, rate, processor, heap: await heap(), head });
  process.stdout.write(`${JSON.stringify(figures.at(-1))}\n`);
}
clearInterval(timer);
await browser.close();
await device.endAsync(true);
