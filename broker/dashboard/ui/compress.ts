// A `.gz` beside each text that is worth it; the broker sends that to whoever takes it.
//
// They are made of the files as they were written: other plugins change the code until then.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import type { Plugin } from "vite";

const SMALLEST = 1024; // bytes; below it a packet is a packet

export function compressPlugin(): Plugin {
  return {
    name: "compress",
    apply: "build",
    writeBundle({ dir = "" }, bundle) {
      for (const fileName of Object.keys(bundle)) {
        if (!/\.(js|css|txt|svg)$/.test(fileName)) continue;
        const content = readFileSync(join(dir, fileName));
        if (content.length >= SMALLEST) writeFileSync(join(dir, `${fileName}.gz`), gzipSync(content, { level: 9 }));
      }
    },
  };
}
