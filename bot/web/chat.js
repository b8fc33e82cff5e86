/* <shoptalk-chat>: the launcher, the panel and what stands around the messages. The conversation itself is session.js. */

import { h, icon } from "./dom.js";
import { LOOK } from "./look.js";
import { Session } from "./session.js";
import { blocks, safeUrl, sourceName } from "./text.js";
import { Transcript } from "./transcript.js";
import { chatWords, languageOf } from "./words.js";

const PHONE = matchMedia("(max-width: 520px), (max-height: 440px)");
const MAX_LENGTH = 2000;
const WARN_LEFT = 200;
const LOCALE_KEY = "shoptalk:locale";

const sheet = new CSSStyleSheet();
sheet.replaceSync(LOOK);

class ShoptalkChat extends HTMLElement {
  static observedAttributes = ["data-title"];

  attributeChangedCallback() {
    if (this.heading) this.heading.textContent = this.dataset.title || this.words.title;
  }

  connectedCallback() {
    if (this.session) return;
    this.locale = this.dataset.locale ?? remembered() ?? navigator.language;
    this.root = this.attachShadow({ mode: "open" });
    this.root.adoptedStyleSheets = [sheet];
    this.session = new Session({
      server: this.dataset.server ?? location.href,
      site: this.dataset.site ?? "default",
      token: this.dataset.token || null,
      locale: this.locale,
      tell: (what, detail) => this.told(what, detail),
    });
    this.build();
    if (this.session.begun) this.session.start(); // A human agent may have answered since.
  }

  disconnectedCallback() {
    this.session?.connection.stop();
  }

  // For the page

  open() {
    if (this.panel.open) return;
    if (PHONE.matches) this.panel.showModal();
    else this.panel.show();
    this.toggleAttribute("open", true);
    this.launcher.setAttribute("aria-expanded", "true");
    this.session.start();
    this.transcript.follow(true);
    this.seen();
    if (PHONE.matches) this.transcript.node.focus();
    else this.input.focus();
  }

  close() {
    this.panel.close();
  }

  /** Send a message in the shopper's name: for buttons of the page. */
  ask(text) {
    this.open();
    this.session.send(text);
  }

  /** Another shopper, or with null nobody: their own conversation, resumed if this browser knows one, unless `anew`. */
  identify(token, { anew = false } = {}) {
    this.session.become(token || null, anew);
  }

  /** Leave this conversation and begin a new one. */
  anew() {
    this.session.anew();
    if (this.panel.open) this.input.focus();
  }

  /** Change the language of the widget; an untouched conversation greets in it too. */
  speak(locale) {
    if (languageOf(locale) === languageOf(this.locale)) return;
    this.locale = this.session.locale = locale;
    const { open } = this.panel;
    const text = this.input.value;
    this.build();
    this.input.value = text;
    if (open) this.open();
    if (!this.session.begun && this.session.connection.state !== "idle") this.session.anew();
  }

  // Building

  build() {
    const w = (this.words = chatWords(this.locale));
    this.transcript = new Transcript(w, this.locale, {
      retry: (item) => this.session.retry(item),
      ask: (text) => this.session.send(text),
      discard: (item) => this.session.discard(item),
      rate: (item, rating) => this.session.rate(item, rating),
      score: (item, score) => this.session.score(item, score),
      source: (citation, button) => this.showSource(citation, button),
      connected: () => this.session.connection.state === "open",
    });
    this.badge = h("span", { class: "badge", hidden: true });
    this.launcher = h("button", {
      type: "button", class: "launcher", "data-testid": "launcher", "aria-expanded": "false", onclick: () => this.toggle(),
    }, icon("chat"), icon("down"), this.badge);
    this.subtitle = h("p", { class: "subtitle" });
    this.banner = h("div", { class: "banner", role: "status", hidden: true });
    this.queueLine = h("div", { class: "queue", role: "status", hidden: true, "data-testid": "queue" });
    this.statusLine = h("div", { class: "unseen", role: "status", "data-testid": "status" });
    this.typingLine = h("div", { class: "typing", role: "status" });
    this.sourceCard = h("section", { class: "source", hidden: true, role: "dialog", tabindex: "-1", "data-testid": "source" });
    this.stopButton = h("button", {
      type: "button", class: "stop", hidden: true, "aria-label": w.stopLabel, "data-testid": "stop",
      onclick: () => this.stopAnswer(),
    }, h("i", { "aria-hidden": "true" }), w.stop);
    this.panel = h("dialog", {
      class: "panel", "aria-labelledby": "title", "data-testid": "panel", lang: languageOf(this.locale),
      onkeydown: (event) => this.escape(event), onclose: () => this.closed(), oncancel: (event) => this.back(event),
    }, this.header(), this.banner, this.queueLine, this.transcript.node, this.typingLine, this.statusLine,
    this.stopButton, this.composer(), this.sourceCard);
    this.root.replaceChildren(this.panel, this.launcher);
    this.redraw();
    this.showAll();
  }

