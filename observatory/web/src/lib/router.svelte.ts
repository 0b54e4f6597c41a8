/** Where the page is: a path below the server's public one, and a query. Deep links, back and forward. */

export const base = document.body.dataset.base ?? "";

interface Place {
  path: string;
  query: URLSearchParams;
}

function here(): Place {
  const path = location.pathname.startsWith(base) ? location.pathname.slice(base.length) : location.pathname;
  return { path: path || "/", query: new URLSearchParams(location.search) };
}

class Router {
  place = $state.raw<Place>(here());

  constructor() {
    addEventListener("popstate", () => (this.place = here()));
  }

  go(href: string, replace = false): void {
    if (replace) history.replaceState(null, "", href);
    else history.pushState(null, "", href);
    this.place = here();
  }

  /** Follow links of ours without loading the page anew. */
  follow = (event: MouseEvent): void => {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey)
      return;
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    if (!link || link.target || link.origin !== location.origin || !("internal" in link.dataset)) return;
    event.preventDefault();
    this.go(link.href);
  };
}

export const router = new Router();

/** The address of a view. */
export function to(path: string, query: Record<string, string | null | undefined> = {}): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value) parameters.set(name, value);
  const asked = parameters.toString();
  return `${base}${path}${asked && `?${asked}`}`;
}

export const toConversation = (id: string, record?: string | null): string =>
  to(`/c/${encodeURIComponent(id)}`, { r: record });
