/* A shopper's conversation as this browser knows it: what the log said, what is being written, what waits to be sent.
 * Speaks the protocol (docs: /v1/asyncapi.json); knows no elements. Everything that changes is told by `tell(what, detail)`:
 *
 *   reset · item(item, index) · changed(item) · draft · status · typing · owner · queue · state · welcome · notice
 */

import { Connection, identifier, socketUrl } from "./connection.js";

const ASK_AGAIN = 1; // Times that a missing event is asked for: without an end it could be for ever.

export class Session {
  constructor({ server, site, token, locale, tell }) {
    Object.assign(this, { server, site, token, locale, tell });
    this.connection = new Connection({
      url: socketUrl("v1/chat", server),
      hello: () => this.hello(),
      receive: (frame) => this.receive(frame),
      changed: (state) => this.tell("state", state),
      closed: (code) => this.closed(code),
    });
    this.saved = this.load();
    this.clear();
  }

  clear() {
    this.items = (this.saved.outbox ?? []).map((message) => this.outgoing(message));
    this.lastSeq = 0;
    this.replayTo = 0; // Events up to here are old news.
    this.acked = new Set(); // seqs of our own messages, known before their events come
    this.draft = null; // the answer in flight: { id, text, next }
    this.status = null;
    this.queue = null;
    this.agent = null; // name of the human agent
    this.owner = "bot";
    this.greeting = "";
    this.starters = [];
    this.gaps = 0;
    this.stopped = null; // why no attempt is made any more
  }

  // What survives a reload

  /** One memory for each shopper: who signs in next on this machine does not find the last one's conversation. */
  get key() {
    return `shoptalk:${this.server}:${this.site}:${subject(this.token) ?? "anonymous"}`;
  }

  load() {
    try {
      return JSON.parse(localStorage.getItem(this.key)) ?? {};
    } catch {
      return {};
    }
  }

  save() {
    this.saved.outbox = this.items.filter((item) => item.state).map(({ client_id, text }) => ({ client_id, text }));
    try {
      localStorage.setItem(this.key, JSON.stringify(this.saved));
    } catch {
      // Storage is full or forbidden: the conversation lasts as long as the page.
    }
  }

  /** Whether there is a conversation to come back to. */
  get begun() {
    return Boolean(this.saved.conversation_id && this.saved.begun);
  }

  get empty() {
    return !this.items.some((item) => item.kind === "message");
  }

  get unread() {
    return this.items.filter((item) => item.seq > (this.saved.read ?? 0) && item.role && item.role !== "shopper").length;
  }

  // Verbs

  start() {
    this.connection.start();
  }

  /** Leave this conversation; the next hello begins a new one. */
  anew() {
    this.saved = {};
    this.switch();
    this.save();
  }

  /** Another shopper, or with null nobody: their own conversation if this browser knows one, unless `anew`. */
  become(token, anew) {
    const same = subject(token) === subject(this.token);
    this.token = token;
    if (anew) return this.anew();
    if (same && !this.stopped) return; // A fresh token for the next hello.
    if (!same) this.saved = this.load();
    this.switch();
  }

  switch() {
    this.clear();
    this.tell("reset");
    const { state } = this.connection;
    if (state === "stopped" || (state === "idle" && this.begun)) this.connection.start();
    else if (state !== "idle") this.connection.again();
  }

  send(text) {
    this.asked(text);
    const item = this.outgoing({ client_id: identifier(), text });
    this.items.push(item);
    this.saved.begun = true;
    this.save();
    this.tell("item", item);
    this.post(item);
  }

  /** A question that was asked anew need not be offered any more. */
  asked(text) {
    for (const item of this.items.filter((other) => other.stopped && other.question === text)) {
      item.question = null;
      this.tell("changed", item);
    }
  }

  retry(item) {
    this.post(item);
    this.tell("changed", item);
  }

  /** Take back a message that could not be sent. */
  discard(item) {
    this.items = this.items.filter((other) => other !== item);
    this.save();
    this.tell("reset");
  }

  outgoing({ client_id, text }) {
    return { kind: "message", role: "shopper", client_id, text, state: "sending", ts: new Date().toISOString() };
  }

