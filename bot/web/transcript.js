/* The messages of a conversation as elements. Keeps one element an item, and tells screen readers only of whole, new ones. */

import { clock, h, icon } from "./dom.js";
import { blocks, sourceName, sources } from "./text.js";

const QUIET_MS = 10 * 60_000; // A time is shown after this long without a message.

export class Transcript {
  /**
   * act: { retry(item), discard(item), rate(item, rating), score(item, score), ask(text), source(citation, button), stop() }
   */
  constructor(words, locale, act) {
    Object.assign(this, { words, locale, act });
    this.nodes = new Map();
    this.log = h("div", { class: "log", role: "log", "aria-label": words.log, "aria-live": "polite", "data-testid": "log" });
    this.draft = h("div", { class: "draft", "aria-hidden": "true" });
    this.node = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": words.log }, this.log, this.draft);
    this.node.addEventListener("scroll", () => (this.following = this.atEnd()));
    this.following = true;
    this.lastTs = 0;
  }

  /** Draw everything anew, without announcing it. */
  reset(items, hello) {
    this.nodes.clear();
    this.lastTs = 0;
    this.log.replaceChildren();
    if (hello) this.log.append(this.hello(hello));
    for (const item of items) this.add(item, { news: false });
    this.follow(true);
  }

  /** `next`: the item before which it stands. What is no news is drawn, but not announced; nor is one's own message. */
  add(item, { next = null, news = true } = {}) {
    const node = this.render(item);
    if (news) node.classList.add("fresh");
    if (!news || item.role === "shopper") node.setAttribute("aria-live", "off");
    this.nodes.set(item, node);
    if (this.nodes.has(next)) this.nodes.get(next).before(node);
    else this.log.append(node);
    this.follow(item.state === "sending");
  }

  update(item) {
    const old = this.nodes.get(item);
    if (!old) return;
    const kept = old.contains(old.getRootNode().activeElement) ? old.getRootNode().activeElement.dataset.keep : null;
    const node = this.render(item, true);
    node.setAttribute("aria-live", "off");
    this.nodes.set(item, node);
    old.replaceWith(node);
    if (kept) node.querySelector(`[data-keep="${kept}"]`)?.focus();
    this.follow(false);
  }

  render(item, again = false) {
    switch (item.kind) {
      case "system":
        return item.stopped ? this.stopped(item) : h("p", { class: "system" }, item.text);
      case "csat":
        return this.csat(item);
      default:
        return this.message(item, again);
    }
  }

  hello({ text, starters, choose }) {
    return h("div", { class: "hello" },
      h("div", { class: "message bot" }, h("div", { class: "bubble" }, blocks(text))),
      h("div", { class: "starters" }, starters.map((starter) =>
        h("button", { type: "button", class: "starter", "data-testid": "starter", onclick: () => choose(starter) }, starter))));
  }

  /** An answer without a word: its question may be asked again. */
  stopped({ question }) {
    return h("div", { class: "system" }, this.words.stopped, question && h("button", {
      type: "button", class: "starter", "data-testid": "ask-again", onclick: () => this.act.ask(question),
    }, h("span", { class: "clamped" }, this.words.askAgain(question))));
  }

  message(item, again) {
    const w = this.words;
    const who = { shopper: w.you, bot: w.bot, human: item.author }[item.role];
    const bubble = h("div", { class: "bubble" },
      h("span", { class: "unseen" }, w.from(who)),
      blocks(item.text, { cite: item.role === "bot" ? (n) => this.cite(item, n) : undefined, links: item.role === "human" }));
    const node = h("div", {
      class: ["message", item.role, item.state ?? ""].join(" "), "data-role": item.role, "data-message-id": item.id,
      "data-testid": "message",
    });
    if (item.role === "human") node.append(h("span", { class: "author" }, h("i", { "aria-hidden": "true" }, initial(item.author)), item.author));
    node.append(bubble);
    if (item.role === "bot") node.append(this.foot(item));
    else if (item.state) node.append(this.state(item));
    return this.dated(node, item, again);
  }

  dated(node, item, again) {
    const ts = Date.parse(item.ts);
    if (again || !(ts - this.lastTs > QUIET_MS)) {
      if (!again) this.lastTs = Math.max(this.lastTs, ts || 0);
      return node;
    }
    this.lastTs = ts;
    this.log.append(h("time", { class: "time", datetime: item.ts }, clock(item.ts, this.locale)));
    return node;
  }

