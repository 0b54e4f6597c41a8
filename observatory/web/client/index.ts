/** A client of Observatory for browsers and Node: follow the log, ask the API. The dashboard uses nothing else. */

export * from "./wire.js";
export { Backoff, delayAfter, isFinal } from "./backoff.js";
export { ClientState, type Effect, type Verdict } from "./state.js";
export { Follower, type Handlers, type Options, type Socket, type Standing } from "./follow.js";
export * from "./http.js";
