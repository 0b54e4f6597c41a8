/** A conversation's records by their place: pages of them are loaded when they are looked at, new ones come live. */

import { isOf, type Entry, type HookEvent, type LogEvent, type ToolCall, type ToolResult } from "../../client/index.js";
import { api, live } from "./live.svelte.js";

export const PAGE = 100;
const PAGES_KEPT = 40; // loaded pages that stay; those looked at longest ago go first

export interface Answer extends ToolResult {
  at: string | null;
  record: string;
}

/** A record with what others say of it. */
export interface Row extends Entry {
  index: number;
}

export class Timeline {
  readonly id: string;
  total = $state(0);
  isLoaded = $state(false);
  failure = $state<string | null>(null);
  /** Grows with each page or record that comes. */
  version = $state(0);
  hooks: HookEvent[] = [];
  private rows = new Map<number, Row>();
  private places = new Map<string, number>();
  private answers = new Map<string, Answer>();
  private calls = new Map<string, ToolCall>();
  private pages = new Map<number, "loading" | "loaded" | "failed">();
  private position = 0;
  private early: LogEvent[] = [];
  private isOpening = true; // what comes meanwhile is judged by the position of the answer
  private readonly end: () => void;

  constructor(id: string) {
    this.id = id;
    this.end = live.listen(
      (events) => this.take(events),
      () => void this.open(),
    );
  }

  close(): void {
    this.end();
  }

  /** Load the end, or what is around a record. Returns the place to look at. */
  async open(record?: string | null): Promise<number | null> {
    this.isOpening = true;
    try {
      const asked = record ? { at: record, limit: PAGE } : { last: true, count: true, limit: PAGE };
      const page = await api.records(this.id, asked);
      this.rows.clear();
      this.places.clear();
      this.pages.clear();
      this.total = page.total ?? page.records.length;
      this.position = page.position.seq;
      this.put(page.start ?? 0, page.records);
      this.isLoaded = true;
      this.isOpening = false;
      this.failure = null;
      const early = this.early;
      this.early = [];
      this.take(early);
      this.version += 1;
      void this.loadHooks();
      return record ? (this.places.get(record) ?? null) : null;
    } catch (error) {
      this.failure = error instanceof Error ? error.message : String(error);
      return null;
    }
  }

  at(index: number): Row | undefined {
    return this.rows.get(index);
  }

  placeOf(record: string): number | undefined {
    return this.places.get(record);
  }

  answerTo(call: string): Answer | undefined {
    return this.answers.get(call);
  }

  callOf(id: string): ToolCall | undefined {
    return this.calls.get(id);
  }

  /** See that these places are loaded, or are being loaded. */
  want(first: number, last: number): void {
    for (let page = Math.floor(first / PAGE); page <= Math.floor(last / PAGE); page += 1) {
      if (!this.pages.has(page) && !this.isWhole(page)) void this.load(page);
    }
  }

  private isWhole(page: number): boolean {
    for (let at = page * PAGE; at < Math.min((page + 1) * PAGE, this.total); at += 1) if (!this.rows.has(at)) return false;
    return true;
  }

  private async load(page: number): Promise<void> {
    this.pages.set(page, "loading");
    try {
      const told = await api.records(this.id, { skip: page * PAGE, limit: PAGE });
      this.put(told.start ?? page * PAGE, told.records);
      this.pages.set(page, "loaded");
      this.forget(page);
      this.version += 1;
    } catch {
      this.pages.set(page, "failed");
      setTimeout(() => this.pages.delete(page), 2000);
    }
  }

  /** Pages far from the one that was just loaded go; what came live stays. */
  private forget(near: number): void {
    const loaded = [...this.pages.keys()].filter((page) => this.pages.get(page) === "loaded");
    if (loaded.length <= PAGES_KEPT) return;
    loaded.sort((a, b) => Math.abs(b - near) - Math.abs(a - near));
    for (const page of loaded.slice(0, loaded.length - PAGES_KEPT)) {
      this.pages.delete(page);
      for (let at = page * PAGE; at < (page + 1) * PAGE; at += 1) this.rows.delete(at);
    }
  }

  private put(start: number, entries: Entry[]): void {
    entries.forEach((entry, at) => this.set(start + at, entry));
  }

  private set(index: number, entry: Entry): void {
    this.rows.set(index, { ...entry, index });
    this.places.set(entry.record.id, index);
    for (const call of entry.message?.tool_calls ?? []) this.calls.set(call.id, call);
    for (const result of entry.message?.tool_results ?? []) {
      if (!this.answers.has(result.tool_use_id))
        this.answers.set(result.tool_use_id, { ...result, at: entry.record.timestamp, record: entry.record.id });
    }
  }

  private take(events: readonly LogEvent[]): void {
    if (this.isOpening) {
      this.early.push(...events.filter((event) => isOf(event, "message_added") && event.data.conversation_id === this.id));
      return;
    }
    let changed = false;
    for (const event of events) {
      if (event.seq !== null && event.seq <= this.position) continue;
      if (isOf(event, "message_added") && event.data.conversation_id === this.id) {
        if (this.places.has(event.data.record.id)) continue;
        this.set(this.total, { record: event.data.record, message: event.data.message });
        this.total += 1;
        changed = true;
      } else if (isOf(event, "hook_event") && event.data.conversation_id === this.id) {
        this.hooks = [...this.hooks, event.data];
        changed = true;
      }
    }
    if (changed) this.version += 1;
  }

  private async loadHooks(): Promise<void> {
    try {
      const told = await api.get<{ hooks: HookEvent[] }>(`/conversations/${encodeURIComponent(this.id)}/hooks`, { limit: 1000 });
      this.hooks = told.hooks;
      if (told.hooks.length > 0) this.version += 1;
    } catch {
      // Without them the conversation is whole; they are asked for again when it is opened anew.
    }
  }

  /** Hook events between the record before a place and the one there. */
  hooksBefore(index: number): HookEvent[] {
    if (this.hooks.length === 0) return [];
    const to = this.at(index)?.record.timestamp ?? (index >= this.total ? "9" : null);
    const from = this.at(index - 1)?.record.timestamp ?? (index === 0 ? "" : null);
    if (to === null || from === null) return [];
    return this.hooks.filter((hook) => hook.at > from && hook.at <= to);
  }
}
