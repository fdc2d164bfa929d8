// The licences of all that comes from the registry and may be in the page, written beside it.
//
// The list is that of the lock file without what only builds. It has more than the page: MQTT.js brings its own
// dependencies inside its bundle, so what of them is really used is not to be seen from here.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Plugin } from "vite";

interface Locked {
  version: string;
  license?: string;
  dev?: boolean;
  optional?: boolean;
}

const RULE = "=".repeat(100);

export function licenses(root: string): string {
  const lock = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")) as { packages: Record<string, Locked> };
  const parts = ["Third-party software in TrioMQ's dashboard, with its licences.\n"];
  for (const [path, locked] of Object.entries(lock.packages)) {
    const folder = join(root, path);
    if (path === "" || locked.dev || !existsSync(folder)) continue;
    const files = readdirSync(folder).filter((name) => /^(licen[cs]e|copying|notice)/i.test(name)).sort();
    const texts = files.map((name) => readFileSync(join(folder, name), "utf8").trim());
    const name = path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length);
    parts.push(`${RULE}\n${name} ${locked.version} (${locked.license ?? "see below"})\n\n${texts.join("\n\n")}\n`);
  }
  return parts.join("\n");
}

export function licensePlugin(root: string): Plugin {
  return {
    name: "third-party-licenses",
    apply: "build",
    generateBundle() {
      this.emitFile({ type: "asset", fileName: "third-party-licenses.txt", source: licenses(root) });
    },
  };
}
