/* Text of shoppers, human agents and the bot as elements: paragraphs, "- " lists, citations. Never HTML. */

import { h } from "./dom.js";

const CITATION = /\[(\d{1,2})\]/;
const ADDRESS = /(https?:\/\/[^\s<>"'，。；、）】]+[^\s<>"'，。；、）】.,;:!?)\]])/;

/**
 * Paragraphs and lists.
 * `cite(n)` gives the element that stands for "[n]", or nothing, and then the brackets stay text.
 * `links` turns web addresses into links: for what human agents write, not for the bot.
 */
export function blocks(text, { cite, links = false } = {}) {
  const fragment = document.createDocumentFragment();
  let open = null;
  for (const line of text.split("\n").map((raw) => raw.trim())) {
    const bullet = /^[-•*]\s+(.*)$/.exec(line);
    if (!line) {
      open = null;
    } else if (bullet) {
      if (open?.tagName !== "UL") fragment.append((open = h("ul")));
      open.append(h("li", {}, ...inline(bullet[1], cite, links)));
    } else if (open?.tagName === "P") {
      open.append(h("br"), ...inline(line, cite, links));
    } else {
      fragment.append((open = h("p", {}, ...inline(line, cite, links))));
    }
  }
  return fragment;
}

function inline(text, cite, links) {
  const parts = cite ? text.split(CITATION) : [text];
  return parts.flatMap((part, index) => {
    if (index % 2 === 1) return [cite(Number(part)) ?? `[${part}]`];
    return links ? linked(part) : [part];
  });
}

function linked(text) {
  return text.split(ADDRESS).map((part, index) =>
    index % 2 === 0 ? part : h("a", { href: part, target: "_blank", rel: "noopener noreferrer" }, part));
}

/** The address of a source if it is one that may be opened: http and https only. */
export function safeUrl(url) {
  try {
    const address = new URL(url, document.baseURI);
    return ["http:", "https:"].includes(address.protocol) ? address.href : null;
  } catch {
    return null;
  }
}

/** What a citation is called: the document's title, and the heading within it. */
export function sourceName(citation) {
  const heading = citation.passage_id?.includes("#") ? citation.passage_id.split("#").slice(1).join("#") : "";
  return { title: citation.title, heading: heading === citation.title ? "" : heading };
}
