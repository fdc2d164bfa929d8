// A Chromium with a broker's page in it, and devices at the broker: what the scenarios and the pictures stand on.
//
// A page that is opened costs a second of a processor, most of it for a process of its own. So a `Lane` has one page and
// goes through many scenarios with it: between two the document is left, and all that it remembers is deleted.

import { chromium } from "playwright-core";
import mqtt from "../../interop/node/node_modules/mqtt/build/index.js";

// Milliseconds. They end a wait for what never comes, and say nothing of how fast a machine has to be.
export const LONGEST_STEP = 60_000;

export const DESK = { viewport: { width: 1280, height: 800 }, reducedMotion: "reduce" };

/** What a scenario has of a broker: its page's address, and devices, which are gone with `end`. */
export function brokerAt({ ws, tcp }) {
  const clients = [];
  const device = async (clientId, transport, settings = {}) => {
    const url = transport === "ws" ? `ws://127.0.0.1:${ws}/mqtt` : `mqtt://127.0.0.1:${tcp}`;
    const client = await mqtt.connectAsync(url, { clientId, protocolVersion: 5, reconnectPeriod: 0, ...settings });
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

export const launch = (program) => chromium.launch({ executablePath: program, args: ["--no-sandbox", "--disable-gpu"] });

/** One page, for one scenario after the other. */
export class Lane {
  #context = null;
  #page = null;
  #storage = null;
  #origin = null;
  #mistakes = [];

  /** `scripts` are files that each document has from its beginning. */
  constructor(browser, settings, scripts = []) {
    this.browser = browser;
    this.settings = settings;
    this.scripts = scripts;
  }

  /** Do `work(page, open)` at `broker`. Whoever gets an error takes another lane: the page may be anywhere. */
  async go(broker, work) {
    await this.#fresh(broker.origin);
    const open = async (path) => {
      await this.#page.goto(`${broker.origin}${path}`);
      await this.#page.getByRole("navigation").waitFor();
    };
    await work(this.#page, open);
    if (this.#mistakes.length > 0) throw new Error(`the page said: ${this.#mistakes.join("; ")}`);
  }

  async close() {
    await this.#context?.close();
  }

  async #fresh(origin) {
    if (this.#context === null) await this.#begin();
    else {
      await this.#page.mouse.move(0, 0);
      await this.#page.goto("about:blank");
      await this.#storage.send("Storage.clearDataForOrigin", { origin: this.#origin, storageTypes: "all" });
    }
    this.#origin = origin;
    this.#mistakes = [];
  }

  async #begin() {
    this.#context = await this.browser.newContext(this.settings);
    this.#context.setDefaultTimeout(LONGEST_STEP);
    for (const path of this.scripts) await this.#context.addInitScript({ path });
    const page = await this.#context.newPage();
    page.on("pageerror", (error) => this.#mistakes.push(error.message));
    page.on("console", (message) => {
      const expected = /status of 40[0-9]/.test(message.text()); // of the API, and shown on the page
      if (message.type() === "error" && !expected) this.#mistakes.push(message.text());
    });
    page.on("request", (request) => {
      const { origin, protocol } = new URL(request.url());
      if (protocol !== "about:" && origin !== this.#origin && origin !== "null") this.#mistakes.push(`it asked ${origin}`);
    });
    this.#page = page;
    this.#storage = await this.#context.newCDPSession(page);
  }
}
