/** What a call of a tool is about, in a few words. */

const TELLING = ["description", "command", "file_path", "notebook_path", "path", "pattern", "query", "url", "prompt", "skill"];

export function fieldsOf(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}

export function textOf(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

export function about(input: unknown): string {
  const fields = fieldsOf(input);
  const command = textOf(fields.command);
  if (command) return firstLine(command);
  for (const name of TELLING) {
    const text = textOf(fields[name]);
    if (text) return firstLine(text);
  }
  return "";
}

export function firstLine(text: string, most = 300): string {
  const line = text.trimStart().split("\n", 1)[0] ?? "";
  return line.length > most ? `${line.slice(0, most)}…` : line;
}
