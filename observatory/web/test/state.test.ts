import { describe, expect, it } from "vitest";
import { ClientState, type Effect } from "../client/state.js";

const HELLO = {
  type: "connection_established",
  data: { ping: { interval_ms: 1000 }, retry: { min_ms: 100, max_ms: 800 } },
};
const at = (seq: number) => ({ epoch: "e-one-1", seq });
const event = (seq: number, epoch = "e-one-1") => ({ type: "message_added", data: { n: seq }, seq, epoch, timestamp: 1 });

class Server {
  readonly state: ClientState;

  constructor(since: { epoch: string; seq: number } | null = null) {
    this.state = new ClientState(["all_conversations"], null, since, () => 0.5);
    this.state.connect();
  }

  says(frame: object): Effect[] {
    return this.state.receive(JSON.stringify(frame));
  }

  /** The requests among what a frame asks for. */
  asked(frame: object): { type: string; id: number; data: Record<string, unknown> }[] {
    return this.says(frame).flatMap((effect) => (effect.kind === "send" ? [JSON.parse(effect.text)] : []));
  }

  /** Until it is live, at a position. */
  begin(seq: number): void {
    this.says(HELLO);
    this.says({ type: "snapshot", re: 1, data: { projects: [], conversations: [], position: at(seq) } });
    const effects = this.says({ type: "subscription_confirmed", re: 2, data: { recovered: true } });
    expect(effects).toEqual([{ kind: "live", recovered: null }]);
  }

  events(...seqs: number[]): number[] {
    return seqs.flatMap((seq) => this.says(event(seq)).flatMap((one) => (one.kind === "event" ? [one.event.seq!] : [])));
  }
}

describe("a beginning", () => {
  it("loads what there is and follows from there", () => {
    const server = new Server();
    expect(server.asked(HELLO)).toMatchObject([{ type: "get_snapshot", id: 1 }]);
    const position = at(7);
    const effects = server.says({
      type: "snapshot",
      re: 1,
      data: { projects: [{ id: "p" }], conversations: [{ id: "c" }, 5], truncated: false, position },
    });
    expect(effects[0]).toMatchObject({ kind: "snapshot", snapshot: { conversations: [{ id: "c" }], position } });
    expect(JSON.parse((effects[1] as { text: string }).text)).toEqual({
      type: "subscribe",
      id: 2,
      data: { topics: ["all_conversations"], where: null, resume: position },
    });
  });

  it("says nothing before the server has spoken, and ignores what is no frame", () => {
    const server = new Server();
    for (const text of ["", "[]", "null", '{"type":5}', '{"type":"snapshot","re":1,"data":{}}', '{"type":"who_knows"}']) {
      expect(server.state.receive(text)).toEqual([]);
    }
  });
});

describe("a connection that comes back", () => {
  it("resumes behind its last event, and is given no event twice", () => {
    const server = new Server();
    server.begin(7);
    expect(server.events(8, 9)).toEqual([8, 9]);
    expect(server.state.closed(1006, "", 10)).toEqual({ kind: "retry", ms: 125, why: "the connection ended (1006)" });
    server.state.connect();
    expect(server.asked(HELLO)).toMatchObject([{ type: "subscribe", data: { resume: at(9) } }]);
    expect(server.says({ type: "subscription_confirmed", re: 1, data: { recovered: true } })).toEqual([
      { kind: "live", recovered: true },
    ]);
    expect(server.events(8, 9, 10)).toEqual([10]);
  });

  it("loads anew when the log does not lead on, and says so", () => {
    const server = new Server(at(7));
    server.says(HELLO);
    const refused = { type: "subscription_confirmed", re: 1, data: { recovered: false, reason: "too_old" } };
    expect(server.asked(refused)).toMatchObject([{ type: "get_snapshot", id: 2 }]);
    const effects = server.says({ type: "snapshot", re: 2, data: { position: at(90) } });
    expect(effects[0]).toMatchObject({ kind: "snapshot", reason: "too_old" });
    expect(JSON.parse((effects[1] as { text: string }).text)).toMatchObject({ type: "resume", data: at(90) });
    expect(server.says({ type: "subscription_confirmed", re: 3, data: { recovered: true } })).toEqual([
      { kind: "live", recovered: false },
    ]);
  });

  it("loads anew after a resync", () => {
    const server = new Server();
    server.begin(7);
    expect(server.asked({ type: "resync", data: { reason: "gap" } })).toMatchObject([{ type: "get_snapshot" }]);
  });

  it("gives up loading a snapshot that is outdated at once, and comes back", () => {
    const server = new Server(at(7));
    server.says(HELLO);
    for (let re = 1; re < 7; re += 2) {
      server.says({ type: "subscription_confirmed", re, data: { recovered: false, reason: "too_old" } });
      server.says({ type: "snapshot", re: re + 1, data: { position: at(90) } });
    }
    expect(server.says({ type: "subscription_confirmed", re: 7, data: { recovered: false } })).toMatchObject([
      { kind: "leave" },
    ]);
  });
});