  header() {
    const w = this.words;
    this.heading = h("h2", { id: "title" }, this.dataset.title || w.title);
    return h("div", { class: "bar" },
      h("span", { class: "mark", "aria-hidden": "true" }, icon("leaf")),
      h("div", { class: "titles" }, this.heading, this.subtitle),
      h("button", {
        type: "button", class: "round", "aria-label": w.anew, title: w.anew, "data-testid": "new", onclick: () => this.askAnew(),
      }, icon("pen")),
      h("button", {
        type: "button", class: "round", "aria-label": w.close, title: w.close, "data-testid": "close", onclick: () => this.close(),
      }, icon("close")));
  }

  composer() {
    const w = this.words;
    this.input = h("textarea", {
      rows: 1, maxlength: MAX_LENGTH, "aria-label": w.input, placeholder: w.inputHint, enterkeyhint: "send", "data-testid": "input",
      oninput: () => this.typed(), onkeydown: (event) => this.key(event), onblur: () => this.session.typing(false),
    });
    this.counter = h("span", { class: "counter", role: "status" });
    this.sendButton = h("button", { type: "submit", class: "send", "aria-label": w.send, title: w.send, "data-testid": "send" }, icon("send"));
    this.form = h("form", { class: "composer", onsubmit: (event) => this.submit(event) }, this.input, this.counter, this.sendButton);
    this.ended = h("div", { class: "ended", hidden: true },
      h("button", { type: "button", class: "plain", onclick: () => this.anew() }, w.anew));
    this.handoff = h("button", {
      type: "button", class: "quiet", "data-testid": "handoff", onclick: () => this.askForPerson(),
    }, icon("person"), h("span", {}, w.handoff));
    return h("div", { class: "base" }, this.form, this.ended,
      h("div", { class: "under" }, this.handoff,
        h("button", {
          type: "button", class: "quiet", lang: languageOf(this.locale) === "en" ? "zh" : "en", "aria-label": w.languageLabel,
          "data-testid": "language", onclick: () => this.switchLanguage(),
        }, icon("globe"), h("span", {}, w.language))));
  }

  // What the session tells

  told(what, detail) {
    if (!this.panel) return;
    const { session, transcript } = this;
    switch (what) {
      case "item":
        this.append(detail);
        break;
      case "changed":
        transcript.update(detail);
        break;
      case "reset":
      case "welcome":
        this.redraw();
        this.showAll();
        break;
      case "draft":
      case "status":
        this.showDraft();
        break;
      case "typing":
        this.showTyping(detail);
        break;
      case "state":
        session.items.filter((item) => item.state === "sending").forEach((item) => transcript.update(item));
        this.showState();
        this.showDraft();
        break;
      case "notice":
        this.say(this.words.tryLater);
        break;
      default: // owner, agent, queue
        this.showOwner();
    }
    this.seen();
  }

  append(item) {
    if (item.role === "shopper" || this.session.owner !== "bot") this.transcript.log.querySelector(".starters")?.remove();
    const { items, replayTo } = this.session;
    const next = items[items.indexOf(item) + 1] ?? null;
    const news = !(item.seq <= replayTo);
    this.transcript.add(item, { next, news });
  }

  redraw() {
    const { items, greeting, starters, empty, owner } = this.session;
    const hello = greeting && { text: greeting, starters: empty && owner === "bot" ? starters : [], choose: (text) => this.choose(text) };
    this.transcript.reset(items, hello);
  }

  showAll() {
    this.showState();
    this.showOwner();
    this.showDraft();
  }

