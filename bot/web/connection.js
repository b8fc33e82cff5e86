/* A socket that comes back. Knows the envelope, the heartbeat and the waiting between attempts; no chat, no desk.
 *
 *   const connection = new Connection({ url, hello: () => ({...}), receive: (frame) => {}, changed: (state) => {},
 *                                       closed: (code) => "retry" });
 *   connection.start();
 *
 * States: idle, connecting, open (the server has answered the hello), waiting (for the next attempt), stopped.
 */

const FIRST_MS = 500;
const LONGEST_MS = 30_000;
const WELCOME_MS = 12_000; // The server gives a hello 10 s; a proxy may need a moment more.
const SILENCE_MS = 40_000; // It pings every 15 s: two missed pings and some air.

export class Connection {
  /**
   * hello: data of the first frame, asked anew at each attempt.
   * receive: told of every frame but pings.
   * closed: told of the close code; returns "retry", "now" or "stop".
   */
  constructor({ url, hello, receive, changed, closed }) {
    Object.assign(this, { url, hello, receive, changed, closed });
    this.state = "idle";
    this.attempt = 0;
    this.socket = null;
    this.timer = null;
    this.watch = null;
    this.wake = () => this.state === "waiting" && this.open();
    this.seen = () => document.visibilityState === "visible" && this.wake();
    this.lost = () => this.socket && this.drop();
  }

  start() {
    if (this.state !== "idle" && this.state !== "stopped") return;
    addEventListener("online", this.wake);
    addEventListener("offline", this.lost);
    document.addEventListener("visibilitychange", this.seen);
    this.attempt = 0;
    this.open();
  }

  stop() {
    removeEventListener("online", this.wake);
    removeEventListener("offline", this.lost);
    document.removeEventListener("visibilitychange", this.seen);
    clearTimeout(this.timer);
    this.forget();
    this.become("stopped");
  }

  /** Leave this socket and say hello again: after a gap, or with other credentials. */
  again() {
    this.forget();
    this.open();
  }

  /** Send a frame if the server has answered the hello; false if it could not be sent. */
  send(type, data = {}) {
    if (this.state !== "open") return false;
    this.write(type, data);
    return true;
  }

  write(type, data) {
    this.socket.send(JSON.stringify({ v: 1, type, data }));
  }

  open() {
    clearTimeout(this.timer);
    this.forget();
    this.become("connecting");
    const socket = new WebSocket(this.url);
    this.socket = socket;
    this.listen(WELCOME_MS);
    socket.onopen = () => this.write("hello", this.hello());
    socket.onmessage = (message) => this.read(message.data);
    socket.onclose = (event) => this.ended(event.code, event.reason);
  }

  read(raw) {
    this.listen(SILENCE_MS);
    let frame;
    try {
      frame = JSON.parse(raw);
    } catch {
      return;
    }
    if (frame.type === "ping") return this.write("pong", { t: frame.data?.t ?? 0 });
    if (frame.type === "welcome") {
      this.attempt = 0;
      this.become("open");
    }
    this.receive(frame);
  }

  /** Whoever is silent for too long is gone, whatever the operating system believes. */
  listen(ms) {
    clearTimeout(this.watch);
    this.watch = setTimeout(() => this.drop(), ms);
  }

  drop() {
    this.forget();
    this.ended(1006, "");
  }

  forget() {
    clearTimeout(this.watch);
    if (!this.socket) return;
    this.socket.onopen = this.socket.onmessage = this.socket.onclose = null;
    this.socket.close();
    this.socket = null;
  }

  ended(code, reason) {
    this.forget();
    const verdict = this.closed(code, reason);
    if (this.state === "stopped") return;
    if (verdict === "stop") return this.stop();
    if (verdict === "now" && this.attempt === 0) {
      this.attempt += 1;
      return this.open();
    }
    this.become("waiting");
    this.timer = setTimeout(() => this.open(), this.pause(code, reason));
  }

  /** Full jitter: anything from nothing to the limit, so that a thousand shops do not knock at the same moment. */
  pause(code, reason) {
    const limit = Math.min(LONGEST_MS, FIRST_MS * 2 ** this.attempt);
    this.attempt += 1;
    const asked = Number(/retry_after_ms\D*(\d+)/.exec(reason ?? "")?.[1] ?? (code === 4429 ? 5000 : 0));
    return Math.min(LONGEST_MS, asked) + Math.random() * limit;
  }

  become(state) {
    if (state === this.state) return;
    this.state = state;
    this.changed(state);
  }
}

/** The socket address beside a page address. */
export function socketUrl(path, base) {
  const url = new URL(path, base);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

/** A fresh id for a message; randomUUID is missing on pages without https. */
export function identifier() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
