// The admin API (/api/v1), as the page asks it. What it answers is in types.ts.

import type { Session } from "./types";

export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly body: unknown = null,
  ) {
    super(message);
  }
}

export class Api {
  csrf: string | null = null;

  constructor(
    readonly onUnauthorized: () => void = () => undefined,
    readonly ask: typeof fetch = (...given) => fetch(...given),
  ) {}

  get<T>(path: string, parameters: Record<string, string | number | boolean | null | undefined> = {}): Promise<T> {
    return this.#send<T>("GET", path + query(parameters));
  }

  post<T>(path: string, body?: unknown): Promise<T> {
    return this.#send<T>("POST", path, body);
  }

  delete<T = null>(path: string, parameters: Record<string, string | number | null | undefined> = {}): Promise<T> {
    return this.#send<T>("DELETE", path + query(parameters));
  }

  async session(): Promise<Session> {
    return this.#remember(await this.get<Session>("session"));
  }

  async logIn(user: string, password: string): Promise<Session> {
    return this.#remember(await this.post<Session>("session", { user, password }));
  }

  #remember(session: Session): Session {
    this.csrf = session.csrf;
    return session;
  }

  async #send<T>(method: string, path: string, body?: unknown): Promise<T> {
    const headers: Record<string, string> = { Accept: "application/json" };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    if (method !== "GET" && this.csrf !== null) headers["X-CSRF-Token"] = this.csrf;
    let response: Response;
    try {
      response = await this.ask(`/api/v1/${path}`, {
        method,
        headers,
        credentials: "same-origin",
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
    } catch {
      throw new ApiError(0, "unreachable", "The broker cannot be reached.");
    }
    if (response.status === 204) return null as T;
    const answer: unknown = await response.json().catch(() => undefined);
    if (!response.ok || answer === undefined) {
      if (response.status === 401 && path !== "session") this.onUnauthorized();
      throw errorOf(response.status, answer);
    }
    return answer as T;
  }
}

function errorOf(status: number, answer: unknown): ApiError {
  const error = (answer as { error?: { code?: string; message?: string } } | undefined)?.error;
  // An answer that is not JSON does not come from the API: the broker has none, or it is switched off.
  const fallback = answer === undefined ? "This broker has no API here." : `The API answered ${status}.`;
  const code = error?.code ?? (answer === undefined ? "no_api" : String(status));
  return new ApiError(status, code, error?.message ?? fallback, answer);
}

function query(parameters: Record<string, string | number | boolean | null | undefined>): string {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return given.length === 0 ? "" : `?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}`;
}
