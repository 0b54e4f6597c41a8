/** A connection that comes back: follows the log through cuts, restarts and drains, and says how it stands. */

import { ClientState, type Effect, type Verdict } from "./state.js";
import type { LogEvent, Position, Snapshot } from "./wire.js";

/** How a follower stands; `since`: from when on (ms), `retryAt`: when it tries again. */
export type Standing =
  | { state: "connecting"; since: number }
  | { state: "live"; since: number; recovered: boolean | null }
  | { state: "waiting"; since: number; retryAt: number; why: string }
  | { state: "ended"; since: number; why: string };

export interface Handlers {
  /** An event that was asked for; each once, in order. */
  event(event: LogEvent): void;
  /** What there is, in place of all that was known: at the beginning, and when the log does not lead on. */
  snapshot(snapshot: Snapshot, reason: string): void;
  standing?(standing: Standing): void;
}

/** The part of a browser's WebSocket that is used. */
export interface Socket {
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number; reason: string }) => void) | null;
  send(text: string): void;
  close(code?: number, reason?: string): void;
}

export interface Options {
  url: string;
  topics: readonly string[];
  where?: unknown;
  since?: Position | null;
  open?: (url: string, protocols: string[]) => Socket;
  random?: () => number;
  now?: () => number;
  /** Asked when a connection came to nothing: why it is of no use to go on; null: it may be. */
  hopeless?: () => Promise<string | null>;
}

const PROTOCOL = "observatory.v1";

export class Follower {
  standing: Standing;
  private readonly state: ClientState;
  private socket: Socket | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private silence: ReturnType<typeof setTimeout> | undefined;
  private opened = 0;
  private met = false;
  private isStopped = false;
  private readonly now: () => number;

  constructor(
    private readonly options: Options,
    private readonly handlers: Handlers,
  ) {
    this.now = options.now ?? Date.now;
    this.state = new ClientState(options.topics, options.where ?? null, options.since ?? null, options.random);
    this.standing = { state: "connecting", since: this.now() };
    this.connect();
  }

  /** Where it has come to; give it as `since` to go on from there. */
  get position(): Position | null {
    return this.state.progress.last;
  }

  /** Unless it is live, connect anew, at once. */
  retry(): void {
    if (this.standing.state === "live" || this.isStopped) return;
    clearTimeout(this.timer);
    this.drop(4000, "anew");
    this.connect();
  }

  /** For good. */
  stop(): void {
    this.isStopped = true;
    clearTimeout(this.timer);
    this.drop(1000, "");
  }

  private connect(): void {
    if (this.standing.state !== "connecting") this.stand({ state: "connecting", since: this.now() });
    this.state.connect();
    this.opened = this.now();
    this.met = false;
    const socket = (this.options.open ?? openSocket)(this.options.url, [PROTOCOL]);
    this.socket = socket;
    socket.onmessage = ({ data }) => {
      if (this.socket !== socket || typeof data !== "string") return;
      this.met = true;
      this.listen();
      for (const effect of this.state.receive(data)) this.carryOut(effect);
    };
    socket.onclose = ({ code, reason }) => {
      if (this.socket === socket) this.lost(code, reason);
    };
    this.listen();
  }

  /** What is silent for too long is gone, though no close ever comes: a laptop that slept, a network that went. */
  private listen(): void {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => {
      this.drop(4000, "no sign of life");
      this.lost(1006, "the server has not been heard of");
    }, this.state.silence);
  }

  private carryOut(effect: Effect): void {
    switch (effect.kind) {
      case "send":
        this.socket?.send(effect.text);
        break;
      case "event":
        this.handlers.event(effect.event);
        break;
      case "snapshot":
        this.handlers.snapshot(effect.snapshot, effect.reason);
        break;
      case "live":
        this.stand({ state: "live", since: this.now(), recovered: effect.recovered });
        break;
      case "leave":
        this.drop(effect.code, effect.reason);
        this.lost(1006, effect.reason);
        break;
      case "fail":
        this.drop(1000, "");
        this.stand({ state: "ended", since: this.now(), why: effect.error });
        break;
    }
  }

  private drop(code: number, reason: string): void {
    const { socket } = this;
    this.socket = null;
    clearTimeout(this.silence);
    socket?.close(code, reason);
  }

  private lost(code: number, reason: string): void {
    this.socket = null;
    clearTimeout(this.silence);
    if (this.isStopped) return;
    const verdict = this.state.closed(code, reason, this.now() - this.opened);
    if (!this.met && this.options.hopeless !== undefined) void this.ask(this.options.hopeless, verdict);
    else this.obey(verdict);
  }

  /** A browser does not tell why an upgrade was refused; HTTP does. */
  private async ask(hopeless: () => Promise<string | null>, verdict: Verdict): Promise<void> {
    const why = await hopeless().catch(() => null);
    if (!this.isStopped && this.socket === null) this.obey(why === null ? verdict : { kind: "end", why });
  }

  private obey(verdict: Verdict): void {
    if (verdict.kind === "end") {
      this.stand({ state: "ended", since: this.now(), why: verdict.why });
      return;
    }
    this.stand({ state: "waiting", since: this.now(), retryAt: this.now() + verdict.ms, why: verdict.why });
    this.timer = setTimeout(() => this.connect(), verdict.ms);
  }

  private stand(standing: Standing): void {
    this.standing = standing;
    this.handlers.standing?.(standing);
  }
}

function openSocket(url: string, protocols: string[]): Socket {
  return new WebSocket(url, protocols) as unknown as Socket;
}
