/* The human agents' desk: signing in, the queue, the conversation, the keys. What is known stands in desk-session.js. */

import { DeskSession } from "./desk-session.js";
import { Thread } from "./desk-thread.js";
import { deskWords, duration } from "./desk-words.js";
import { h, icon } from "./dom.js";
import { languageOf } from "./words.js";

const LOCALE_KEY = "shoptalk:locale";
const NAME_KEY = "shoptalk:desk-name";
const TYPING_MS = 6000;

let locale = localStorage.getItem(LOCALE_KEY) ?? navigator.language;
let w = deskWords(locale);
let selected = null;
let thread = null;
let at = {}; // the elements that change
let typingSent = 0;
const session = new DeskSession(told);

/* The code comes in the fragment, which no server log sees, and leaves the address bar at once. */
const code = new URLSearchParams(location.hash.slice(1)).get("code") ?? "";
if (location.hash) history.replaceState(null, "", location.pathname);

function told(what, detail) {
  switch (what) {
    case "signedout":
      selected = null;
      return signInPage(detail);
    case "state":
      return drawState();
    case "queue":
      return drawAll();
    case "claimed":
      session.look(null);
      select(detail);
      return at.reply?.focus();
    case "refused":
      return toast((w.errors[detail.code] ?? (() => detail.message || w.error))(detail.agent_name || detail.agent_id));
    case "typing":
      expireTyping(detail);
  }
  if (detail === selected) drawThread();
}

/** A colleague by name, if the server told it, else by id. */
const holder = (item) => item?.agent_name || item?.agent_id || "";

function expireTyping(id) {
  const conversation = session.conversation(id);
  clearTimeout(conversation.typingEnds);
  if (conversation.typing) conversation.typingEnds = setTimeout(() => { conversation.typing = false; if (id === selected) drawThread(); }, TYPING_MS);
}

// Signing in

function signInPage(why = null) {
  document.title = w.desk;
  const problem = h("p", { class: "problem", role: "alert" }, why ? w[why] : "");
  const codeField = h("input", { type: "password", name: "code", required: true, autocomplete: "off", value: why ? "" : code, "data-testid": "code" });
  const nameField = h("input", { name: "name", required: true, maxlength: 64, autocomplete: "nickname", value: localStorage.getItem(NAME_KEY) ?? "", "data-testid": "name" });
  const button = h("button", { class: "primary", "data-testid": "signin" }, w.signIn);
  const submit = async (event) => {
    event.preventDefault();
    button.disabled = true;
    const name = nameField.value.trim();
    const refused = await session.signIn(codeField.value.trim(), name);
    button.disabled = false;
    if (refused) {
      problem.textContent = w[refused];
      return codeField.select();
    }
    localStorage.setItem(NAME_KEY, name);
    deskPage();
    session.start();
  };
  document.body.replaceChildren(h("main", { class: "signin" },
    h("form", { onsubmit: submit }, h("h1", {}, w.desk), h("p", {}, w.signInText),
      h("label", {}, w.code, codeField), h("label", {}, w.name, nameField), problem,
      h("div", { class: "row" }, button, languageButton(() => signInPage(why))))));
  (codeField.value ? nameField : codeField).focus();
}

function languageButton(again) {
  const other = languageOf(locale) === "en" ? "zh" : "en";
  return h("button", {
    type: "button", class: "quiet", lang: other, "aria-label": w.languageLabel,
    onclick: () => {
      locale = other;
      w = deskWords(locale);
      localStorage.setItem(LOCALE_KEY, locale);
      document.documentElement.lang = languageOf(locale);
      again();
    },
  }, w.language);
}

// The desk

function deskPage() {
  at = {
    state: h("span", { class: "light", role: "status" }),
    banner: h("p", { class: "banner", role: "alert", hidden: true }),
    toast: h("p", { class: "toast", role: "status" }),
    list: h("nav", { class: "list", "aria-label": w.waiting, tabindex: "-1" }),
    middle: h("section", { class: "middle", "aria-label": w.conversation }),
    side: h("aside", { class: "side" }),
  };
  document.body.replaceChildren(
    h("header", { class: "top" }, h("h1", {}, w.desk), at.state, h("span", { class: "me" }, icon("person"), h("span", {}, session.who.name)),
      languageButton(() => { deskPage(); drawAll(); drawState(); }),
      h("button", { type: "button", class: "quiet keys", "aria-label": w.help, title: w.help, onclick: help }, "?"),
      h("button", { type: "button", class: "quiet", onclick: () => session.signOut() }, w.signOut)),
    at.banner, h("main", { class: "desk" }, at.list, at.middle, at.side), at.toast);
  drawAll();
  drawConversation();
}