  cite(item, n) {
    const source = sources(item.citations).find((other) => other.n === n);
    return source && this.sourceButton(source, "cite", "citation", String(n));
  }

  sourceButton(source, look, test, ...children) {
    return h("button", {
      type: "button", class: look, "data-testid": test, "aria-haspopup": "dialog",
      "aria-label": this.words.source(source.n, sourceName(source).heading),
      onclick: (event) => this.act.source(source, event.currentTarget),
    }, ...children);
  }

  /** Under an answer: its sources by name, how it ended if not as usual, and the thumbs. */
  foot(item) {
    const w = this.words;
    const mark = { quoted: w.quoted, truncated: w.truncated }[item.outcome];
    const thumb = (rating, label, drawing) => h("button", {
      type: "button", class: "thumb", "aria-label": label, title: label, "aria-pressed": String(item.rating === rating),
      "data-keep": rating, "data-testid": `feedback-${rating}`, onclick: () => this.act.rate(item, rating),
    }, icon(drawing));
    const chips = sources(item.citations).map((source) => this.sourceButton(
      source, "sourcechip", "source-chip", h("b", {}, String(source.n)), h("span", {}, sourceName(source).heading)));
    return h("div", { class: "foot" },
      chips.length > 0 && h("div", { class: "sources" }, chips),
      h("div", { class: "marks" },
        mark && h("span", { class: "mark", "data-outcome": item.outcome }, mark),
        item.seq && h("span", { class: "thumbs" }, thumb("up", w.up, "up"), thumb("down", w.down, "thumbdown")),
        item.rating && h("span", { class: "mark" }, w.thanks)));
  }

  state(item) {
    const w = this.words;
    if (item.state === "sending") return h("p", { class: "state" }, this.act.connected() ? w.sending : w.offlineKept);
    const { code, retryable } = item.error ?? {};
    const why = retryable === false ? w.failedFinal : code === "too_fast" ? w.failedFast : w.failed;
    return h("p", { class: "state bad", role: "alert" }, why,
      retryable !== false && h("button", { type: "button", "data-testid": "retry", onclick: () => this.act.retry(item) }, w.retry),
      h("button", { type: "button", onclick: () => this.act.discard(item) }, w.discard));
  }

  csat(item) {
    const w = this.words;
    const question = item.about === "human" ? w.csatHuman : w.csatBot;
    if (item.score) return h("div", { class: "card done", "data-testid": "csat" }, h("p", {}, w.csatThanks));
    return h("fieldset", { class: "card", "data-testid": "csat" }, h("legend", {}, question),
      h("div", { class: "scores" }, w.csatScores.map((label, index) => h("button", {
        type: "button", "aria-label": `${index + 1} / 5: ${label}`, title: label, "data-keep": index + 1,
        onclick: () => this.act.score(item, index + 1),
      }, String(index + 1)))),
      h("div", { class: "ends", "aria-hidden": "true" }, h("span", {}, w.csatScores[0]), h("span", {}, w.csatScores[4])));
  }

  /** The answer in flight: dots until the first words, then the words; a status beside the dots. */
  showDraft(draft, line) {
    if (!draft && !line) return this.draft.replaceChildren();
    const w = this.words;
    if (draft?.text) {
      const inert = (n) => h("span", { class: "cite" }, String(n));
      const bubble = h("div", { class: "bubble" }, blocks(draft.text, { cite: inert }));
      const end = bubble.lastElementChild?.tagName === "UL" ? bubble.lastElementChild.lastElementChild : bubble.lastElementChild;
      end?.append(h("span", { class: "more" }, h("i"), h("i"), h("i")));
      this.draft.replaceChildren(h("div", { class: "message bot", "data-testid": "draft" }, bubble));
    } else if (!this.draft.querySelector(".dots")) {
      this.draft.replaceChildren(h("div", { class: "message bot fresh" },
        h("div", { class: "bubble dots" }, h("i"), h("i"), h("i"), h("span", {}, line ?? w.thinking))));
    } else {
      this.draft.querySelector(".dots span").textContent = line ?? w.thinking;
    }
    this.follow(false);
  }

  atEnd() {
    return this.node.scrollHeight - this.node.scrollTop - this.node.clientHeight < 48;
  }

  /** Stay at the end unless the reader has gone up; our own message always leads there. */
  follow(force) {
    if (force) this.following = true;
    if (this.following) this.node.scrollTop = this.node.scrollHeight;
  }
}

const initial = (name) => [...(name ?? "?").trim()][0]?.toUpperCase() ?? "?";
