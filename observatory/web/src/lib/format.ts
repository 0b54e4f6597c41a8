/** Figures and times as a person reads them, in the browser's language and time zone. */

const whole = new Intl.NumberFormat();
const compact = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const day = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric", month: "short" });

export const count = (value: number): string => whole.format(value);
export const brief = (value: number): string => (value < 1000 ? whole.format(Math.round(value)) : compact.format(value));

/** A moment, or "" where it is none. */
function at(formatter: Intl.DateTimeFormat, time: string | number | null | undefined): string {
  const ms = typeof time === "string" ? Date.parse(time) : (time ?? NaN);
  return Number.isFinite(ms) ? formatter.format(ms) : "";
}
export const timeOf = (time: string | number | null | undefined): string => at(clock, time);
export const momentOf = (time: string | number | null | undefined): string => at(full, time);
export const dayOf = (time: string | number | null | undefined): string => at(day, time);

export function duration(ms: number): string {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  const seconds = ms / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 129_600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} d`;
}

export const age = (ms: number): string => (ms < 2000 ? "now" : `${duration(ms)} ago`);

export function bytes(size: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? size : size.toFixed(1)} ${units[unit]}`;
}

export const usd = (value: number): string => `$${value.toFixed(value < 10 ? 2 : value < 1000 ? 1 : 0)}`;

/** A shell word. */
export function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** What stands between two paths of the same project is shown from the project on. */
export function shortPath(path: string, cwd: string | null | undefined): string {
  return cwd && path.startsWith(`${cwd}/`) ? path.slice(cwd.length + 1) : path;
}