describe("the proof that nothing is missing", () => {
  it("is a count that both sides agree on", () => {
    const server = new Server();
    server.begin(7);
    server.events(8, 11);
    const [pong] = server.asked({ type: "ping", data: { timestamp: 5, epoch: "e-one-1", pos: 20, sent: 2 } });
    expect(pong).toEqual({ type: "pong", data: { timestamp: 5, received: 2 } });
    expect(server.state.progress.last).toEqual(at(20));
  });

  it("a wrong count goes back to the last agreement, and repeats nothing that was handed on", () => {
    const server = new Server();
    server.begin(7);
    server.events(8, 10);
    const effects = server.says({ type: "ping", data: { epoch: "e-one-1", pos: 10, sent: 3 } });
    expect(effects).toEqual([{ kind: "leave", code: 4000, reason: "count mismatch" }]);
    server.state.connect();
    expect(server.asked(HELLO)).toMatchObject([{ data: { resume: at(7) } }]);
    server.says({ type: "subscription_confirmed", re: 1, data: { recovered: true } });
    expect(server.events(8, 9, 10, 11)).toEqual([9, 11]);
  });

  it("a count that stays wrong ends it", () => {
    const server = new Server();
    server.begin(7);
    const kinds = [1, 2, 3].map((sent) => {
      const [effect] = server.says({ type: "ping", data: { epoch: "e-one-1", pos: 10, sent } });
      server.state.connect();
      return effect?.kind;
    });
    expect(kinds).toEqual(["leave", "leave", "fail"]);
  });

  it("an event of another epoch is news, whatever its number", () => {
    const server = new Server();
    server.begin(7);
    const [effect] = server.says(event(1, "another1"));
    expect(effect).toMatchObject({ kind: "event", event: { seq: 1, epoch: "another1" } });
  });
});

describe("when to come back", () => {
  it("is what the server drew, when it goes down in order", () => {
    const server = new Server();
    server.begin(7);
    server.says({ type: "server_shutdown", data: { reason: "restart", reconnect_after_ms: 2713 } });
    expect(server.state.closed(1012, "restart", 5)).toEqual({ kind: "retry", ms: 2713, why: "restart" });
  });

  it("is drawn from a limit that doubles, and begins anew after a connection that lasted", () => {
    const server = new Server();
    server.says(HELLO);
    const waits = [1, 1, 1, 1, 1, 5000].map((lived) => {
      const verdict = server.state.closed(1006, "", lived);
      return verdict.kind === "retry" ? verdict.ms : null;
    });
    expect(waits).toEqual([125, 250, 400, 400, 400, 50]);
  });

  it.each([
    [1013, 5000],
    [4013, 10_000],
  ])("after %i not before %i ms", (code, ms) => {
    expect(new Server().state.closed(code, "", 0)).toMatchObject({ kind: "retry", ms });
  });

  it.each([1002, 1003, 1007, 1009, 4500, 4503, 4509])("never after %i", (code) => {
    expect(new Server().state.closed(code, "why", 0)).toEqual({ kind: "end", why: "why" });
  });

  it("an error that passes is met by a new connection, any other ends it", () => {
    for (const [data, kind] of [
      [{ code: "NOT_AVAILABLE", message: "m", retryable: true }, "leave"],
      [{ code: "RATE_LIMIT_EXCEEDED", message: "m", retryable: false }, "leave"],
      [{ code: "INVALID_TOPIC", message: "m", retryable: false }, "fail"],
    ] as const) {
      const server = new Server();
      server.says(HELLO);
      expect(server.says({ type: "error", re: 1, data })).toMatchObject([{ kind }]);
    }
  });
});
