import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Follower, type Options, type Socket, type Standing } from "../client/follow.js";

class FakeSocket implements Socket {
  onmessage: Socket["onmessage"] = null;
  onclose: Socket["onclose"] = null;
  sent: { type: string; data: Record<string, unknown> }[] = [];
  closed: [number | undefined, string | undefined] | null = null;

  send(text: string): void {
    this.sent.push(JSON.parse(text));
  }

  close(code?: number, reason?: string): void {
    this.closed = [code, reason];
  }

  says(frame: object): void {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }

  begins(seq: number): void {
    this.says({ type: "connection_established", data: { ping: { interval_ms: 1000 }, retry: { min_ms: 100, max_ms: 800 } } });
    this.says({ type: "snapshot", re: 1, data: { position: { epoch: "e-one-1", seq } } });
    this.says({ type: "subscription_confirmed", re: 2, data: { recovered: true } });
  }
}

function follow(options: Partial<Options> = {}) {
  const sockets: FakeSocket[] = [];
  const states: Standing[] = [];
  const events: number[] = [];
  const snapshots: string[] = [];
  const open = () => {
    sockets.push(new FakeSocket());
    return sockets.at(-1)!;
  };
  const follower = new Follower(
    { url: "ws://test/ws", topics: ["all_conversations"], random: () => 0.5, open, ...options },
    {
      event: (event) => events.push(event.seq!),
      snapshot: (_, reason) => snapshots.push(reason),
      standing: (standing) => states.push(standing),
    },
  );
  return { follower, sockets, states, events, snapshots };
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("a follower", () => {
  it("tells how it stands, and comes back after its wait", () => {
    const { sockets, states, snapshots } = follow();
    sockets[0]!.begins(5);
    sockets[0]!.onclose?.({ code: 1006, reason: "" });
    expect(states.map((one) => one.state)).toEqual(["live", "waiting"]);
    vi.advanceTimersByTime(124);
    expect(sockets).toHaveLength(1);
    vi.advanceTimersByTime(1);
    expect(sockets).toHaveLength(2);
    expect(snapshots).toEqual(["the beginning"]);
  });

  it("leaves a connection that is silent for too long, though no close comes", () => {
    const { sockets, states } = follow();
    sockets[0]!.begins(5);
    vi.advanceTimersByTime(1499);
    expect(sockets[0]!.closed).toBeNull();
    vi.advanceTimersByTime(1);
    expect(sockets[0]!.closed).toEqual([4000, "no sign of life"]);
    expect(states.at(-1)).toMatchObject({ state: "waiting", why: "the server has not been heard of" });
  });

  it("hears nothing more of a connection that it left", () => {
    const { sockets, events } = follow();
    sockets[0]!.begins(5);
    vi.advanceTimersByTime(1500);
    sockets[0]!.says({ type: "message_added", data: {}, seq: 6, epoch: "e-one-1" });
    sockets[0]!.onclose?.({ code: 1006, reason: "" });
    expect(events).toEqual([]);
    vi.advanceTimersByTime(1000);
    expect(sockets).toHaveLength(2);
  });

  it("does not come back when that is of no use, and does when it is told to", async () => {
    const { follower, sockets, states } = follow({ hopeless: () => Promise.resolve("log in") });
    sockets[0]!.onclose?.({ code: 1006, reason: "" });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(states.at(-1)).toMatchObject({ state: "ended", why: "log in" });
    expect(sockets).toHaveLength(1);
    follower.retry();
    expect(sockets).toHaveLength(2);
  });

  it("goes on trying when it cannot even ask why", async () => {
    const { sockets } = follow({ hopeless: () => Promise.reject(new Error("unreachable")) });
    sockets[0]!.onclose?.({ code: 1006, reason: "" });
    await vi.advanceTimersByTimeAsync(200);
    expect(sockets).toHaveLength(2);
  });

  it("tries at once on request, and only once", () => {
    const { follower, sockets } = follow();
    sockets[0]!.onclose?.({ code: 1006, reason: "" });
    follower.retry();
    vi.advanceTimersByTime(10_000);
    expect(sockets).toHaveLength(2);
  });

  it("is over when it is stopped", () => {
    const { follower, sockets } = follow();
    sockets[0]!.begins(5);
    follower.stop();
    expect(sockets[0]!.closed).toEqual([1000, ""]);
    vi.advanceTimersByTime(100_000);
    expect(sockets).toHaveLength(1);
  });
});
