/** The HTTP API (docs/api.md), typed as far as it is used. */

import type { ConversationRow, Entry, HookEvent, Position, Project } from "./wire.js";

/** An answer that is no success. `code`: as in docs/api.md; "UNREACHABLE" without an answer. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

export interface Positioned {
  position: Position;
}

export interface RecordRow extends Entry {
  line: number;
}

/** A range of records; `start`: how many come before it, `total`: how many there are, where it was asked for. */
export interface RecordsPage extends Positioned {
  records: RecordRow[];
  more: boolean;
  start?: number;
  total?: number;
}

export interface ConversationsPage extends Positioned {
  conversations: ConversationRow[];
  total: number;
  next: string | null;
}

export interface Hit {
  record: string;
  conversation_id: string;
  project_id: string;
  project: string;
  title: string | null;
  timestamp: string | null;
  line: number;
  roles: string[];
  tool: string | null;
  is_error: boolean;
  snippet: string;
  marks: [number, number][];
}

export interface Found extends Positioned {
  hits: Hit[];
  total: number;
  is_exact: boolean;
  lag: number;
  stopped: boolean;
  next: string | null;
}

export interface Hooks extends Positioned {
  hooks: HookEvent[];
  more: boolean;
}

export interface WholeRecord extends Entry, Positioned {
  conversation_id: string | null;
  line: number;
  raw: string;
  images: number;
}

export interface Annotation {
  starred?: boolean;
  add?: string[];
  remove?: string[];
  note?: string;
}

type Parameter = string | number | boolean | readonly string[] | null | undefined;

/** base: the public path of the server, "" at the root of its origin. */
export class Api {
  constructor(
    readonly base: string,
    private readonly fetcher: typeof fetch = (input, init) => fetch(input, init),
  ) {}

  get<T>(path: string, query: Record<string, Parameter> = {}, signal?: AbortSignal): Promise<T> {
    return this.ask<T>(this.url(path, query), signal ? { signal } : {});
  }

  post<T>(path: string, body: unknown): Promise<T> {
    const headers = { "Content-Type": "application/json" };
    return this.ask<T>(this.url(path), { method: "POST", body: JSON.stringify(body), headers });
  }

  /** The address of something. */
  url(path: string, query: Record<string, Parameter> = {}): string {
    const parameters = new URLSearchParams();
    for (const [name, value] of Object.entries(query)) {
      if (value === null || value === undefined || value === "") continue;
      for (const one of Array.isArray(value) ? value : [value]) parameters.append(name, String(one));
    }
    const asked = parameters.toString();
    return `${this.base}/api/v1${path}${asked && `?${asked}`}`;
  }

  conversation(id: string): Promise<{ conversation: ConversationRow; agents: string[] } & Positioned> {
    return this.get(`/conversations/${encodeURIComponent(id)}`);
  }

  agents(id: string): Promise<{ agents: ConversationRow[] } & Positioned> {
    return this.get(`/conversations/${encodeURIComponent(id)}/agents`);
  }

  /** skip: records before the range; at: a record that is to be in it. */
  records(id: string, asked: { skip?: number; at?: string; last?: boolean; limit?: number }): Promise<RecordsPage> {
    return this.get(`/conversations/${encodeURIComponent(id)}/records`, asked);
  }

  projects(): Promise<{ projects: Project[] } & Positioned> {
    return this.get("/projects");
  }

  annotate(id: string, annotation: Annotation): Promise<{ starred: boolean; tags: string[]; note: string }> {
    return this.post(`/conversations/${encodeURIComponent(id)}/annotation`, annotation);
  }

  private async ask<T>(url: string, init: RequestInit): Promise<T> {
    let answer: Response;
    try {
      answer = await this.fetcher(url, init);
    } catch (error) {
      if (error instanceof DOMException && error.name === "AbortError") throw error;
      throw new ApiError(0, "UNREACHABLE", "the server cannot be reached");
    }
    const told: unknown = await answer.json().catch(() => null);
    if (answer.ok || (told !== null && typeof told === "object" && !("error" in told))) return told as T;
    const { error } = (told ?? {}) as { error?: { code?: string; message?: string } };
    throw new ApiError(answer.status, error?.code ?? "", error?.message ?? answer.statusText);
  }
}