  showDraft() {
    const { draft, status } = this.session;
    clearTimeout(this.expiring);
    if (status) this.expiring = setTimeout(() => this.session.update("status", null), (status.ttl_s ?? 10) * 1000);
    const line = { thinking: this.words.thinking, searching: this.words.searching, typing: this.words.typing }[status?.state];
    this.transcript.showDraft(draft, draft || status ? line ?? null : null);
    this.statusLine.textContent = (draft || status) && !draft?.text ? line ?? this.words.thinking : "";
    this.stopButton.hidden = !draft || this.session.connection.state !== "open";
  }

  showTyping({ on, name }) {
    clearTimeout(this.typingEnds);
    this.typingLine.textContent = on ? this.words.typingHuman(name ?? this.session.agent) : "";
    if (on) this.typingEnds = setTimeout(() => this.showTyping({ on: false }), 6000);
    this.transcript.follow(false);
  }

  showOwner() {
    const { owner, agent, queue } = this.session;
    const w = this.words;
    this.subtitle.textContent = {
      bot: w.subtitleBot, queued: w.subtitleQueued, closed: w.subtitleClosed,
      human: agent ? w.subtitleHuman(agent) : w.subtitleHumanNoName,
    }[owner];
    this.panel.dataset.owner = owner;
    this.handoff.hidden = owner !== "bot";
    this.handoff.disabled = false;
    this.handoff.lastChild.textContent = w.handoff;
    this.form.hidden = owner === "closed" || this.session.stopped === "refused";
    this.input.placeholder = owner === "bot" ? w.inputHint : w.inputHintHuman;
    this.ended.hidden = owner !== "closed";
    this.queueLine.hidden = owner !== "queued";
    if (owner === "queued") this.queueLine.replaceChildren(h("strong", {}, this.place(queue)), h("span", {}, w.queueHint));
    if (owner !== "human") this.showTyping({ on: false });
  }

  place(queue) {
    const w = this.words;
    if (!queue) return w.queueWait;
    const where = w.queuePlace(queue.position);
    if (!queue.eta_s) return `${where} ${w.queueNobody}`;
    const [low, high] = [Math.floor(queue.eta_s[0] / 60), Math.ceil(queue.eta_s[1] / 60)];
    return high > 0 ? `${where} ${w.queueEta(low, high)}` : where;
  }

  showState() {
    const { connection, stopped } = this.session;
    const w = this.words;
    clearTimeout(this.stateSoon);
    if (connection.state === "stopped" && stopped) {
      this.showOwner();
      const way = {
        token: [w.stoppedToken, w.stoppedTokenButton, () => this.identify(null)],
        elsewhere: [w.stoppedElsewhere, w.stoppedElsewhereButton, () => this.resume()],
        refused: [w.stoppedRefused],
      }[stopped];
      if (stopped === "token") this.dispatchEvent(new CustomEvent("shoptalk-token", { bubbles: true }));
      return this.say(way[0], way[1] && h("button", { type: "button", class: "plain", onclick: way[2] }, way[1]));
    }
    if (connection.state === "waiting") return this.say(navigator.onLine ? w.reconnecting : w.offline);
    // A connection that stands at once needs no word about it.
    if (connection.state === "connecting" && this.banner.hidden) this.stateSoon = setTimeout(() => this.say(w.connecting), 800);
    else if (connection.state !== "connecting") this.say("");
  }

  say(text, ...buttons) {
    this.banner.hidden = !text;
    this.banner.replaceChildren(h("span", {}, text), ...buttons.filter(Boolean));
  }

  resume() {
    this.session.stopped = null;
    this.session.start();
  }

  /** Told of each change: what the shopper can see counts as read, the rest is counted on the launcher. */
  seen() {
    const { session, words } = this;
    if (this.panel.open && document.visibilityState === "visible") session.read();
    const unread = this.panel.open ? 0 : session.unread;
    this.badge.hidden = unread === 0;
    this.badge.textContent = String(unread);
    const label = this.panel.open ? words.close : unread ? words.openUnread(unread) : words.open;
    this.launcher.setAttribute("aria-label", label);
  }

  // What the shopper does

  toggle() {
    if (this.panel.open) this.close();
    else this.open();
  }

