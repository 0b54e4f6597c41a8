/** The page's one connection: it follows everything, and hands events on in lots, one a frame of the screen. */

import { Api, ApiError, Follower, type LogEvent, type Standing } from "../../client/index.js";
import { base } from "./router.svelte.js";
import { Sessions } from "./sessions.svelte.js";

const TOPICS = ["all_conversations", "project_updates", "system"];
const HIDDEN_LOT = 500; // ms, while nobody looks: a hidden page is given no frames

export const api = new Api(base);
type Listener = (events: readonly LogEvent[], now: number) => void;

class Live {
  readonly sessions = new Sessions();
  standing = $state.raw<Standing>({ state: "connecting", since: Date.now() });
  /** It was live at some time, so that a loss is one. */
  wasLive = $state(false);
  /** What was known was replaced, because the log did not lead on; when. */
  resynced = $state<number | null>(null);
  needsLogin = $state(false);
  /** A clock for ages on the screen. */
  now = $state(Date.now());
  private waiting: LogEvent[] = [];
  private isDue = false;
  private listeners = new Set<Listener>();
  private reloaders = new Set<() => void>();
  private follower: Follower | null = null;

  start(): void {
    setInterval(() => (this.now = Date.now()), 1000);
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    this.follower = new Follower(
      { url: `${scheme}//${location.host}${base}/ws`, topics: TOPICS, hopeless: () => this.hopeless() },
      {
        event: (event) => this.queue(event),
        snapshot: (snapshot, reason) => {
          this.flush();
          this.sessions.load(snapshot, Date.now());
          if (reason !== "the beginning") this.resynced = Date.now();
          for (const reload of this.reloaders) reload();
        },
        standing: (standing) => {
          this.standing = standing;
          if (standing.state === "live") this.wasLive = true;
        },
      },
    );
    void this.hopeless(); // a server that asks for a token waits for it on the socket: HTTP tells at once
    addEventListener("online", () => this.follower?.retry());
    document.addEventListener("visibilitychange", () => document.hidden || this.flush());
  }

  retry(): void {
    this.needsLogin = false;
    this.follower?.retry();
  }

  /** Be told of events, in lots; and of a snapshot that replaced all. Returns what ends that. */
  listen(listener: Listener, reload: () => void = () => undefined): () => void {
    this.listeners.add(listener);
    this.reloaders.add(reload);
    return () => {
      this.listeners.delete(listener);
      this.reloaders.delete(reload);
    };
  }

  private async hopeless(): Promise<string | null> {
    try {
      await api.get("/projects");
    } catch (error) {
      if (error instanceof ApiError && (error.status === 401 || error.status === 403)) {
        this.needsLogin = error.status === 401;
        return error.message;
      }
    }
    return null;
  }

  private queue(event: LogEvent): void {
    this.waiting.push(event);
    if (this.isDue) return;
    this.isDue = true;
    if (document.hidden) setTimeout(() => this.flush(), HIDDEN_LOT);
    else requestAnimationFrame(() => this.flush());
  }

  private flush(): void {
    this.isDue = false;
    if (this.waiting.length === 0) return;
    const events = this.waiting;
    this.waiting = [];
    const now = Date.now();
    for (const event of events) this.sessions.take(event, now);
    for (const listener of this.listeners) listener(events, now);
  }
}

export const live = new Live();
