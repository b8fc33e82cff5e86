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

/* The last word, or the last three Chinese characters, before a citation: they stay on one line with it. */
const LAST_WORD = /(?:[\u3000-\u9fff\uff00-\uffef]{1,3}|[^\s\u3000-\u9fff\uff00-\uffef]{1,24})$/;

function inline(text, cite, links) {
  const parts = cite ? text.split(CITATION) : [text];
  const nodes = [];
  for (let index = 0; index < parts.length; index += 2) {
    let words = parts[index];
    const mark = index + 1 < parts.length ? cite(Number(parts[index + 1])) : null;
    if (mark) {
      const last = LAST_WORD.exec(words.trimEnd())?.[0] ?? "";
      words = words.trimEnd().slice(0, words.trimEnd().length - last.length);
      nodes.push(words, h("span", { class: "together" }, last, mark));
    } else {
      const brackets = index + 1 < parts.length ? `[${parts[index + 1]}]` : "";
      nodes.push(...(links ? linked(words + brackets) : [words + brackets]));
    }
  }
  return nodes;
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

/** What a citation is called: the heading within a document, and the document's title. */
export function sourceName({ title = "", passage_id = "" }) {
  const at = passage_id.indexOf("#");
  const heading = at < 0 ? "" : passage_id.slice(at + 1);
  if (!heading || title === heading) return { heading: title, title: "" };
  return { heading, title: title.endsWith(heading) ? title.slice(0, -heading.length).replace(/[\s:：·>›]+$/, "") : title };
}

/** Citations by their number: one source, perhaps with several quotes. */
export function sources(citations) {
  const found = new Map();
  for (const { quote, ...citation } of citations) {
    const source = found.get(citation.n) ?? { ...citation, quotes: [] };
    if (quote && !source.quotes.includes(quote)) source.quotes.push(quote);
    found.set(citation.n, source);
  }
  return [...found.values()];
}