  closed() {
    this.toggleAttribute("open", false);
    this.launcher.setAttribute("aria-expanded", "false");
    this.hideSource();
    this.seen();
    this.launcher.focus();
  }

  escape(event) {
    if (event.key === "Escape" && !event.isComposing) this.back(event);
  }

  /** Escape, or a phone's gesture: first the source, then the panel. */
  back(event) {
    event.preventDefault();
    event.stopPropagation();
    if (this.sourceCard.hidden) this.close();
    else this.hideSource();
  }

  key(event) {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return; // 229: an input method is at work
    event.preventDefault();
    this.form.requestSubmit();
  }

  typed() {
    const { input } = this;
    input.style.height = "auto";
    input.style.height = `${Math.min(input.scrollHeight, 140)}px`;
    const left = MAX_LENGTH - input.value.length;
    this.counter.textContent = left <= WARN_LEFT ? this.words.tooLong(left) : "";
    this.form.classList.toggle("ready", input.value.trim() !== "");
    const now = Date.now();
    if (now - (this.lastTyping ?? 0) > 3000 && input.value) {
      this.lastTyping = now;
      this.session.typing(true);
    }
  }

  submit(event) {
    event.preventDefault();
    const text = this.input.value.trim();
    if (!text) return this.input.focus();
    this.input.value = "";
    this.lastTyping = 0;
    this.typed();
    this.session.send(text);
    this.input.focus();
  }

  choose(text) {
    this.session.send(text);
    this.input.focus();
  }

  stopAnswer() {
    this.session.stopAnswer();
    this.input.focus();
  }

  askForPerson() {
    this.handoff.disabled = true;
    this.handoff.lastChild.textContent = this.words.handoffAsked;
    this.session.askForPerson();
    this.input.focus();
  }

  /** A conversation that is left cannot be found again: ask first. */
  askAnew() {
    const w = this.words;
    if (this.session.empty || this.session.owner === "closed") return this.anew();
    const button = (text, act) => h("button", { type: "button", class: "plain", onclick: act }, text);
    const leave = button(w.anewYes, () => { this.say(""); this.anew(); });
    const stay = button(w.anewNo, () => { this.say(""); this.input.focus(); });
    this.say(w.anewAsk, leave, stay);
    stay.focus();
  }

  switchLanguage() {
    const next = languageOf(this.locale) === "en" ? "zh" : "en";
    try {
      localStorage.setItem(LOCALE_KEY, next);
    } catch {
      // It lasts as long as the page.
    }
    this.speak(next);
    this.dispatchEvent(new CustomEvent("shoptalk-locale", { bubbles: true, detail: next }));
  }

  // Sources

  showSource(source, button) {
    const w = this.words;
    const { title, heading } = sourceName(source);
    const url = source.url && safeUrl(source.url);
    this.sourceFrom = button;
    this.sourceCard.setAttribute("aria-label", w.source(source.n, heading));
    this.sourceCard.replaceChildren(
      h("div", { class: "bar" },
        h("b", { class: "number" }, String(source.n)),
        h("div", { class: "titles" }, h("h3", {}, heading), title && h("p", { class: "subtitle" }, title)),
        h("button", { type: "button", class: "round", "aria-label": w.sourceClose, onclick: () => this.hideSource() }, icon("close"))),
      h("blockquote", {}, blocks(source.quotes.join("\n"))),
      url && h("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, w.sourceLink, icon("link")));
    this.sourceCard.hidden = false;
    this.sourceCard.focus();
  }

  hideSource() {
    if (this.sourceCard.hidden) return;
    this.sourceCard.hidden = true;
    this.sourceFrom?.focus();
  }
}

function remembered() {
  try {
    return localStorage.getItem(LOCALE_KEY);
  } catch {
    return null;
  }
}

document.addEventListener("visibilitychange", () => document.querySelectorAll("shoptalk-chat").forEach((chat) => chat.panel && chat.seen()));

/* The keyboard of a phone covers the page without making it smaller: follow what is left. */
for (const change of ["resize", "scroll"]) visualViewport?.addEventListener(change, () => {
  for (const { style } of document.querySelectorAll("shoptalk-chat")) {
    style.setProperty("--height", `${visualViewport.height}px`);
    style.setProperty("--top", `${visualViewport.offsetTop}px`);
  }
});

customElements.define("shoptalk-chat", ShoptalkChat);
