// Runs the scenarios in one Chromium; each result is a line of JSON on standard output.
//
// The argument is a JSON object with `chromium` (path) and the brokers `open`, `withoutApi` and `locked`, each with the
// ports of its listeners `ws`, which serves the page, and `tcp`. `only` names scenarios; without it all are run.

import { look, LOOKS, SCRIPTS } from "./look.mjs";
import { locked, scenarios, withoutApi } from "./scenarios.mjs";
import { brokerAt, DESK, Lane, launch } from "./stage.mjs";

const options = JSON.parse(process.argv[2]);
const LONGEST = 300_000; // milliseconds of a scenario
const AT_A_TIME = 2;

const waiting = [];
function add(name, ports, work, lane = null) {
  if (!options.only || options.only.includes(name)) waiting.push({ name, ports, work, lane });
}

const browser = await launch(options.chromium);
// The longest come first, so that nobody waits for them at the end.
for (const { name, settings, rules } of LOOKS) {
  add(`look_${name}`, options.open, (given) => look(given, rules), new Lane(browser, settings, SCRIPTS));
}
for (const [ports, group] of [
  [options.open, scenarios],
  [options.withoutApi, withoutApi],
  [options.locked, locked],
]) {
  for (const [name, scenario] of Object.entries(group)) add(name, ports, scenario);
}

async function run({ name, ports, work }, lane) {
  const broker = brokerAt(ports);
  try {
    await lane.go(broker, (page, open) => work({ ...broker, page, open, root: name }));
  } finally {
    await broker.end();
  }
}

async function workThrough() {
  let own = new Lane(browser, DESK);
  for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
    const begun = Date.now();
    let timer;
    const late = new Promise((_, reject) => (timer = setTimeout(reject, LONGEST, new Error("it did not end"))));
    const error = await Promise.race([run(next, next.lane ?? own), late]).then(
      () => null,
      (reason) => String(reason?.message ?? reason),
    );
    clearTimeout(timer);
    process.stdout.write(`${JSON.stringify({ name: next.name, error, milliseconds: Date.now() - begun })}\n`);
    await next.lane?.close();
    if (error !== null && next.lane === null) {
      await own.close();
      own = new Lane(browser, DESK);
    }
  }
}
await Promise.all(Array.from({ length: AT_A_TIME }, workThrough));
await browser.close();
process.exit(0);
