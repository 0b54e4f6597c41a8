/** What a person has chosen, kept in this browser. */

export type Theme = "auto" | "light" | "dark";
export const EDITORS = { none: "", vscode: "vscode://file", cursor: "cursor://file", windsurf: "windsurf://file", zed: "zed://file" };
export type Editor = keyof typeof EDITORS;

interface Kept {
  theme: Theme;
  editor: Editor;
  notify: boolean;
  budget: number;
  thinking: boolean;
}

const KEY = "observatory.settings";
const FIRST: Kept = { theme: "auto", editor: "vscode", notify: false, budget: 0, thinking: false };

function read(): Kept {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    return { ...FIRST, ...(kept as Partial<Kept>) };
  } catch {
    return { ...FIRST };
  }
}

export const settings = $state<Kept>(read());

export function keep(): void {
  try {
    localStorage.setItem(KEY, JSON.stringify(settings));
  } catch {
    // A browser that keeps nothing: the choice holds until the page is closed.
  }
}

export function applyTheme(): void {
  if (settings.theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = settings.theme;
}

/** The address that opens a file in the editor that was chosen; null: none. Only ever of the editor's own scheme. */
export function inEditor(path: string, line?: number): string | null {
  const scheme = EDITORS[settings.editor];
  if (!scheme || !path.startsWith("/")) return null;
  const encoded = path.split("/").map(encodeURIComponent).join("/");
  return `${scheme}${encoded}${line ? `:${line}` : ""}`;
}
