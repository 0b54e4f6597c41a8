/** Notifications of the browser: a session has finished, waits, or failed; a day's budget is spent. */

import { api, live } from "./live.svelte.js";
import { toConversation, router, to } from "./router.svelte.js";
import type { Session } from "./sessions.svelte.js";
import { settings } from "./settings.svelte.js";

const BUDGET_EVERY = 60_000; // ms between looks at what was spent
const WORDS: Record<string, string> = { idle: "has finished", waiting: "waits for you", error: "has failed" };

function show(title: string, body: string, tag: string, href: string): void {
  if (!settings.notify || typeof Notification === "undefined" || Notification.permission !== "granted") return;
  const notice = new Notification(title, { body, tag });
  notice.onclick = () => {
    window.focus();
    router.go(href);
    notice.close();
  };
}

/** Returns what ends it. */
export function watchForNews(): () => void {
  const before = new Map<string, string>();
  let told = "";
  const look = (session: Session): void => {
    const was = before.get(session.id);
    const is = session.shown === "completed" ? "idle" : session.shown;
    before.set(session.id, is);
    const words = WORDS[is];
    if (was === undefined || was === is || words === undefined || session.parent_id) return;
    if (is === "idle" && was !== "working") return;
    const title = `${live.sessions.projectName(session.project_id)} ${words}`;
    show(title, session.title ?? "", session.id, toConversation(session.id));
  };
  const end = live.listen((events) => {
    const ids = new Set<string>();
    for (const { data } of events) {
      const { id, conversation_id } = data as { id?: string; conversation_id?: string };
      ids.add(conversation_id ?? id ?? "");
    }
    for (const id of ids) {
      const session = live.sessions.all.get(id);
      if (session !== undefined) look(session);
    }
  }, () => live.sessions.all.forEach(look));
  const timer = setInterval(() => void budget(), BUDGET_EVERY);

  async function budget(): Promise<void> {
    const today = new Intl.DateTimeFormat("sv").format(new Date());
    if (!settings.notify || settings.budget <= 0 || told === today) return;
    const timezone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    const stats = await api
      .get<{ total: { cost_usd?: number } }>("/stats", { group: "day", since: today, timezone })
      .catch(() => null);
    const spent = stats?.total.cost_usd ?? 0;
    if (spent < settings.budget) return;
    told = today;
    show("The budget of today is spent", `$${spent.toFixed(2)} of $${settings.budget}`, "budget", to("/stats"));
  }

  return () => {
    end();
    clearInterval(timer);
  };
}