function drawAll() {
  if (!at.list) return;
  drawList();
  drawHead();
  drawSide();
  document.title = session.queue.inAll ? `(${session.queue.inAll}) ${w.desk}` : w.desk;
}

function drawState() {
  if (!at.state) return;
  const { state } = session.connection;
  at.state.textContent = state === "open" ? w.online : w.connecting;
  at.state.dataset.state = state;
  at.banner.hidden = !["waiting", "stopped"].includes(state);
  at.banner.textContent = state === "stopped" ? w.elsewhere : w.lost;
}

function toast(text) {
  at.toast.textContent = text;
  at.toast.classList.add("shown");
  clearTimeout(at.toastEnds);
  at.toastEnds = setTimeout(() => at.toast.classList.remove("shown"), 4500);
}

// The list

function drawList() {
  const focused = at.list.contains(document.activeElement) ? document.activeElement.dataset : null;
  const { mine, others } = session;
  const section = (title, count, items, kind) => items.length > 0 && h("section", {},
    h("h2", {}, title, h("span", {}, count)), h("ol", {}, items.map((item) => entry(item, kind))));
  at.list.replaceChildren(...[
    section(w.mine, w.held_of(mine.length, session.capacity || "–"), mine, "mine"),
    section(w.waiting, session.queue.inAll, session.queue.waiting, "waiting"),
    session.queue.waiting.length === 0 && h("div", { class: "nobody" }, icon("leaf"), h("b", {}, w.nobody), h("p", {}, w.nobodyText)),
    section(w.others, others.length, others, "others"),
  ].filter(Boolean));
  if (focused?.id) at.list.querySelector(`[data-id="${focused.id}"]${focused.testid ? `[data-testid="${focused.testid}"]` : ""}`)?.focus();
}

function entry(item, kind) {
  const id = item.conversation_id;
  const language = languageOf(item.locale);
  return h("li", { class: "item", "data-kind": kind, "data-selected": id === selected },
    h("button", {
      type: "button", class: "open", "data-id": id, "data-testid": "queue-item", "aria-current": id === selected ? "true" : null, onclick: () => select(id),
    },
    h("span", { class: "line" }, reason(item), h("span", { class: "lang" }, w.languages[language]),
      h("time", { "data-since": item.waiting_since }, duration(session.now() - item.waiting_since))),
    h("span", { class: "question", lang: language }, item.last_question || item.summary.split("\n")[0]),
    h("span", { class: "line" }, spark(item.mood_trace), kind === "others" && h("span", { class: "who" }, w.held(holder(item))))),
    kind === "waiting" && h("button", { type: "button", class: "primary small", "data-id": id, "data-testid": "claim", onclick: () => session.claim(id) }, w.claim));
}

const reason = (item) => h("span", { class: `chip ${item.reason}` }, w.reasons[item.reason] ?? item.reason);

/** Anger message by message as a line; the last point is marked. */
function spark(trace = []) {
  if (trace.length === 0) return null;
  const points = trace.map((anger, index) => [4 + (index * 72) / Math.max(1, trace.length - 1), 20 - anger * 16]);
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const now = trace.at(-1);
  const facts = { viewBox: "0 0 80 24", preserveAspectRatio: "xMinYMid", class: `spark ${now > 0.6 ? "angry" : now > 0.3 ? "unhappy" : ""}`, role: "img", "aria-label": w.moodTrace(Math.round(now * 100)) };
  for (const [name, value] of Object.entries(facts)) svg.setAttribute(name, value);
  const draw = (tag, attributes) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    svg.append(node);
  };
  draw("polyline", { points: points.map((point) => point.join(",")).join(" "), fill: "none" });
  draw("circle", { cx: points.at(-1)[0], cy: points.at(-1)[1], r: 3 });
  return svg;
}

setInterval(() => document.querySelectorAll("[data-since]").forEach((node) =>
  (node.textContent = duration(session.now() - Number(node.dataset.since)))), 1000);

