/* The desk as this browser knows it: who waits, who is held, and the logs of the conversations that were looked at.
 * Speaks the protocol; knows no elements. `tell(what, detail)`: state · queue · item(id) · typing(id) · claimed(id) · refused · signedout
 */

import { Connection, identifier, socketUrl } from "./connection.js";

const KEY = "shoptalk:desk";
const POLL_S = 10; // A server that shuts down waits for it.

export class DeskSession {
  constructor(tell) {
    this.tell = tell;
    this.who = this.remembered();
    this.queue = { waiting: [], held: [], inAll: 0 };
    this.capacity = 0;
    this.skewMs = 0; // the server's clock less ours
    this.conversations = new Map();
    this.preview = null;
    this.connection = new Connection({
      url: socketUrl("/v1/agent", location.href),
      hello: () => ({ token: this.who.token, last_seq: this.seen() }),
      receive: (frame) => this.receive(frame),
      changed: (state) => this.tell("state", state),
      closed: (code) => this.closed(code),
    });
  }

  remembered() {
    try {
      const who = JSON.parse(sessionStorage.getItem(KEY));
      return who && who.expires_at * 1000 > Date.now() ? who : null;
    } catch {
      return null;
    }
  }

  /** Exchange a code for a token; null if all went well, else "refused" or "unreachable". */
  async signIn(code, name) {
    let answer;
    try {
      answer = await fetch("/v1/agent/session", {
        method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ code, name }),
      });
    } catch {
      return "unreachable";
    }
    if (answer.status === 401 || answer.status === 422) return "refused";
    if (!answer.ok) return "unreachable";
    this.who = await answer.json();
    sessionStorage.setItem(KEY, JSON.stringify(this.who));
    return null;
  }

  start() {
    this.connection.start();
  }

  signOut(why = null) {
    sessionStorage.removeItem(KEY);
    this.look(null);
    this.connection.stop();
    this.who = null;
    this.conversations.clear();
    this.queue = { waiting: [], held: [], inAll: 0 };
    this.tell("signedout", why);
  }

  closed(code) {
    if (code === 4401 || code === 4403) {
      queueMicrotask(() => this.signOut("expired"));
      return "stop";
    }
    return code === 4409 ? "stop" : "retry";
  }

  // What is known

  conversation(id) {
    if (!this.conversations.has(id)) this.conversations.set(id, { id, items: [], passages: [], lastSeq: 0, owner: null, reply: "", typing: false });
    return this.conversations.get(id);
  }

  get mine() {
    return this.queue.held.filter((item) => item.agent_id === this.who?.agent_id);
  }

  get others() {
    return this.queue.held.filter((item) => item.agent_id !== this.who?.agent_id);
  }

  entry(id) {
    return [...this.queue.held, ...this.queue.waiting].find((item) => item.conversation_id === id);
  }

  isMine(id) {
    return this.mine.some((item) => item.conversation_id === id);
  }

  /** Only what we hold is resumed by the socket; the rest is read over HTTP. */
  seen() {
    return Object.fromEntries(this.mine.map(({ conversation_id: id }) => [id, this.conversation(id).lastSeq]));
  }

  now() {
    return (Date.now() + this.skewMs) / 1000;
  }

  // Verbs

  claim(id) {
    this.connection.send("claim", { conversation_id: id });
  }

  release(id, to, note) {
    this.connection.send("release", { conversation_id: id, to, note });
  }

  close(id, resolution, note) {
    this.connection.send("close", { conversation_id: id, resolution, note });
  }

  say(id, text) {
    const item = {
      kind: "message", role: "human", mine: true, text, author: this.who.name, client_id: identifier(), state: "sending",
      ts: new Date().toISOString(),
    };
    this.conversation(id).items.push(item);
    this.tell("item", id);
    this.post(id, item);
  }

  post(id, item) {
    item.state = "sending";
    this.connection.send("message.send", { conversation_id: id, client_id: item.client_id, text: item.text });
  }

  typing(id, on) {
    this.connection.send("typing", { conversation_id: id, on });
  }

  /** Follow a conversation that is not ours, by long poll, until another is looked at. */
  look(id) {
    this.preview?.abort();
    this.preview = null;
    if (!id || this.isMine(id)) return;
    this.preview = new AbortController();
    this.follow(id, this.preview.signal);
  }

  async follow(id, signal) {
    let wait = 0;
    while (!signal.aborted) {
      try {
        const address = `/v1/conversations/${encodeURIComponent(id)}/events?after=${this.conversation(id).lastSeq}&wait_s=${wait}`;
        const answer = await fetch(address, { headers: { Authorization: `Bearer ${this.who.token}` }, signal });
        if (answer.status === 401) return this.signOut("expired");
        if (!answer.ok) throw new Error(String(answer.status));
        for (const frame of await answer.json()) this.event(frame);
        wait = POLL_S;
      } catch {
        if (!signal.aborted) await new Promise((resolve) => setTimeout(resolve, 3000));
      }
    }
  }

  // The socket

  receive(frame) {
    const { type, data = {}, conversation_id: id } = frame;
    if (id && frame.seq) return this.event(frame);
    switch (type) {
      case "welcome":
        Object.assign(this.who, { agent_id: data.agent_id, name: data.name });
        this.capacity = data.capacity;
        for (const conversation of this.conversations.values()) {
          conversation.items.filter((item) => item.state === "sending").forEach((item) => this.post(conversation.id, item));
        }
        return this.tell("queue");
      case "queue.snapshot":
        this.queue = { waiting: data.waiting ?? [], held: data.held ?? [], inAll: data.in_all ?? data.waiting?.length ?? 0 };
        if (data.now) this.skewMs = data.now * 1000 - Date.now();
        [...this.queue.waiting, ...this.queue.held].forEach((entry) => this.markCause(entry));
        return this.tell("queue");
      case "claimed":
        return this.claimed(id ?? data.conversation_id);
      case "ack":
        return this.acked(id, data);
      case "resync_required":
        return this.resync(id);
      case "typing":
        this.conversation(id).typing = data.on;
        return this.tell("typing", id);
      case "error":
        return this.failed(id, data);
    }
  }

  /** The mood of the message that caused a handoff stands in the queue, not in the log: no answer followed it. */
  markCause({ conversation_id: id, last_question: text, mood_trace: trace = [] }) {
    const cause = this.conversations.get(id)?.items.findLast((item) => item.role === "shopper" && item.text === text);
    const anger = trace.at(-1);
    if (cause && !cause.mood && anger > 0.5) cause.mood = { calm: 1 - anger, angry: anger };
  }

  /** Ours at once: the next snapshot says the same. */
  claimed(id) {
    const entry = this.queue.waiting.find((item) => item.conversation_id === id);
    if (entry) {
      this.queue.waiting = this.queue.waiting.filter((item) => item !== entry);
      this.queue.inAll -= 1;
      this.queue.held = [...this.queue.held, { ...entry, agent_id: this.who.agent_id }];
    }
    this.tell("queue");
    this.tell("claimed", id);
  }

  /** The server knows less of the log than we do: forget it, but for what was not sent. */
  resync(id) {
    const conversation = this.conversation(id);
    Object.assign(conversation, { items: conversation.items.filter((item) => item.state), lastSeq: 0 });
    this.tell("item", id);
  }

  acked(id, { client_id, message_id }) {
    const item = this.conversation(id).items.find((other) => other.client_id === client_id);
    if (!item) return;
    Object.assign(item, { state: null, id: message_id });
    this.tell("item", id);
  }

  failed(id, data) {
    const candidates = id ? [this.conversation(id)] : [...this.conversations.values()];
    for (const conversation of candidates) {
      const item = conversation.items.find((other) => other.state === "sending" && (!data.client_id || data.client_id === other.client_id));
      if (!item) continue;
      item.state = "failed";
      this.tell("item", conversation.id);
      break;
    }
    this.tell("refused", data);
  }

  /** One line of a conversation's log. */
  event({ type, data, seq, ts, conversation_id: id }) {
    const conversation = this.conversation(id);
    if (seq <= conversation.lastSeq) return;
    conversation.lastSeq = seq;
    const entry = this.entry(id);
    const add = (item) => {
      let at = conversation.items.length;
      while (at > 0 && conversation.items[at - 1].state) at -= 1;
      conversation.items.splice(at, 0, { seq, ts, ...item });
    };
    const find = (message_id) => conversation.items.find((item) => item.id === message_id);
    switch (type) {
      case "message.created": {
        const { message_id, role, text, author, client_id, mood } = data;
        const own = conversation.items.find((item) => item.mine && item.client_id === client_id);
        if (own) Object.assign(own, { state: null, id: message_id, seq, ts });
        else if (role === "system") add({ kind: "system", text });
        else add({ kind: "message", role, id: message_id, text, author, mood, client_id });
        if (role === "shopper") conversation.typing = false;
        break;
      }
      case "message.completed": {
        const question = find(data.reply_to);
        if (question && data.mood) question.mood = data.mood;
        if (data.passage_ids?.length) conversation.passages = data.passage_ids;
        add({ kind: "message", role: "bot", id: data.message_id, text: data.text, citations: data.citations ?? [], outcome: data.outcome });
        break;
      }
      case "owner.changed":
        conversation.owner = data.owner;
        add({ kind: "system", text: data.text, reason: data.reason });
        break;
      case "feedback.given": {
        const answer = find(data.message_id);
        if (answer) answer.rating = data.rating;
        break;
      }
      case "csat.given":
        add({ kind: "system", score: data.score });
    }
    if (entry) this.markCause(entry);
    this.tell("item", id);
  }
}
