// The built page as the broker serves it: its files, its headers, and the broker itself for everything else.
//
// The page is at the address of the broker's WebSocket listener, so what it opens there is the broker's own.

import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";

export const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; " +
  "font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".txt": "text/plain" };

/** Answer what `context` asks of `origin` from the files in `folder`; the API is `api`, or not there. */
export async function serve(context, origin, folder, api = null) {
  await context.route("**/*", async (route) => {
    const url = new URL(route.request().url());
    if (url.origin !== origin) return route.abort();
    if (url.pathname.startsWith("/api/")) {
      const answer = api?.(route.request(), url) ?? null;
      if (answer === null) return route.fulfill({ status: 404, contentType: "text/plain", body: "not found" });
      return route.fulfill({ status: answer.status, contentType: "application/json", body: JSON.stringify(answer.body) });
    }
    const path = normalize(url.pathname === "/" ? "/index.html" : url.pathname);
    const body = await readFile(join(folder, path)).catch(() => null);
    if (body === null) return route.fulfill({ status: 404 });
    const headers = { "Content-Security-Policy": POLICY, "Content-Type": `${TYPES[extname(path)]}; charset=utf-8` };
    return route.fulfill({ status: 200, headers, body });
  });
}
