// What one does on the page, and what must be seen then. Each scenario gets a new page and topics of its own.
//
// `scenarios` are for a broker as it starts by itself, `withoutApi` for one whose admin API is off, so that the page has
// MQTT alone, and `locked` for one that lets in user `ann` with the password `secret`, and nobody else.

import assert from "node:assert/strict";
import { LONGEST_STEP } from "./stage.mjs";

/** Wait until `read` gives what `wanted` accepts, and return it. */
export async function until(read, wanted, what) {
  const end = Date.now() + LONGEST_STEP;
  for (;;) {
    const seen = await read();
    if (wanted(seen)) return seen;
    if (Date.now() > end) throw new Error(`${what}: it was ${JSON.stringify(seen)}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const sees = (locator, pattern, what = String(pattern)) =>
  until(() => locator.innerText().catch(() => ""), (text) => pattern.test(text.replace(/\s+/g, " ")), what);

/** Subscribe, and wait until the broker has granted it: what is published before is not heard. */
async function subscribe(page, filter) {
  await page.getByLabel("Topic Filter to subscribe to").fill(filter);
  await page.getByRole("button", { name: "Subscribe", exact: true }).click();
  await page.locator(".chip:not([aria-busy=true])").filter({ hasText: filter }).waitFor();
}

const row = (page, name) => page.getByRole("treeitem").filter({ hasText: name }).first();

async function shows(page, name) {
  await row(page, name).waitFor();
  return row(page, name);
}

/** Look at the retained messages below `root`, delete one, and then all; where the API does it, and where MQTT does. */
async function lookAtRetained(page, root, number) {
  const main = page.locator("main");
  await page.getByLabel("Topic Filter").fill(`${root}/#`);
  await page.getByRole("button", { name: "Look", exact: true }).click();
  await sees(main, new RegExp(`1 – ${number} of ${number}`));
  await page.getByRole("button", { name: `${root}/3/config` }).click();
  await sees(page.locator(".detail"), /kept 3/);
  await page.locator(".detail").getByRole("button", { name: "Delete" }).click();
  await sees(main, new RegExp(`1 – ${number - 1} of ${number - 1}`));
}

async function deleteAll(page, root, number) {
  await page.getByRole("button", { name: "Delete all that match…" }).click();
  await sees(page.getByRole("dialog"), new RegExp(`${number} retained messages match`));
  await page.getByRole("button", { name: `Delete ${number}` }).click();
  await sees(page.locator("main"), new RegExp(`${number} are deleted`));
  await page.getByRole("button", { name: "Look", exact: true }).click();
  await sees(page.locator("main"), /None/);
}

export const scenarios = {

  async overview({ page, open }) {
    await open("/");
    await sees(page.locator("header"), /MQTT connected API ready/);
    await sees(page.locator(".numbers"), /Messages in .* Clients [1-9]\d* .* ws.* Memory [\d.]+ MiB/);
    await sees(page.locator("main"), /Listeners .* tcp mqtt:\/\/127\.0\.0\.1:\d+/);
    await until(() => page.locator("canvas").count(), (count) => count >= 6, "the charts");
  },

  async clients({ page, open, publish, root, device }) {
    const client = await device(`${root}/a`, "ws");
    await client.subscribeAsync([`${root}/one`, `${root}/two/#`], { qos: 1 });
    await device(`${root}/b`, "tcp");
    await open("/#/clients");
    await page.locator("[data-filter]").fill(root);
    await sees(page.locator("main"), /1 – 2 of 2/);
    await page.getByLabel("Transport").selectOption("ws");
    await sees(page.locator("main"), /1 – 1 of 1/);
    await page.getByRole("button", { name: `${root}/a` }).click();
    const panel = page.getByRole("region", { name: `Client ${root}/a` });
    await sees(panel, new RegExp(`connected since .* ws .*Subscriptions ${root}/one QoS 1 ${root}/two/# QoS 1 Flight record`));

    await panel.getByRole("button", { name: "Watch packets" }).click();
    await publish(`${root}/one`, "seen");
    await sees(panel, new RegExp(`← out PUBLISH ${root}/one`));

    const ended = new Promise((resolve) => client.once("disconnect", resolve));
    await panel.getByRole("button", { name: "Kick…" }).click();
    await page.getByRole("button", { name: "End it" }).click();
    assert.equal((await ended).reasonCode, 0x98);
    await sees(panel, /Its connection is ended/);
    await open("/#/clients?client=nobody");
    await sees(page.locator("main"), /There is no such Client/);
  },

  async subscriptions({ page, open, root, device }) {
    const client = await device(root, "tcp");
    await client.subscribeAsync({ [`${root}/+/x`]: { qos: 2, nl: true }, [`$share/crew/${root}/y`]: { qos: 1 } });
    await open("/#/subscriptions");
    await page.getByLabel("Client Identifier").fill(root);
    await sees(page.locator("main"), /1 – 2 of 2/);
    await sees(page.locator("table"), new RegExp(`${root}/\\+/x .*no local.*`));
    await sees(page.locator("table"), new RegExp(`${root}/y .*crew`));
    await page.getByLabel("Matches this topic").fill(`${root}/1/x`);
    await sees(page.locator("main"), /1 – 1 of 1/);
    await page.getByLabel("Matches this topic").fill(`${root}/#`);
    await sees(page.locator("main"), /A Topic Name has no \+ and no #/);
  },

  async explain({ page, open, root, device }) {
    await device(root, "tcp");
    await open("/#/explain");
    await page.getByLabel("Client", { exact: true }).fill(root);
    await page.getByRole("button", { name: "Explain", exact: true }).click();
    await sees(page.getByRole("alert"), /A Topic Name has at least one character/);
    await page.getByLabel("Topic", { exact: true }).fill(`${root}/x`);
    await page.getByRole("button", { name: "Explain", exact: true }).click();
    await sees(page.locator("main"), /not subscribed/);
    assert.equal(new URL(page.url()).hash, `#/explain?client=${root}&topic=${root}%2Fx`);
  },

  async retained({ page, open, publish, root }) {
    for (let number = 0; number < 12; number += 1) await publish(`${root}/${number}/config`, `kept ${number}`, { retain: true });
    await publish(`${root}/long`, "z".repeat(9000), { retain: true });
    await open("/#/retained");
    await sees(page.locator("header"), /API ready/);
    await lookAtRetained(page, root, 13);
    await page.getByRole("button", { name: `${root}/long` }).click();
    await until(() => page.locator(".payload").innerText(), (text) => text.length === 9000, "the whole payload");
    await deleteAll(page, root, 12);
  },

  async topics({ page, open, publish, root }) {
    await open("/#/topics");
    assert.equal(await page.getByRole("treeitem").count(), 0);
    await sees(page.locator("main"), /Nothing is subscribed to yet/);
    await publish(`${root}/lamp/state`, '{"on":true,"level":20}', { retain: true });
    await subscribe(page, `${root}/#`);
    await (await shows(page, "lamp")).click();
    const state = await shows(page, "state");
    await sees(state, /\{"on":true,"level":20\}.*R/);
    await state.click();

    const detail = page.locator(".detail");
    await sees(detail, /"level": 20/);
    await publish(`${root}/lamp/state`, '{"on":true,"level":75}');
    await sees(detail, /"level": 75/);
    await page.getByText("Diff with the previous").click();
    await sees(detail.getByLabel("Difference"), /− "level": 20 \+ "level": 75/);
    await page.getByLabel("Field to chart").selectOption("level");
    await sees(detail.locator("figcaption"), /last 2 75/);
    assert.equal(await detail.locator("canvas").count(), 1);
    assert.equal(await detail.getByRole("listitem").count(), 2);

    await detail.getByRole("listitem").last().getByRole("button").click();
    await page.getByLabel("Format of the payload").selectOption("hex");
    await sees(detail.getByLabel("Payload", { exact: true }), /000000 7b 22 6f 6e 22 3a/);
    await sees(detail, /an earlier one/);
  },

  async formats({ page, open, publish, root }) {
    const payloads = {
      msgpack: [[0x82, 0xa1, 0x74, 0xcb, 0x40, 0x35, 0x80, 0, 0, 0, 0, 0, 0xa1, 0x6e, 0x07], /"t": 21.5, "n": 7/, "MessagePack"],
      cbor: [[0xa2, 0x61, 0x74, 0xfb, 0x40, 0x35, 0x80, 0, 0, 0, 0, 0, 0x61, 0x6e, 0x07], /"t": 21.5, "n": 7/, "CBOR"],
      bytes: [[0xff, 0x00, 0x41], /000000 ff 00 41 .*··A/, "Hex"],
      text: [[...Buffer.from("two\nlines")], /two lines/, "Text"],
    };
    await open("/#/topics");
    await subscribe(page, `${root}/#`);
    for (const [name, [bytes]] of Object.entries(payloads)) await publish(`${root}/${name}`, Buffer.from(bytes));
    await until(() => page.getByRole("treeitem").count(), (count) => count === 5, "all four topics");
    for (const [name, [, pattern, format]] of Object.entries(payloads)) {
      await (await shows(page, name)).click();
      await sees(page.locator(".detail h2"), new RegExp(`/${name}$`));
      await sees(page.locator(".payload"), pattern);
      assert.equal(await page.locator(".detail option[value=auto]").innerText(), `Auto: ${format}`);
    }
    await (await shows(page, "msgpack")).click();
    await page.getByLabel("Field to chart").selectOption("t");
    await sees(page.locator("figcaption"), /21\.5/);
  },

  async filter_and_pins({ page, open, publish, root }) {
    await open("/#/topics");
    await subscribe(page, `${root}/#`);
    for (const room of ["kitchen", "hall"]) {
      for (const what of ["temp", "light"]) await publish(`${root}/${room}/${what}`, what);
    }
    await shows(page, "kitchen");
    await page.keyboard.press("Escape");
    await page.keyboard.press("/");
    await page.keyboard.type("TEMP");
    await until(() => page.getByRole("treeitem").count(), (count) => count === 5, "the way to two topics");
    await sees(page.locator(".titles"), /2 found/);
    await page.locator("[data-filter]").fill(`${root}/hall/+`);
    await until(() => page.getByRole("treeitem").count(), (count) => count === 4, "what a pattern matches");
    await (await shows(page, "light")).click();
    await page.getByRole("button", { name: "Pin", exact: true }).click();
    await page.locator("[data-filter]").fill("");
    await page.reload();
    await sees(page.locator(".pins"), new RegExp(`${root}/hall/light`));
    await publish(`${root}/hall/light`, "bright", { retain: true });
    await sees(page.locator(".pins"), /bright/);
  },

  async the_list_stays_under_the_pointer({ page, open, publish, root }) {
    await open("/#/topics");
    await subscribe(page, `${root}/#`);
    for (let number = 10; number < 60; number += 1) await publish(`${root}/m${number}`, "x");
    const target = await shows(page, "m12");
    await target.hover();
    const before = await target.boundingBox();
    for (let number = 0; number < 5; number += 1) await publish(`${root}/a${number}`, "x");
    await page.getByRole("button", { name: /New topics wait/ }).waitFor();
    assert.equal(await row(page, "a0").count(), 0);
    const held = await target.boundingBox();
    await page.mouse.move(5, 300);
    await shows(page, "a0");
    assert.ok(Math.abs(held.y - before.y) < 40, "one line of text came above, and no row moved beyond it");

    // Scrolled, the first row in view stays where it is while others come before it.
    await page.getByRole("tree").evaluate((tree) => (tree.scrollTop = 22 * 20));
    const first = () => page.getByRole("tree").evaluate((tree) => {
      const edge = tree.getBoundingClientRect().top;
      const rows = [...tree.querySelectorAll("[role=treeitem]")];
      const row = rows.find((each) => each.getBoundingClientRect().top >= edge - 1);
      return [row?.querySelector(".name").textContent, Math.round(row?.getBoundingClientRect().top - edge)];
    });
    const was = await until(first, ([, offset]) => offset < 22, "rows are drawn where it was scrolled to");
    for (let number = 5; number < 15; number += 1) await publish(`${root}/a${number}`, "x");
    await sees(page.locator(".head"), /65 topics/);
    await page.waitForTimeout(600);
    assert.deepEqual(await first(), was);
  },

  async pause({ page, open, publish, root }) {
    await open("/#/topics");
    await subscribe(page, `${root}/#`);
    await publish(`${root}/x`, "one");
    const x = await shows(page, "x");
    await page.keyboard.press("Escape");
    await page.keyboard.press("p");
    await publish(`${root}/x`, "two");
    await sees(page.locator(".head"), /paused, 1 passed by/);
    assert.match(await x.innerText(), /one/);
    await page.keyboard.press("p");
    await publish(`${root}/x`, "three");
    await sees(x, /three/);
  },

  async keyboard({ page, open, publish, root }) {
    await open("/");
    for (const [key, title] of [["t", "Topics"], ["p", "Publish"], ["r", "Retained"], ["c", "Clients"], ["s", "Subscriptions"], ["e", "Explain"], ["w", "TCP / WebSocket"], ["o", "Overview"]]) {
      await page.keyboard.press("g");
      await page.keyboard.press(key);
      await until(() => page.title(), (text) => text === `${title} – TrioMQ`, title);
    }
    await page.keyboard.press("?");
    await page.getByRole("dialog", { name: "Keys" }).waitFor();
    await page.keyboard.press("Escape");
    await until(() => page.getByRole("dialog").count(), (count) => count === 0, "the help is closed");

    await page.keyboard.press("g");
    await page.keyboard.press("t");
    await subscribe(page, `${root}/#`);
    await publish(`${root}/b/c`, "deep");
    await shows(page, root);
    await page.getByRole("tree").focus();
    for (const key of ["ArrowDown", "ArrowRight", "ArrowRight", "ArrowRight", "Enter"]) await page.keyboard.press(key);
    await sees(page.locator(".detail h2"), new RegExp(`${root}/b/c`));
    const active = await page.getByRole("tree").getAttribute("aria-activedescendant");
    assert.match(await page.locator(`#${active}`).innerText(), /deep/);
    await page.keyboard.press("ArrowLeft");
    await page.keyboard.press("ArrowLeft");
    await until(() => page.getByRole("treeitem").count(), (count) => count === 2, "b is folded");
  },

  async publish({ page, open, root, listen }) {
    await open("/#/publish");
    await sees(page.locator("header"), /MQTT connected/);
    const main = page.locator("main");
    await page.getByLabel("Topic", { exact: true }).fill(`${root}/+`);
    await page.getByRole("button", { name: "Publish", exact: true }).click();
    await sees(main, /A Topic Name has no \+ and no #/);
    await page.getByLabel("Topic", { exact: true }).fill(`${root}/set`);
    await page.locator("textarea#payload").fill('{"on": 1}');
    await page.getByLabel("How the payload is written").selectOption("json");
    await page.getByLabel("QoS").selectOption("1");
    await page.getByRole("button", { name: "Publish", exact: true }).click();
    await sees(main, new RegExp(`${root}/set: no matching subscribers`));
    const heard = await listen(`${root}/set`);
    await page.getByText("Properties", { exact: true }).click();
    await page.getByLabel("Content type").fill("application/json");
    await page.getByLabel("User properties, a line each").fill("colour: red");
    await page.getByRole("button", { name: "Publish", exact: true }).click();
    const { payload, packet } = await heard.message;
    assert.equal(payload.toString(), '{"on": 1}');
    assert.equal(packet.properties.contentType, "application/json");
    assert.deepEqual({ ...packet.properties.userProperties }, { colour: "red" });
    await sees(main, new RegExp(`${root}/set: success`));
    await page.reload();
    await page.locator("section").getByRole("listitem").first().getByRole("button").click();
    assert.equal(await page.getByLabel("Topic", { exact: true }).inputValue(), `${root}/set`);
    assert.equal(await page.locator("textarea#payload").inputValue(), '{"on": 1}');
  },

  async compare({ page, open }) {
    await open("/#/transports");
    const section = page.getByRole("region", { name: "Comparisons" });
    const run = section.getByRole("button", { name: "Run", exact: true });
    await section.getByLabel("Seconds a run").fill("0.2");
    await section.getByLabel("Rounds").fill("12");
    await section.getByLabel("Connections too").uncheck();
    await run.click();
    const stop = section.getByRole("button", { name: /^Stop / });
    await stop.waitFor();
    assert.equal(await section.getByRole("progressbar").count(), 1);
    assert.ok(await run.isDisabled());
    await stop.click();
    await sees(section, /stopped It was stopped before its end/);

    await section.getByLabel("Workload").selectOption("rtt");
    await section.getByLabel("Rounds").fill("1");
    await run.click();
    await sees(section.getByRole("region", { name: "Reports" }), /tcp ws Ratio Messages delivered [\d.]+k?\/s [\d.]+k?\/s/);
    await sees(section, /rtt 1 × 0\.2 s done/);
    for (const left of [1, 0]) {
      await section.getByRole("button", { name: /^Delete / }).first().click();
      await until(() => section.getByRole("button", { name: /^Delete / }).count(), (count) => count === left, "one is gone");
    }
    assert.equal(await section.getByRole("region", { name: "Reports" }).count(), 0);
  },

  async themes({ page, open }) {
    await open("/");
    const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    await page.getByLabel("Theme").selectOption("dark");
    const dark = await until(background, (colour) => colour === "rgb(20, 23, 27)", "dark");
    await page.reload();
    assert.equal(await background(), dark);
    await page.getByLabel("Theme").selectOption("light");
    await until(background, (colour) => colour !== dark, "light");
  },
};

export const withoutApi = {
  async overview_from_sys({ page, open }) {
    await open("/");
    await sees(page.locator("header"), /MQTT connected/);
    await sees(page.locator("header"), /API none/);
    const numbers = page.locator(".numbers");
    await sees(numbers, /Messages in .* Clients \d+ .* Memory [\d.]+ MiB/);
    await sees(page.locator("main"), /from \$SYS over MQTT/);
    assert.equal(await page.locator("canvas").count(), 6);
  },

  async retained_over_mqtt({ page, open, publish, root }) {
    for (let number = 0; number < 12; number += 1) await publish(`${root}/${number}/config`, `kept ${number}`, { retain: true });
    await open("/#/retained");
    await sees(page.locator("header"), /MQTT connected/);
    await lookAtRetained(page, root, 12);
    await deleteAll(page, root, 11);
  },

  async what_needs_the_api_says_so({ page, open }) {
    for (const view of ["clients", "subscriptions", "explain"]) {
      await open(`/#/${view}`);
      await sees(page.locator("main"), /needs the admin API, which this broker does not offer/);
    }
  },

  async transports_from_sys({ page, open }) {
    await open("/#/transports");
    await sees(page.locator("table").first(), /tcp ws/);
    await sees(page.locator("table").first(), /Bytes beside the payload, for each PUBLISH/);
  },
};

export const locked = {
  async log_in({ page, open }) {
    await open("/#/clients");
    await sees(page.locator("header"), /MQTT refused: not authorized API log in/);
    await page.locator("main").getByRole("button", { name: "Log in" }).click();
    const dialog = page.getByRole("dialog", { name: "Log in" });
    await dialog.getByLabel("User").fill("ann");
    await dialog.getByLabel("Password").fill("wrong");
    await dialog.getByRole("button", { name: "Log in" }).click();
    await sees(dialog.getByRole("alert"), /\w+/);
    await dialog.getByLabel("Password").fill("secret");
    await dialog.getByRole("button", { name: "Log in" }).click();
    await sees(page.locator("header"), /MQTT connected API ready ann \(admin\)/);
    await sees(page.locator("table"), /triomq-dashboard-\w+ ann/);
    await page.reload(); // the cookie is good for MQTT too
    await sees(page.locator("header"), /MQTT connected API ready ann \(admin\)/);
    await sees(page.locator("table"), /triomq-dashboard-\w+ ann/);

    await page.getByRole("button", { name: "Log out" }).click();
    await sees(page.locator("header"), /MQTT refused: not authorized API log in/);
    await sees(page.locator("main"), /can be seen by those who are logged in/);
  },

  /** Nobody publishes to this broker, and each view says what to do about it. */
  async first_steps({ page, open }) {
    await open("/");
    await page.locator("header").getByRole("button", { name: "Log in" }).click();
    await page.getByLabel("User").fill("ann");
    await page.getByLabel("Password").fill("secret");
    await page.getByRole("dialog").getByRole("button", { name: "Log in" }).click();
    await sees(page.locator("header"), /MQTT connected API ready/);
    const steps = page.getByRole("region", { name: "First steps" });
    await sees(steps, /Nothing has been published since the broker started.* broker simulate home --url mqtt:\/\/127\.0\.0\.1:\d+ --url ws:\/\/127\.0\.0\.1:\d+\/mqtt/);
    for (const [view, says] of [["topics", "broker simulate"], ["retained", "broker pub -L mqtt:"], ["clients", "broker sub -L mqtt:"], ["transports", "broker simulate"]]) {
      await open(`/#/${view}`);
      await sees(steps, new RegExp(says));
    }
    await open("/#/topics");
    await subscribe(page, "home/#");
    await sees(page.locator("main"), /Nothing has come yet/);
  },
};