// The conversation

function select(id) {
  if (at.reply && selected) session.conversation(selected).reply = at.reply.value;
  selected = id;
  session.look(id);
  drawList();
  drawConversation();
}

function drawConversation() {
  document.body.classList.toggle("reading", Boolean(selected));
  if (!selected) {
    at.reply = null;
    at.head = null;
    at.middle.replaceChildren(h("div", { class: "nothing" }, icon("chat"), h("b", {}, w.nothing), h("p", {}, w.nothingText)));
    return drawSide();
  }
  thread = new Thread(w, locale, { retry: (item) => { session.post(selected, item); drawThread(); } });
  at.head = h("header", { class: "head" });
  at.foot = h("footer", { class: "foot" });
  at.reply = null;
  at.middle.replaceChildren(at.head, thread.node, at.foot);
  drawHead();
  drawThread();
  drawSide();
}

function drawThread() {
  if (!selected || !thread) return;
  const { items, typing } = session.conversation(selected);
  thread.show(items, typing);
  drawFoot();
  drawSide();
}

function drawHead() {
  if (!at.head || !selected) return;
  const item = session.entry(selected);
  const mine = session.isMine(selected);
  const action = (label, key, test, act, look = "quiet") => h("button", {
    type: "button", class: look, title: `${label} (${key})`, "aria-keyshortcuts": key, "data-testid": test, onclick: act,
  }, label);
  at.head.replaceChildren(
    h("button", { type: "button", class: "quiet back", "aria-label": w.back, onclick: () => select(null) }, "‹"),
    item ? reason(item) : "",
    item ? h("span", { class: "lang" }, w.languages[languageOf(item.locale)]) : "",
    item ? h("span", { class: "muted" }, h("time", { "data-since": item.waiting_since }, duration(session.now() - item.waiting_since))) : "",
    h("span", { class: "actions" }, mine && [
      action(w.toBot, "b", "release", () => leave("bot")), action(w.toQueue, "q", "requeue", () => leave("queue")), action(w.close, "x", "close", () => leave("closed"), "quiet bad")]));
  drawFoot();
}

/** The reply box while the conversation is ours, else why there is none. */
function drawFoot() {
  const item = session.entry(selected);
  const mine = session.isMine(selected);
  const kind = mine ? "mine" : item?.agent_id ? "others" : item ? "waiting" : session.conversation(selected).owner ?? "gone";
  if (at.foot.dataset.kind === kind) return;
  at.foot.dataset.kind = kind;
  at.reply = null;
  if (mine) return at.foot.replaceChildren(replyBox());
  const words = { others: w.othersNow(holder(item)), waiting: w.preview, closed: w.closedNow, bot: w.botNow }[kind] ?? w.gone;
  at.foot.replaceChildren(h("p", {}, words), kind === "waiting" ? h("button", { type: "button", class: "primary", "data-testid": "claim-here", onclick: () => session.claim(selected) }, w.claimKey) : "");
}

function replyBox() {
  const id = selected;
  at.reply = h("textarea", {
    rows: 2, maxlength: 2000, "aria-label": w.reply, placeholder: w.replyHint, "data-testid": "reply",
    oninput: () => typed(id), onblur: () => session.typing(id, false),
    onkeydown: (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
      event.preventDefault();
      event.target.form.requestSubmit();
    },
  });
  at.reply.value = session.conversation(id).reply;
  const submit = (event) => {
    event.preventDefault();
    const text = at.reply.value.trim();
    if (!text) return;
    at.reply.value = session.conversation(id).reply = "";
    typingSent = 0;
    thread.following = true;
    session.say(id, text);
    at.reply.focus();
  };
  return h("form", { class: "replybox", onsubmit: submit }, at.reply, h("button", { class: "primary", "data-testid": "send" }, w.send));
}

function typed(id) {
  session.conversation(id).reply = at.reply.value;
  if (Date.now() - typingSent < 3000 || !at.reply.value) return;
  typingSent = Date.now();
  session.typing(id, true);
}

