import { fileURLToPath } from "node:url";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";
import { compressPlugin } from "./compress.ts";
import { mockApi } from "./dev/mock.ts";
import { licensePlugin } from "./licenses.ts";

const root = fileURLToPath(new URL(".", import.meta.url));

export default defineConfig({
  root,
  base: "/",
  plugins: [svelte(), licensePlugin(root), compressPlugin(), mockApi()],
  build: {
    outDir: "../static",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 600, // kilobytes before compression; the whole page is under 200 after it
  },
  test: {
    include: ["src/**/*.test.ts"],
    environment: "node",
    pool: "threads", // without a process for each file
    isolate: false,
  },
});
