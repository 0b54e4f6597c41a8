/** Whether, and when, a client connects again (docs/protocol.md, Close codes). Times in milliseconds. */

const LONGEST_SANE = 3_600_000; // a number from the network may be nonsense
const FINAL = new Set([1002, 1003, 1007, 1009]);
const NOT_BEFORE = new Map([
  [1013, 5000],
  [4013, 10_000],
]);

/** Full jitter: each delay is drawn from [0, limit], the first one too, and the limit doubles. */
export class Backoff {
  private limit: number;

  constructor(
    private readonly random: () => number,
    private first = 250,
    private longest = 30_000,
  ) {
    this.limit = first;
  }

  /** Take the values of the server's first frame. */
  tune(first: number, longest: number): void {
    this.first = first;
    this.longest = Math.max(first, longest);
  }

  draw(): number {
    const limit = Math.min(Math.max(this.limit, this.first), this.longest);
    this.limit = Math.min(limit * 2, this.longest);
    return this.random() * limit;
  }

  /** A connection ended after so long; one that outlived the limit proves the server well again. */
  lasted(ms: number): void {
    if (ms >= this.limit) this.limit = this.first;
  }
}

/** Whether a close code means: do not come back as you are. */
export function isFinal(code: number): boolean {
  return FINAL.has(code) || (code >= 4500 && code <= 4999);
}

/** How long to wait after a close; `shutdown`: the `reconnect_after_ms` that announced it. */
export function delayAfter(code: number, backoff: Backoff, shutdown: number | null): number {
  if (shutdown !== null) return Math.min(shutdown, LONGEST_SANE);
  return Math.max(backoff.draw(), NOT_BEFORE.get(code) ?? 0);
}
