// The agent in Node: commands are lines of JSON on standard input, events are lines of JSON on standard output.

import { createInterface } from "node:readline";
import mqtt from "mqtt";
import { agent } from "./agent.mjs";

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

await agent(
  mqtt,
  async () => {
    const { value, done } = await lines.next();
    return done ? null : JSON.parse(value);
  },
  (event) => process.stdout.write(`${JSON.stringify(event)}\n`),
);
process.exit(0);
