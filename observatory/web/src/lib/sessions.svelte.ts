/** Every session, live: what the snapshot said, and what events have changed since. */

import { isOf, type Activity, type Conversation, type LogEvent, type Project, type Snapshot, type Status } from "../../client/index.js";
import { about, firstLine } from "./tool.js";

const WINDOW = 60; // seconds over which rates are told
const BAR = 5; // seconds a bar of a sparkline
const MOST = 5000; // sessions remembered; those quiet for the longest go first
const WAITING_HOOKS = new Set(["PermissionRequest", "Notification"]);

/** A sum over the last minute, bar by bar. */
export class Rate {
  private bars = new Map<number, number>();

  add(amount: number, now: number): void {
    const bar = Math.floor(now / 1000 / BAR);
    this.bars.set(bar, (this.bars.get(bar) ?? 0) + amount);
    for (const one of this.bars.keys()) if (one <= bar - WINDOW / BAR) this.bars.delete(one);
  }

  /** Each bar of the last minute, the oldest first. */
  list(now: number): number[] {
    const last = Math.floor(now / 1000 / BAR);
    return Array.from({ length: WINDOW / BAR }, (_, at) => this.bars.get(last - WINDOW / BAR + 1 + at) ?? 0);
  }
}

export class Session {
  readonly id: string;
  readonly rate = new Rate();
  project_id = $state("");
  parent_id = $state<string | null>(null);
  title = $state<string | null>(null);
  status = $state<Status>("active");
  activity = $state<Activity>("idle");
  model = $state("");
  messages = $state(0);
  tokens = $state(0);
  updated = $state(0);
  now = $state("");
  /** What it does was told by a line since the page is open, not just loaded. */
  stirred = $state(0);
  asks = $state(false);
  private open = new Map<string, string>();

  constructor(id: string) {
    this.id = id;
  }

  /** In one word. */
  get shown(): Activity | "completed" | "error" {
    if (this.asks) return "waiting";
    return this.status === "active" ? this.activity : this.status;
  }

  merge(data: Partial<Conversation>, now: number): void {
    if (data.project_id) this.project_id = data.project_id;
    if (data.parent_id) this.parent_id = data.parent_id;
    if (data.title !== undefined) this.title = data.title;
    if (data.status) this.status = data.status;
    if (data.activity) this.activity = data.activity;
    if (data.activity === "idle" || data.activity === "waiting") this.open.clear();
    if (data.model) this.model = data.model;
    if (typeof data.message_count === "number") this.messages = data.message_count;
    if (data.tokens) this.tokens = sum(data.tokens);
    const at = data.updated_at ? Date.parse(data.updated_at) : NaN;
    this.updated = Number.isFinite(at) ? at : this.updated || now;
  }

  hear(event: LogEvent, now: number): void {
    if (isOf(event, "message_added")) {
      const { message, usage_delta, project_id } = event.data;
      this.project_id = project_id;
      this.updated = this.stirred = now;
      this.asks = false;
      if (usage_delta) this.rate.add(sum(usage_delta), now);
      if (!message) return;
      if (message.content.trim() && !message.tool_results?.length)
        this.now = `${message.role === "user" ? "you" : "claude"}: ${firstLine(message.content)}`;
      for (const call of message.tool_calls ?? []) this.open.set(call.id, `${call.tool_name} ${about(call.tool_input)}`);
      for (const result of message.tool_results ?? []) {
        const done = this.open.get(result.tool_use_id);
        this.open.delete(result.tool_use_id);
        if (done) this.now = `${result.is_error ? "✗" : "✓"} ${done}`;
      }
      const last = [...this.open.values()].at(-1);
      if (last) this.now = `→ ${last}`;
    } else if (isOf(event, "hook_event")) {
      this.updated = this.stirred = now;
      const name = String(event.data.hook_event_name);
      if (WAITING_HOOKS.has(name)) {
        this.asks = true;
        this.now = `⚑ ${name} ${about(event.data.payload.tool_input) || String(event.data.payload.message ?? "")}`;
      }
    }
  }
}

function sum(tokens: object): number {
  return Object.values(tokens).reduce((total: number, one) => total + (typeof one === "number" ? one : 0), 0);
}

export class Sessions {
  all = $state.raw<Map<string, Session>>(new Map());
  projects = $state.raw<Map<string, Project>>(new Map());
  /** Grows with each session that comes or goes. */
  version = $state(0);
  readonly tokens = new Rate();
  readonly events = new Rate();
  isLoaded = $state(false);
  /** There are older ones that were not loaded. */
  isTruncated = $state(false);

  /** A snapshot replaces what was known, but rates and what was last heard. */
  load(snapshot: Snapshot, now: number): void {
    const next = new Map<string, Session>();
    for (const row of [...snapshot.conversations].reverse()) {
      const session = this.all.get(row.id) ?? new Session(row.id);
      session.merge(row, now);
      next.set(row.id, session);
    }
    this.all = next;
    this.projects = new Map(snapshot.projects.map((project) => [project.id, project]));
    this.isLoaded = true;
    this.isTruncated = snapshot.truncated;
    this.version += 1;
  }

  take(event: LogEvent, now: number): void {
    this.events.add(1, now);
    if (isOf(event, "conversation_started") || isOf(event, "conversation_update")) {
      this.of(event.data.id).merge(event.data, now);
    } else if (isOf(event, "message_added") || isOf(event, "hook_event")) {
      if (isOf(event, "message_added") && event.data.usage_delta) this.tokens.add(sum(event.data.usage_delta), now);
      this.of(event.data.conversation_id).hear(event, now);
    } else if (isOf(event, "project_update")) {
      this.projects = new Map(this.projects).set(event.data.id, event.data);
    } else if (isOf(event, "conversation_forgotten")) {
      this.all.delete(event.data.id);
      this.version += 1;
    }
  }

  projectName(id: string): string {
    return this.projects.get(id)?.name ?? id;
  }

  private of(id: string): Session {
    let session = this.all.get(id);
    if (session !== undefined) return session;
    session = new Session(id);
    this.all.set(id, session);
    this.version += 1;
    if (this.all.size > MOST) this.forgetQuietest();
    return session;
  }

  private forgetQuietest(): void {
    const quietest = [...this.all.values()].sort((a, b) => a.updated - b.updated).slice(0, MOST / 10);
    for (const one of quietest) this.all.delete(one.id);
  }
}