function drawSide() {
  const item = selected && session.entry(selected);
  at.side.hidden = !item;
  if (!item) return;
  const list = (ids) => h("ul", {}, ids.map((id) => h("li", {}, passageName(id))));
  const passages = item.passage_ids?.length ? item.passage_ids : session.conversation(selected).passages;
  const open = at.side.querySelector("details")?.open ?? !matchMedia("(max-width: 720px)").matches;
  at.side.replaceChildren(h("details", { open },
    h("summary", {}, w.summary),
    h("p", { class: "summary", lang: languageOf(item.locale) }, item.summary || w.noSummary),
    item.note && [h("h3", {}, w.note), h("p", { class: "summary" }, item.note)],
    item.mood_trace?.length > 0 && [h("h3", {}, w.mood), spark(item.mood_trace)],
    h("h3", {}, w.passages), passages.length ? list(passages) : h("p", { class: "muted" }, w.noPassages)));
}

/** "en/policy/shipping#Delivery times" reads "Delivery times", with its document below. */
function passageName(id) {
  if (id.startsWith("order:")) return `${w.order} ${id.slice(6)}`;
  const [document_, heading] = id.split("#");
  return heading ? [h("b", {}, heading), h("span", { class: "muted" }, document_)] : id;
}

// Leaving a conversation, and the keys

function leave(to) {
  const id = selected;
  const title = { bot: w.releaseTitle, queue: w.queueTitle, closed: w.closeTitle }[to];
  const note = h("textarea", { rows: 3, maxlength: 2000, "data-testid": "note" });
  const resolution = to === "closed" && h("select", { "data-testid": "resolution" },
    Object.entries(w.resolutions).map(([value, label]) => h("option", { value }, label)));
  const confirm = h("button", { class: "primary", "data-testid": "confirm" }, w.confirm[to]);
  ask(title, [resolution && h("label", {}, w.resolution, resolution), h("label", {}, w.noteLabel, note)], confirm, () => {
    if (to === "closed") session.close(id, resolution.value, note.value.trim());
    else session.release(id, to, note.value.trim());
  });
  (resolution || confirm).focus();
}

function help() {
  const keys = w.keys.map(([key, does]) => [h("dt", {}, key.split("  ").map((one) => h("kbd", {}, one))), h("dd", {}, does)]);
  ask(w.help, [h("dl", {}, keys.flat())], h("button", { class: "primary" }, w.done), () => {}, false);
}

/** A dialog; Escape closes it. */
function ask(title, content, confirm, act, cancel = true) {
  const dialog = h("dialog", { "aria-label": title, onclose: () => dialog.remove() },
    h("form", { method: "dialog", onsubmit: act }, h("h2", {}, title), ...content,
      h("div", { class: "row" }, confirm, cancel && h("button", { type: "button", class: "quiet", onclick: () => dialog.close() }, w.cancel))));
  document.body.append(dialog);
  dialog.showModal();
}

function move(step) {
  const ids = [...at.list.querySelectorAll(".open")].map((node) => node.dataset.id);
  if (ids.length === 0) return;
  const index = ids.indexOf(selected);
  const next = index < 0 ? (step > 0 ? 0 : ids.length - 1) : Math.min(ids.length - 1, Math.max(0, index + step));
  select(ids[next]);
  at.list.querySelector(`.open[data-id="${ids[next]}"]`)?.scrollIntoView({ block: "nearest" });
}

addEventListener("keydown", (event) => {
  if (!session.who || !at.list || event.ctrlKey || event.metaKey || event.altKey || event.isComposing || document.querySelector("dialog[open]")) return;
  if (event.target.matches("input, textarea, select")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const mine = selected && session.isMine(selected);
  const waits = selected && session.queue.waiting.some((item) => item.conversation_id === selected);
  const claim = () => (waits ? session.claim(selected) : mine && at.reply?.focus());
  const act = {
    j: () => move(1), ArrowDown: () => move(1), k: () => move(-1), ArrowUp: () => move(-1),
    c: claim, Enter: event.target.closest("button, a, summary") && !event.target.matches(".open") ? null : claim,
    r: () => at.reply?.focus(), b: () => mine && leave("bot"), q: () => mine && leave("queue"), x: () => mine && leave("closed"),
    "?": help,
  }[event.key];
  if (!act || (event.key.startsWith("Arrow") && event.target.closest(".thread"))) return;
  event.preventDefault();
  act();
});

document.documentElement.lang = languageOf(locale);
if (session.who && !code) {
  deskPage();
  session.start();
} else {
  signInPage();
}
