/**
 * The client's side of the protocol as decisions: a frame comes in, what to do goes out. No socket, no clock.
 *
 *     greet ──connection_established──▶ subscribe | get_snapshot
 *     subscribe ──confirmed──▶ live           ──recovered: false──▶ get_snapshot
 *     get_snapshot ──snapshot──▶ resume ──▶ live
 *     live ──resync──▶ get_snapshot
 */

import { Backoff, delayAfter, isFinal } from "./backoff.js";
import { Progress } from "./progress.js";
import type { LogEvent, Position, Snapshot } from "./wire.js";

export type Effect =
  | { kind: "send"; text: string }
  | { kind: "event"; event: LogEvent }
  | { kind: "snapshot"; snapshot: Snapshot; reason: string }
  | { kind: "live"; recovered: boolean | null }
  | { kind: "leave"; code: number; reason: string }
  | { kind: "fail"; error: string };

export type Verdict = { kind: "retry"; ms: number; why: string } | { kind: "end"; why: string };

type Phase = "greeting" | "confirmation" | "snapshot" | "live";
type Data = Record<string, unknown>;

const DEFAULT_PING = 25_000;
const SILENCE_FACTOR = 1.5;
const IN_A_ROW = 3; // miscounts, or snapshots that were too old already: coming back once more does not cure it
const PASSING = new Set(["POSITION_SET", "RATE_LIMIT_EXCEEDED"]); // cured by a new connection

export class ClientState {
  readonly progress: Progress;
  readonly backoff: Backoff;
  phase: Phase = "greeting";
  silence = SILENCE_FACTOR * DEFAULT_PING;
  private shutdown: number | null = null;
  private requests = 0;
  private subscribed = false;
  private resuming = false;
  private recovered: boolean | null = null;
  private snapshots = 0;
  private miscounts = 0;
  private why = "";

  constructor(
    private readonly topics: readonly string[],
    private readonly where: unknown = null,
    since: Position | null = null,
    random: () => number = Math.random,
  ) {
    this.progress = new Progress(since);
    this.backoff = new Backoff(random);
  }

  /** A new socket is open; the server speaks first. */
  connect(): void {
    this.progress.connect();
    this.phase = "greeting";
    this.shutdown = null;
    this.requests = this.snapshots = 0;
    this.subscribed = this.resuming = false;
  }

  /** What one frame asks for. Unknown types, and what is no frame, ask for nothing. */
  receive(text: string): Effect[] {
    const frame = parsed(text);
    if (frame === null) return [];
    return typeof frame.seq === "number" ? this.event(frame) : this.control(frame);
  }

  /** The connection is gone after `lived` ms; `code` is the close frame's, or 1006. */
  closed(code: number, reason: string, lived: number): Verdict {
    this.backoff.lasted(lived);
    const why = reason || `the connection ended (${code})`;
    if (isFinal(code)) return { kind: "end", why };
    return { kind: "retry", ms: delayAfter(code, this.backoff, this.shutdown), why };
  }

  private event(frame: Data): Effect[] {
    const { epoch, seq } = frame;
    const isNews = typeof epoch !== "string" || this.progress.take(epoch, seq as number);
    return isNews ? [{ kind: "event", event: eventOf(frame) }] : [];
  }

  private control(frame: Data): Effect[] {
    const data = objectOf(frame.data);
    const isReply = this.requests > 0 && frame.re === this.requests;
    switch (frame.type) {
      case "ping":
        return this.ping(data);
      case "connection_established":
        return this.phase === "greeting" ? this.greeted(data) : [];
      case "subscription_confirmed":
        return this.phase === "confirmation" && isReply ? this.confirmed(data) : [];
      case "snapshot":
        return this.phase === "snapshot" && isReply ? this.loaded(data) : [];
      case "error":
        return isReply ? this.refused(data) : [];
      case "resync":
        return this.phase === "live" ? this.resynced(String(data.reason)) : [];
      case "server_shutdown":
        this.shutdown = wholeOf(data.reconnect_after_ms);
        return [];
      case "system_status":
        return [{ kind: "event", event: eventOf(frame) }];
      default:
        return [];
    }
  }