  post(item) {
    item.state = "sending";
    item.error = null;
    this.connection.send("message.send", { client_id: item.client_id, text: item.text });
  }

  stopAnswer() {
    if (this.draft) this.connection.send("message.cancel", { message_id: this.draft.id });
  }

  askForPerson() {
    this.saved.begun = true;
    this.save();
    this.wantsPerson = !this.connection.send("handoff.request");
  }

  rate(item, rating) {
    item.rating = rating;
    this.connection.send("feedback", { message_id: item.id, rating });
    this.tell("changed", item);
  }

  score(item, score) {
    item.score = score;
    this.connection.send("csat.submit", { score });
    this.tell("changed", item);
  }

  typing(on) {
    if (this.owner === "human") this.connection.send("typing", { on });
  }

  read() {
    if (this.lastSeq <= (this.saved.read ?? 0)) return;
    this.saved.read = this.lastSeq;
    this.save();
    this.connection.send("read", { seq: this.lastSeq });
  }

  // The socket

  hello() {
    const { conversation_id, resume_token } = this.saved;
    const resume = conversation_id ? { conversation_id, resume_token, last_seq: this.lastSeq } : {};
    if (conversation_id && this.draft) resume.delta_from = { message_id: this.draft.id, index: this.draft.next };
    return { site: this.site, locale: this.locale, ...(this.token ? { token: this.token } : {}), ...resume };
  }

  closed(code) {
    this.status = null;
    switch (code) {
      case 4404: // It is gone, or somebody else's: begin another one, keeping what was not sent.
        this.saved = { outbox: this.saved.outbox };
        this.clear();
        this.tell("reset");
        return "now";
      case 4401:
        return this.halt("token");
      case 4403:
        return this.halt("refused");
      case 4409:
        return this.halt("elsewhere");
      default:
        return "retry";
    }
  }

  halt(why) {
    this.stopped = why;
    return "stop";
  }

  receive(frame) {
    if (frame.seq !== undefined && frame.seq !== null && !this.inOrder(frame)) return;
    const data = frame.data ?? {};
    switch (frame.type) {
      case "welcome": return this.welcome(data);
      case "resync_required": return this.resync(data);
      case "ack": return this.ack(data);
      case "error": return this.failed(data);
      case "message.created": return this.created(data, frame);
      case "message.started": return this.started(data);
      case "message.delta": return this.delta(data);
      case "message.completed": return this.completed(data, frame);
      case "owner.changed": return this.ownerChanged(data, frame);
      case "queue.position": return this.update("queue", this.owner === "queued" ? data : null);
      case "agent.joined": return this.update("agent", data.name);
      case "agent.left": return this.update("agent", null);
      case "status": return this.update("status", data.state === "idle" ? null : data);
      case "typing": return data.role === "shopper" ? undefined : this.tell("typing", data);
      case "feedback.given": return this.feedback(data);
      case "csat.requested": return this.add({ kind: "csat", about: data.about, seq: frame.seq, ts: frame.ts });
      case "csat.given": return this.scored(data);
    }
  }

  update(field, value) {
    this[field] = value;
    this.tell(field);
  }

  /** Each event once, without gaps: what was seen is dropped, and what is missing is asked for. */
  inOrder({ seq }) {
    while (this.acked.delete(this.lastSeq + 1) && seq > this.lastSeq + 1) this.lastSeq += 1;
    if (seq <= this.lastSeq) return false;
    if (seq > this.lastSeq + 1 && this.gaps < ASK_AGAIN) {
      this.gaps += 1;
      this.connection.again();
      return false;
    }
    this.gaps = 0;
    this.lastSeq = seq;
    return true;
  }

  welcome(data) {
    if (this.saved.conversation_id !== data.conversation_id) {
      this.saved = { outbox: this.saved.outbox, begun: this.saved.begun, conversation_id: data.conversation_id };
    }
    if (data.resume_token) this.saved.resume_token = data.resume_token;
    this.greeting = data.greeting ?? "";
    this.starters = data.starters ?? [];
    this.owner = data.owner;
    if (this.owner !== "queued") this.queue = null;
    this.replayTo = data.seq;
    this.save();
    this.tell("welcome");
    this.items.filter((item) => item.state === "sending").forEach((item) => this.post(item));
    if (this.wantsPerson) this.askForPerson();
  }

