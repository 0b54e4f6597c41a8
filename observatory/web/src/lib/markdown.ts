/** Markdown of transcripts as nodes of the page. What is in it is hostile: it may format, and nothing else. */

import DOMPurify from "dompurify";
import { Marked } from "marked";

const LONGEST = 200_000; // characters; more is shown as plain text
const TAGS = [
  ..."p br hr em strong del code pre blockquote ul ol li h1 h2 h3 h4 h5 h6".split(" "),
  ..."table thead tbody tr th td a input".split(" "),
];
const marked = new Marked({ gfm: true, breaks: false });
// HTML in Markdown is shown as the text it is; a picture would be loaded from elsewhere, so it becomes a link.
marked.use({
  renderer: {
    html: ({ text }) => escaped(text),
    image: ({ href, text }) => `<a href="${escaped(href)}">${escaped(text || href)}</a>`,
  },
});
const purify = DOMPurify(window);
purify.addHook("afterSanitizeAttributes", (node) => {
  if (node.tagName !== "A") return;
  node.setAttribute("rel", "noopener noreferrer nofollow");
  node.setAttribute("target", "_blank");
  node.setAttribute("title", node.getAttribute("href") ?? "");
});

function escaped(text: string): string {
  const names: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
  return text.replace(/[&<>"']/g, (char) => names[char] ?? char);
}

/** The nodes of a text. */
export function nodesOf(text: string): Node {
  if (text.length > LONGEST) return document.createTextNode(text);
  const html = marked.parse(text, { async: false });
  return purify.sanitize(html, {
    ALLOWED_TAGS: TAGS,
    ALLOWED_ATTR: ["href", "align", "start", "type", "checked", "disabled"],
    ALLOWED_URI_REGEXP: /^(?:https?:|mailto:|#)/i,
    RETURN_DOM_FRAGMENT: true,
  });
}

/** For `use:markdown={text}`. */
export function markdown(node: HTMLElement, text: string): { update(text: string): void } {
  const show = (shown: string): void => node.replaceChildren(nodesOf(shown));
  show(text);
  return { update: show };
}
