/** How far a client has come: its resume position, and the proof that nothing is missing before it. */

import type { Position } from "./wire.js";

const SEEN_LIMIT = 1_000_000; // seqs remembered since the last agreement; a ping every 25 s forgets them

/**
 * `last` is the resume position, `agreed` the last one at which the server's count equalled ours. Every event in
 * (agreed, last] that was handed on is in `seen`, so that going back after a wrong count repeats nothing.
 */
export class Progress {
  last: Position | null;
  agreed: Position | null;
  received = 0;
  private seen = new Set<number>();

  constructor(last: Position | null = null) {
    this.last = this.agreed = last;
  }

  /** A new connection counts from zero. */
  connect(): void {
    this.received = 0;
  }

  /** Count an event frame; whether it is news. */
  take(epoch: string, seq: number): boolean {
    this.received += 1;
    if (this.last?.epoch === epoch && seq <= this.last.seq) return false;
    if (this.last !== null && this.last.epoch !== epoch) this.seen.clear();
    this.last = { epoch, seq };
    if (this.seen.has(seq)) return false;
    this.seen.add(seq);
    if (this.seen.size > SEEN_LIMIT) this.forgetHalf();
    return true;
  }

  /** A ping with our count: everything up to its position has arrived, also seqs that did not match. */
  agree(position: Position): void {
    if (this.last?.epoch !== position.epoch || this.last.seq < position.seq) this.last = position;
    this.agreed = this.last;
    this.seen.clear();
  }

  /** Stand at a position that replaces the past: a snapshot's, or the head. */
  jump(position: Position): void {
    this.last = this.agreed = position;
    this.seen.clear();
  }

  /** Go back to the last agreement: the next connection resumes there, and what was handed on is not repeated. */
  rewind(): void {
    this.last = this.agreed;
  }

  private forgetHalf(): void {
    let count = SEEN_LIMIT / 2;
    for (const seq of this.seen) {
      if (count-- <= 0) break;
      this.seen.delete(seq);
    }
  }
}