  resync() {
    const unsent = this.items.filter((item) => item.state);
    const { owner, greeting, starters } = this;
    this.clear();
    Object.assign(this, { items: unsent, owner, greeting, starters });
    this.tell("reset");
  }

  ack({ client_id, message_id, seq }) {
    if (seq > this.lastSeq) this.acked.add(seq);
    const item = this.items.find((other) => other.client_id === client_id);
    if (item) this.confirm(item, message_id, seq);
  }

  confirm(item, id, seq) {
    item.id = id;
    item.seq = seq;
    item.state = null;
    this.save();
    this.tell("changed", item);
  }

  created(data, { seq, ts }) {
    const { message_id: id, role, text, author, client_id } = data;
    if (role === "system") return this.add({ kind: "system", text, seq, ts });
    const own = role === "shopper" && this.items.find((item) =>
      item.id === id || (item.state && (client_id ? item.client_id === client_id : item.text === text)));
    if (own) return this.confirm(own, id, seq);
    this.saved.begun = true;
    if (role === "human") this.tell("typing", { on: false });
    if (role === "shopper") this.asked(text);
    this.add({ kind: "message", role, id, text, author, seq, ts });
  }

  started({ message_id }) {
    if (this.owner !== "bot") return;
    if (this.draft?.id !== message_id) this.draft = { id: message_id, text: "", next: 0 };
    this.tell("draft");
  }

  delta({ message_id, index, text }) {
    if (this.owner !== "bot") return; // A human has taken over: nothing of the bot may follow.
    if (this.draft?.id !== message_id) this.draft = { id: message_id, text: "", next: 0 };
    if (index !== this.draft.next) return; // Seen already, or a gap that the whole text will fill.
    this.draft.text += text;
    this.draft.next += 1;
    this.tell("draft");
  }

  completed(data, { seq, ts }) {
    this.draft = this.status = null;
    this.tell("draft");
    const { message_id: id, text, citations = [], outcome } = data;
    if (!text.trim()) {
      const question = this.items.find((item) => item.id === data.reply_to)?.text;
      return this.add({ kind: "system", stopped: true, text: "", question, seq, ts });
    }
    this.add({ kind: "message", role: "bot", id, text, citations, outcome, seq, ts });
  }

  ownerChanged({ owner, text }, { seq, ts }) {
    const cut = owner !== "bot" ? this.draft : null;
    this.owner = owner;
    if (owner !== "queued") this.queue = null;
    this.draft = this.status = null;
    this.tell("draft");
    if (cut?.text) this.add({ kind: "message", role: "bot", id: cut.id, text: cut.text, citations: [], outcome: "truncated" });
    if (text) this.add({ kind: "system", text, seq, ts });
    this.tell("owner");
  }

  feedback({ message_id, rating }) {
    const item = this.items.find((other) => other.id === message_id);
    if (!item || item.rating === rating) return;
    item.rating = rating;
    this.tell("changed", item);
  }

  scored({ score }) {
    const item = this.items.findLast((other) => other.kind === "csat");
    if (!item || item.score) return;
    item.score = score;
    this.tell("changed", item);
  }

  /** What came from the log stands before what waits to be sent. */
  add(item) {
    let index = this.items.length;
    while (index > 0 && this.items[index - 1].state) index -= 1;
    this.items.splice(index, 0, item);
    this.tell("item", item);
  }

  failed({ code, message, retryable, client_id }) {
    const item = this.items.find((other) => other.state === "sending" && (!client_id || other.client_id === client_id));
    if (!item) return this.tell("notice", { code, message });
    item.state = "failed";
    item.error = { code, retryable };
    if (code === "closed") this.owner = "closed";
    this.tell("changed", item);
    if (code === "closed") this.tell("owner");
  }
}

/** Who a token says the shopper is: only to keep memories apart, the server alone checks it. */
function subject(token) {
  if (!token) return null;
  try {
    return JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"))).sub;
  } catch {
    return "signed-in";
  }
}
