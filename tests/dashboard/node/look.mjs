// Each view with something in it, and what axe finds there.

import { createRequire } from "node:module";

const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

export const SCRIPTS = [AXE];

/** How the views are looked at. What does not hang on colours and width is asked once, where there is least room. */
export const LOOKS = [
  { name: "dark", settings: { colorScheme: "dark", viewport: { width: 1280, height: 800 } }, rules: ["color-contrast"] },
  { name: "phone", settings: { colorScheme: "light", viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true } },
];

/** For each view what one does there, until there is all that it shows. */
const VIEWS = {
  async overview(page) {
    await page.locator(".numbers").waitFor();
    await page.locator("canvas").first().waitFor();
  },
  async topics(page, root) {
    await page.getByLabel("Topic Filter to subscribe to").fill(`${root}/#`);
    await page.getByRole("button", { name: "Subscribe", exact: true }).click();
    await page.getByRole("treeitem").filter({ hasText: "lamp" }).click();
    await page.getByLabel("Field to chart").selectOption("level");
    await page.locator(".detail canvas").waitFor();
  },
  async publish(page) {
    await page.getByLabel("Topic", { exact: true }).waitFor();
  },
  async retained(page, root) {
    await page.getByRole("button", { name: `${root}/lamp` }).click();
    await page.locator(".detail .payload").waitFor();
  },
  async clients(page, root) {
    await page.getByRole("button", { name: root, exact: true }).click();
    await page.getByRole("region", { name: "Flight record" }).waitFor();
  },
  async subscriptions(page) {
    await page.getByRole("row").nth(1).waitFor();
  },
  async explain(page) {
    await page.getByLabel("Topic", { exact: true }).waitFor();
  },
  async transports(page) {
    await page.locator("canvas").first().waitFor();
  },
};

/** Fails with what axe finds that is serious, of `rules` or of all, and what is wider than the window, in each view. */
export async function look({ page, open, publish, device, root }, rules) {
  const found = [];
  await (await device(root, "ws")).subscribeAsync(`${root}/#`);
  await publish(`${root}/lamp`, '{"level": 20}', { retain: true });
  await publish(`${root}/lamp`, '{"level": 21}', { retain: true });
  for (const [view, show] of Object.entries(VIEWS)) {
    await open(`/#/${view}`);
    await show(page, root);
    const { violations, wide } = await page.evaluate(async (runOnly) => {
      const options = { resultTypes: ["violations"], ...(runOnly === undefined ? {} : { runOnly }) };
      const { violations } = await globalThis.axe.run(options);
      return { violations, wide: document.documentElement.scrollWidth - window.innerWidth };
    }, rules);
    for (const { id, impact, nodes } of violations) {
      if (impact === "serious" || impact === "critical") found.push(`${view}: ${id}: ${nodes[0].html.slice(0, 160)}`);
    }
    if (wide > 0) found.push(`${view}: is ${wide} pixels wider than the window`);
  }
  if (found.length > 0) throw new Error(found.join("\n"));
}
