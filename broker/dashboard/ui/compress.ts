// A `.gz` beside each text that is worth it; the broker sends that to whoever takes it.

import { gzipSync } from "node:zlib";
import type { Plugin } from "vite";

const SMALLEST = 1024; // bytes; below it a packet is a packet

export function compressPlugin(): Plugin {
  return {
    name: "compress",
    apply: "build",
    enforce: "post",
    generateBundle(_, bundle) {
      for (const [fileName, file] of Object.entries(bundle)) {
        const content = file.type === "chunk" ? file.code : file.source;
        if (content.length < SMALLEST || !/\.(js|css|txt|svg)$/.test(fileName)) continue;
        this.emitFile({ type: "asset", fileName: `${fileName}.gz`, source: gzipSync(content, { level: 9 }) });
      }
    },
  };
}
