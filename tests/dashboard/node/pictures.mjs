// Makes the pictures of the documents. The argument is a JSON object with `chromium` (path), `ws` and `tcp` (ports of a
// broker at which the fleet `home` lives), `folder` for the pictures, and `seconds` for which the broker is to have run
// before the charts are drawn.

import { writeFile } from "node:fs/promises";
import { brokerAt, DESK, launch } from "./stage.mjs";

const options = JSON.parse(process.argv[2]);
const begun = Date.now();
const broker = brokerAt(options);
const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, Math.max(0, seconds * 1000)));

/** What lives beside the fleet: a panel on a wall, two recorders that share the work, and an archive that is away. */
async function neighbours() {
  const panel = await broker.device("wall-panel", "ws");
  await panel.subscribeAsync({ "home/house-001/#": { qos: 1 }, "home/+/+/light": { qos: 0 } });
  for (const [name, transport] of [["recorder-1", "tcp"], ["recorder-2", "ws"]]) {
    await (await broker.device(name, transport)).subscribeAsync("$share/recorders/home/#", { qos: 1 });
  }
  const archive = await broker.device("archive", "tcp", { clean: true, properties: { sessionExpiryInterval: 86400 } });
  await archive.subscribeAsync("home/house-001/+/energy", { qos: 1 });
  await archive.endAsync();
}

const browser = await launch(options.chromium);
async function pageWith(settings) {
  const context = await browser.newContext(settings);
  const page = await context.newPage();
  const session = await context.newCDPSession(page);
  return {
    page,
    async open(view) {
      await page.goto(`${broker.origin}/#/${view}`);
      await page.getByText("MQTT connected").waitFor();
    },
    async picture(name, height = DESK.viewport.height) {
      await page.mouse.move(0, 0);
      await page.setViewportSize({ ...DESK.viewport, height });
      await page.waitForTimeout(500); // for what has come to be drawn
      const { data } = await session.send("Page.captureScreenshot", { format: "webp", quality: 85 });
      await writeFile(`${options.folder}/${name}.webp`, Buffer.from(data, "base64"));
    },
  };
}

const views = {
  async topics({ page, picture }) {
    await page.getByLabel("Topic Filter to subscribe to").fill("home/+/#");
    await page.getByRole("button", { name: "Subscribe", exact: true }).click();
    await page.getByRole("treeitem").filter({ hasText: "house-001" }).locator("[data-twist]").click();
    await page.getByLabel("Find topics by text or MQTT pattern").fill("home/house-001/#");
    await page.getByRole("treeitem").filter({ hasText: "amperes" }).first().click();
    await page.getByLabel("Field to chart").selectOption("watts");
    await sleep(20);
    await picture("topics");
  },
  async publish({ page, picture }) {
    await page.getByLabel("Topic", { exact: true }).fill("home/house-001/lamp-0001/set");
    await page.getByLabel("How the payload is written").selectOption("json");
    await page.locator("textarea#payload").fill('{"on": true, "brightness": 40}');
    await page.getByLabel("QoS").selectOption("1");
    await page.getByText("Properties", { exact: true }).click();
    await page.getByLabel("Content type").fill("application/json");
    await page.getByRole("button", { name: "Publish", exact: true }).click();
    await page.getByText("success").waitFor();
    await picture("publish", 640);
  },
  async retained({ page, picture }) {
    await page.getByRole("row").nth(4).getByRole("button").click();
    await page.locator(".detail .payload").waitFor();
    await picture("retained");
  },
  async clients({ page, picture }) {
    await page.getByRole("button", { name: "wall-panel" }).click();
    await page.getByRole("button", { name: "Watch packets" }).click();
    await page.getByRole("cell", { name: "PUBACK" }).nth(5).waitFor();
    await picture("clients");
  },
  async subscriptions({ page, picture }) {
    await page.getByRole("row").nth(1).waitFor();
    await picture("subscriptions");
  },
  async explain({ page, picture }) {
    await page.getByLabel("Client", { exact: true }).fill("archive");
    await page.getByLabel("Topic", { exact: true }).fill("home/house-001/meter-0001/energy");
    await page.getByRole("button", { name: "Explain", exact: true }).click();
    await page.getByRole("region", { name: "Explanation" }).waitFor();
    await picture("explain", 400);
  },
  async overview({ page, picture }) {
    await sleep(options.seconds - (Date.now() - begun) / 1000);
    await page.locator("canvas").nth(5).waitFor();
    await picture("overview");
  },
  async transports({ page, picture }) {
    const section = page.getByRole("region", { name: "Comparisons" });
    await section.getByLabel("Seconds a run").fill("1");
    await section.getByLabel("Rounds").fill("6");
    await section.getByLabel("Connections too").uncheck();
    await section.getByRole("button", { name: "Run", exact: true }).click();
    await section.getByRole("region", { name: "Reports" }).waitFor({ timeout: 120_000 });
    await picture("transports", await page.locator("main").evaluate((main) => main.offsetTop + main.scrollHeight));
  },
};

await neighbours();
const dark = await pageWith({ ...DESK, colorScheme: "dark" });
for (const [view, show] of Object.entries(views)) {
  await dark.open(view);
  await show(dark);
}
await browser.close();
await broker.end();
process.exit(0);
