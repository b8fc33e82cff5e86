/* One conversation on the desk: messages with their mood, answers with their sources. */

import { clock, h } from "./dom.js";
import { blocks, safeUrl, sourceName, sources } from "./text.js";

export class Thread {
  /** act: { retry(item) } */
  constructor(words, locale, act) {
    Object.assign(this, { words, locale, act });
    this.node = h("div", { class: "thread", role: "log", tabindex: "0", "aria-label": words.conversation, "data-testid": "conversation" });
    this.nodes = new Map();
    this.node.addEventListener("scroll", () => (this.following = this.node.scrollHeight - this.node.scrollTop - this.node.clientHeight < 60));
    this.following = true;
  }

  /** Show these items: what is drawn already stays, so that an opened source stays open. */
  show(items, typing) {
    const kept = new Map();
    let last = null;
    for (const item of items) {
      const look = JSON.stringify(item);
      const known = this.nodes.get(item);
      const entry = known?.look === look ? known : { look, node: this.render(item) };
      kept.set(item, entry);
      if (known && known !== entry) known.node.replaceWith(entry.node);
      if (entry.node.previousSibling !== last || !entry.node.parentNode) (last ? last.after(entry.node) : this.node.prepend(entry.node));
      last = entry.node;
    }
    for (const [item, { node }] of this.nodes) if (!kept.has(item)) node.remove();
    this.nodes = kept;
    this.line?.remove();
    this.line = typing ? h("p", { class: "typing" }, this.words.typing) : null;
    if (this.line) this.node.append(this.line);
    if (this.following) this.node.scrollTop = this.node.scrollHeight;
  }

  render(item) {
    const w = this.words;
    if (item.kind === "system") return h("p", { class: "system" }, item.score ? w.rated(item.score) : item.text);
    const who = { shopper: w.shopper, bot: w.bot, human: item.author + (item.mine ? ` (${w.you})` : "") }[item.role];
    return h("article", { class: `message ${item.role} ${item.state ?? ""}`, "data-role": item.role },
      h("header", {}, h("b", {}, who), h("time", { datetime: item.ts }, clock(item.ts, this.locale)), this.mood(item),
        item.outcome && w.outcomes[item.outcome] && h("span", { class: "chip" }, w.outcomes[item.outcome])),
      h("div", { class: "bubble" }, item.text.trim()
        ? blocks(item.text, { cite: item.role === "bot" ? (n) => this.cite(item, n) : undefined, links: item.role === "human" })
        : h("p", { class: "empty" }, w.noText)),
      item.citations?.length > 0 && h("div", { class: "sources" }, sources(item.citations).map((source) => this.source(source))),
      item.rating && h("p", { class: "rating" }, item.rating === "up" ? `👍 ${w.up}` : `👎 ${w.down}`),
      item.state === "sending" && h("p", { class: "state" }, w.sending),
      item.state === "failed" && h("p", { class: "state bad", role: "alert" }, w.failed, " ",
        h("button", { type: "button", class: "link", onclick: () => this.act.retry(item) }, w.retry)));
  }

  /** Calm needs no mark. */
  mood({ mood }) {
    if (!mood) return null;
    const [name, value] = Object.entries(mood).reduce((best, next) => (next[1] > best[1] ? next : best));
    return name === "calm" ? null : h("span", { class: `chip ${name}` }, `${this.words.moods[name]} ${Math.round(value * 100)} %`);
  }

  cite(item, n) {
    if (!item.citations.some((citation) => citation.n === n)) return null;
    return h("button", {
      type: "button", class: "cite", "data-testid": "citation",
      onclick: (event) => {
        const details = event.target.closest("article").querySelector(`details[data-n="${n}"]`);
        details.open = !details.open;
      },
    }, String(n));
  }

  source(source) {
    const { heading, title } = sourceName(source);
    const url = source.url && safeUrl(source.url);
    return h("details", { "data-n": source.n, "data-testid": "source" },
      h("summary", {}, h("b", {}, String(source.n)), h("span", {}, heading, title && h("small", {}, ` · ${title}`))),
      h("blockquote", {}, blocks(source.quotes.join("\n"))),
      url && h("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, url));
  }
}