  private ping(data: Data): Effect[] {
    const sent = wholeOf(data.sent);
    const { received } = this.progress;
    if (sent !== null && sent !== received) {
      this.progress.rewind();
      this.miscounts += 1;
      if (this.miscounts < IN_A_ROW) return [{ kind: "leave", code: 4000, reason: "count mismatch" }];
      return [{ kind: "fail", error: `the server counted ${sent} events and ${received} arrived, again and again` }];
    }
    const position = positionOf(data.epoch, data.pos);
    if (sent !== null && position !== null) {
      this.progress.agree(position);
      this.miscounts = 0;
    }
    const echo = "timestamp" in data ? { timestamp: data.timestamp } : {};
    return [{ kind: "send", text: JSON.stringify({ type: "pong", data: { ...echo, received } }) }];
  }

  private greeted(data: Data): Effect[] {
    const interval = wholeOf(objectOf(data.ping).interval_ms);
    if (interval) this.silence = SILENCE_FACTOR * interval;
    const retry = objectOf(data.retry);
    const [first, longest] = [wholeOf(retry.min_ms), wholeOf(retry.max_ms)];
    if (first && longest) this.backoff.tune(first, longest);
    if (this.progress.last === null) {
      this.recovered = null;
      return this.askForSnapshot("the beginning");
    }
    this.recovered = true;
    return [this.subscribe(this.progress.last)];
  }

  private subscribe(resume: Position): Effect {
    this.phase = "confirmation";
    this.resuming = true;
    if (this.subscribed) return this.request("resume", { ...resume });
    return this.request("subscribe", { topics: this.topics, where: this.where, resume: { ...resume } });
  }

  private confirmed(data: Data): Effect[] {
    this.subscribed = true;
    if (this.resuming && data.recovered !== true) return this.resynced(String(data.reason));
    this.phase = "live";
    this.snapshots = 0;
    return [{ kind: "live", recovered: this.recovered }];
  }

  private resynced(reason: string): Effect[] {
    if (this.recovered !== null) this.recovered = false;
    return this.askForSnapshot(reason);
  }

  private askForSnapshot(why: string): Effect[] {
    this.snapshots += 1;
    if (this.snapshots > IN_A_ROW) return [{ kind: "leave", code: 4000, reason: "snapshots are outdated at once" }];
    this.phase = "snapshot";
    this.why = why;
    return [this.request("get_snapshot", {})];
  }

  private loaded(data: Data): Effect[] {
    const place = objectOf(data.position);
    const position = positionOf(place.epoch, place.seq);
    if (position === null) return [{ kind: "fail", error: "a snapshot without a position" }];
    this.progress.jump(position);
    const snapshot = {
      projects: listOf(data.projects),
      conversations: listOf(data.conversations),
      truncated: data.truncated === true,
      position,
    } as unknown as Snapshot;
    return [{ kind: "snapshot", snapshot, reason: this.why }, this.subscribe(position)];
  }

  private refused(data: Data): Effect[] {
    const [code, message] = [String(data.code), String(data.message)];
    if (data.retryable === true || PASSING.has(code)) return [{ kind: "leave", code: 4000, reason: message }];
    return [{ kind: "fail", error: `${code}: ${message}` }];
  }

  private request(type: string, data: Data): Effect {
    this.requests += 1;
    return { kind: "send", text: JSON.stringify({ type, id: this.requests, data }) };
  }
}

function parsed(text: string): Data | null {
  try {
    const found: unknown = JSON.parse(text);
    const frame = objectOf(found);
    return typeof frame.type === "string" ? frame : null;
  } catch {
    return null;
  }
}

function eventOf(frame: Data): LogEvent {
  const { type, data, seq, epoch, timestamp } = frame;
  return {
    type: type as string,
    data,
    seq: wholeOf(seq),
    epoch: typeof epoch === "string" ? epoch : null,
    timestamp: wholeOf(timestamp) ?? 0,
  };
}

function objectOf(value: unknown): Data {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Data) : {};
}

function listOf(value: unknown): Data[] {
  return Array.isArray(value) ? value.filter((one) => typeof one === "object" && one !== null) : [];
}

function wholeOf(value: unknown): number | null {
  return Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) : null;
}

function positionOf(epoch: unknown, seq: unknown): Position | null {
  const whole = wholeOf(seq);
  return typeof epoch === "string" && whole !== null ? { epoch, seq: whole } : null;
}
