// What all views share: the session, the connection, and where the page is.

import { Api, ApiError } from "./lib/api";
import { recall, remember } from "./lib/kept";
import { Live, type Link } from "./lib/live";
import { overviewOfSys, sampleOf, samplesOf, Series, SYS_ROOT } from "./lib/overview";
import type { History, Overview, Role, Session } from "./lib/types";

export const VIEWS = [
  { id: "overview", name: "Overview", key: "o" },
  { id: "topics", name: "Topics", key: "t" },
  { id: "publish", name: "Publish", key: "p" },
  { id: "retained", name: "Retained", key: "r" },
  { id: "clients", name: "Clients", key: "c" },
  { id: "subscriptions", name: "Subscriptions", key: "s" },
  { id: "explain", name: "Explain", key: "e" },
  { id: "transports", name: "TCP / WebSocket", key: "w" },
] as const;

export type ViewId = (typeof VIEWS)[number]["id"];
export type Theme = "auto" | "light" | "dark";
export type ApiState = "asking" | "ready" | "log-in" | "forbidden" | "none" | "down";

const ROLES: Role[] = ["none", "viewer", "operator", "admin"];
const OVERVIEW_SECONDS = 2;

class App {
  view = $state<ViewId>("overview");
  parameters = $state.raw(new URLSearchParams());
  theme = $state<Theme>(recall<Theme>("theme", "auto"));
  dark = $state(false);
  help = $state(false);
  loggingIn = $state(false);
  session = $state.raw<Session | null>(null);
  apiState = $state<ApiState>("asking");
  apiText = $state("");
  link = $state.raw<Link>({ state: "offline", detail: "" });
  overview = $state.raw<Overview | null>(null);
  overviewSource = $state<"api" | "sys" | null>(null);
  samples = $state(0); // grows with each sample in `series`

  readonly series = new Series();
  readonly api = new Api(() => this.#lost());
  readonly live = new Live((link) => (this.link = link));
  readonly #sys = new Map<string, string>();
  #stopSys: (() => void) | null = null;
  #history = false;

  get version(): string {
    return this.session?.version ?? this.overview?.version ?? "";
  }

  /** Whether nothing has been published since the broker started. */
  get quiet(): boolean {
    return this.overview !== null && this.overview.messages.publish_received === 0;
  }

  /** Whether the API answers to one who is at least `role`. */
  may(role: Role): boolean {
    return this.apiState === "ready" && ROLES.indexOf(this.session?.role ?? "none") >= ROLES.indexOf(role);
  }

  async start(): Promise<void> {
    await this.askSession();
    this.connect(null, null);
    void this.#poll();
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.#history = false;
    });
  }

  connect(user: string | null, password: string | null): void {
    const path = this.session?.features.mqtt_path ?? "/mqtt";
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    this.live.connect(`${scheme}://${location.host}${path}`, user, password);
  }

  async askSession(): Promise<void> {
    try {
      this.#take(await this.api.session());
    } catch (error) {
      this.#failed(error);
    }
  }

  /** Log in to the API where it has a log-in, and connect over MQTT as that user. The password is not kept. */
  async logIn(user: string, password: string): Promise<void> {
    if (this.session === null || this.session.login || this.apiState === "log-in") {
      try {
        this.#take(await this.api.logIn(user, password));
      } catch (error) {
        if (!(error instanceof ApiError) || (error.status !== 404 && error.code !== "no_api")) throw error;
      }
    }
    this.connect(user, password);
    this.loggingIn = false;
  }

  async logOut(): Promise<void> {
    await this.api.delete("session").catch(() => undefined);
    this.overview = null;
    await this.askSession();
    this.connect(null, null);
  }

  setTheme(theme: Theme): void {
    this.theme = theme;
    remember("theme", theme);
  }

  #take(session: Session): void {
    this.session = session;
    this.apiText = "";
    if (session.features.api === false) this.apiState = "none";
    else this.apiState = session.role === "none" ? (session.login ? "log-in" : "forbidden") : "ready";
  }

  #failed(error: unknown): void {
    const status = error instanceof ApiError ? error.status : 0;
    this.apiText = error instanceof Error ? error.message : String(error);
    if (status === 401) this.apiState = "log-in";
    else if (status === 403) this.apiState = "forbidden";
    else if (status === 0 || status >= 500) this.apiState = "down";
    else this.apiState = "none";
  }

  #lost(): void {
    this.apiState = this.session?.login === false ? "forbidden" : "log-in";
    if (this.session !== null) this.session = { ...this.session, user: null, role: "none" };
  }

  async #poll(): Promise<void> {
    if (!document.hidden) {
      if (this.apiState === "down") await this.askSession();
      if (this.apiState === "ready") await this.#askOverview();
      this.#listen(this.overviewSource !== "api" || this.apiState !== "ready");
      if (this.#stopSys !== null) this.#readSys();
    }
    setTimeout(() => void this.#poll(), OVERVIEW_SECONDS * 1000);
  }

  async #askOverview(): Promise<void> {
    try {
      if (!this.#history) {
        this.series.reset(samplesOf(await this.api.get<History>("history")));
        this.#history = true;
      }
      this.#show(await this.api.get<Overview>("overview"), "api");
    } catch (error) {
      if (error instanceof ApiError && (error.status === 404 || error.code === "no_api")) this.apiState = "none";
      else if (error instanceof ApiError && error.status === 0) this.#failed(error);
      this.overviewSource = null;
    }
  }

  #listen(wanted: boolean): void {
    if (wanted && this.#stopSys === null) {
      this.overviewSource = null;
      const watching = this.live.watch(`${SYS_ROOT}#`, ({ topic, payload }) => {
        this.#sys.set(topic.slice(SYS_ROOT.length), new TextDecoder().decode(payload));
      });
      this.#stopSys = () => watching.stop();
    } else if (!wanted && this.#stopSys !== null) {
      this.#stopSys();
      this.#stopSys = null;
    }
  }

  #readSys(): void {
    if (!this.live.connected) return;
    const overview = overviewOfSys(this.#sys, Date.now() / 1000);
    if (overview !== null) this.#show(overview, "sys");
  }

  #show(overview: Overview, source: "api" | "sys"): void {
    this.overview = overview;
    this.overviewSource = source;
    const sample = sampleOf(overview);
    const before = this.series.samples.at(-1);
    // $SYS changes every ten seconds: in between, the same counters would be drawn as a standstill.
    const names = ["publish_received", "publish_sent", "bytes_received", "bytes_sent"];
    if (source === "api" || before === undefined || names.some((name) => before[name] !== sample[name]) || sample.time - before.time >= 10) {
      this.series.add(sample);
      this.samples += 1;
    }
  }
}

export const app = new App();

/** Go to a view; `parameters` come after it in the address. */
export function go(view: ViewId, parameters: Record<string, string> = {}): void {
  const text = new URLSearchParams(parameters).toString();
  location.hash = `/${view}${text === "" ? "" : `?${text}`}`;
}

/** Take the view from the address. */
export function route(): void {
  const [path = "", text = ""] = location.hash.replace(/^#\/?/, "").split("?", 2);
  app.view = VIEWS.find(({ id }) => id === path)?.id ?? "overview";
  app.parameters = new URLSearchParams(text);
}
