/* The widget's style sheet. A module rather than a .css file: adopted by the shadow root, it needs no leave of the shop's
 * content security policy, and is there before the first paint. A shop sets the --shoptalk-… properties. */

export const LOOK = `
:host {
  --accent: var(--shoptalk-accent, #2a6b52);
  --accent-ink: var(--shoptalk-accent-ink, #fff);
  --accent-text: light-dark(var(--accent), color-mix(in oklab, var(--accent) 45%, #fff));
  --tint: light-dark(color-mix(in oklab, var(--accent) 9%, #fff), color-mix(in oklab, var(--accent) 26%, #151917));
  --surface: light-dark(#fff, #151917);
  --raised: light-dark(#f2f5f3, #222825);
  --ink: light-dark(#17211c, #edf1ee);
  --muted: light-dark(#59665f, #a4b0aa);
  --line: light-dark(#e3e8e5, #303834);
  --edge: light-dark(#818e87, #737f79);
  --bad: light-dark(#b3261e, #ff9b90);
  --radius: var(--shoptalk-radius, 20px);
  --shadow: 0 1px 2px rgb(10 30 20 / 8%), 0 12px 40px rgb(10 30 20 / 18%);
  color-scheme: light dark;
  position: fixed; z-index: 2147483000; inset: auto max(20px, env(safe-area-inset-right)) max(20px, env(safe-area-inset-bottom)) auto;
}
:host([data-side="left"]) { inset-inline: max(20px, env(safe-area-inset-left)) auto; }
:host([data-theme="light"]) { color-scheme: light; }
:host([data-theme="dark"]) { color-scheme: dark; }
/* What a page says of every element stops here. */
.panel, .launcher {
  font: 400 15px/1.5 var(--shoptalk-font, system-ui, -apple-system, "Segoe UI", Roboto, "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif);
  color: var(--ink);
  letter-spacing: normal; word-spacing: normal; text-transform: none; text-align: start; text-indent: 0; white-space: normal; cursor: auto;
}
*, *::before, *::after { box-sizing: border-box; }
[hidden] { display: none !important; }
button, textarea { font: inherit; color: inherit; letter-spacing: inherit; }
button { border: 0; background: none; padding: 0; cursor: pointer; touch-action: manipulation; }
button:disabled { cursor: default; opacity: .6; }
:focus { outline: none; }
:focus-visible { outline: 2px solid var(--accent-text); outline-offset: 2px; }
h2, h3, p, ul, blockquote, fieldset { margin: 0; padding: 0; border: 0; }
.icon { width: 22px; height: 22px; fill: none; stroke: currentColor; stroke-width: 1.7; stroke-linecap: round; stroke-linejoin: round; flex: none; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }

.launcher {
  cursor: pointer; width: 60px; height: 60px; border-radius: 50%; background: var(--accent); color: var(--accent-ink); box-shadow: var(--shadow);
  display: grid; place-items: center; position: relative; transition: transform .18s ease, filter .18s ease;
}
.launcher:focus-visible { outline: 3px solid var(--surface); box-shadow: 0 0 0 6px var(--accent-text); outline-offset: 0; }
.launcher .icon { width: 28px; height: 28px; grid-area: 1 / 1; transition: opacity .18s, transform .18s; }
.launcher .icon + .icon, :host([open]) .launcher .icon { opacity: 0; transform: rotate(-30deg) scale(.7); }
:host([open]) .launcher .icon + .icon { opacity: 1; transform: none; }
.badge {
  position: absolute; top: -3px; right: -3px; min-width: 22px; height: 22px; padding: 0 6px; border-radius: 11px; background: #b3261e; color: #fff;
  font-size: 12px; font-weight: 650; line-height: 22px; text-align: center; box-shadow: 0 0 0 2px var(--surface);
}

.panel {
  position: absolute; inset: auto 0 76px auto; margin: 0; padding: 0; border: 1px solid var(--line); border-radius: var(--radius); overflow: hidden;
  width: min(400px, calc(100vw - 32px)); height: min(680px, calc(100dvh - 116px)); max-width: none; max-height: none;
  background: var(--surface); box-shadow: var(--shadow); flex-direction: column;
}
:host([data-side="left"]) .panel { inset-inline: 0 auto; }
.panel[open] { display: flex; animation: rise .22s cubic-bezier(.2, .8, .3, 1); }
.panel::backdrop { background: none; }
@keyframes rise { from { opacity: 0; transform: translateY(12px) scale(.985); } }
@keyframes appear { from { opacity: 0; transform: translateY(6px); } }

.bar { display: flex; align-items: center; gap: 10px; padding: 12px 8px 12px 16px; border-bottom: 1px solid var(--line); }
.bar .mark { width: 38px; height: 38px; border-radius: 12px; background: var(--accent); color: var(--accent-ink); display: grid; place-items: center; flex: none; }
.titles { flex: 1; min-width: 0; }
h2, h3 { font-size: 16px; line-height: 1.3; font-weight: 650; letter-spacing: -.005em; }
.subtitle { font-size: 13px; line-height: 1.35; color: var(--muted); overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.panel[data-owner="human"] .bar .subtitle { color: var(--accent-text); font-weight: 550; }
.round { width: 44px; height: 44px; border-radius: 50%; display: grid; place-items: center; color: var(--muted); flex: none; }
.round + .round { margin-inline-start: -8px; }

.banner, .queue { padding: 10px 16px; font-size: 14px; border-bottom: 1px solid var(--line); display: flex; gap: 6px 12px; align-items: center; justify-content: space-between; }
.banner { background: var(--raised); }
.queue { background: var(--tint); flex-direction: column; align-items: flex-start; gap: 0; }
.queue strong { font-weight: 650; font-variant-numeric: tabular-nums; }
.queue span { color: var(--muted); font-size: 13px; }
.plain { min-height: 44px; padding: 0 14px; border-radius: 22px; font-weight: 600; color: var(--accent-text); border: 1px solid var(--edge); }

.scroll { flex: 1; overflow-y: auto; overscroll-behavior: contain; padding: 18px 16px 8px; scrollbar-width: thin; scrollbar-color: var(--line) transparent; }
.scroll:focus-visible { outline-offset: -3px; }
.log { display: flex; flex-direction: column; gap: 10px; }
.draft:not(:empty) { margin-top: 10px; }
.message { display: flex; flex-direction: column; max-width: 88%; align-items: flex-start; }
.fresh { animation: appear .22s ease-out; }
.message.shopper { align-self: flex-end; align-items: flex-end; }
.bubble { padding: 9px 14px; border-radius: 18px; background: var(--raised); overflow-wrap: anywhere; border-end-start-radius: 6px; max-width: 100%; }
.shopper .bubble { background: var(--accent); color: var(--accent-ink); border-radius: 18px; border-end-end-radius: 6px; }
.human .bubble { background: var(--tint); }
.sending .bubble { opacity: .75; }
.bubble p + p, .bubble ul + p, .bubble p + ul { margin-top: 7px; }
.bubble ul, blockquote ul { padding-inline-start: 18px; }
.bubble li + li, blockquote li + li { margin-top: 4px; }
.bubble li::marker, blockquote li::marker { color: var(--muted); }
.bubble a { color: inherit; text-underline-offset: 2px; }
.author { display: flex; align-items: center; gap: 7px; font-size: 13px; font-weight: 600; margin: 2px 0 5px; }
.author i { width: 22px; height: 22px; border-radius: 50%; background: var(--accent); color: var(--accent-ink); font-size: 11px; font-weight: 650; line-height: 22px; text-align: center; font-style: normal; }
.hello { display: flex; flex-direction: column; gap: 12px; margin-bottom: 4px; }
.starters { display: flex; flex-wrap: wrap; gap: 8px; }
.starter { min-height: 44px; padding: 6px 15px; border-radius: 22px; border: 1px solid var(--edge); color: var(--accent-text); text-align: start; font-weight: 550; font-size: 14px; line-height: 1.35; }
.system .starter { display: block; margin: 6px auto 0; text-wrap: wrap; }
.clamped { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2; overflow: hidden; }
.system { align-self: center; text-align: center; font-size: 13.5px; line-height: 1.45; color: var(--muted); padding: 4px 14px; max-width: 94%; text-wrap: balance; }
.time { align-self: center; font-size: 12px; color: var(--muted); padding: 6px 0 0; }

.cite {
  display: inline-grid; place-items: center; min-width: 19px; height: 19px; padding: 0 5px; margin-inline: 3px 1px; border-radius: 7px; position: relative; vertical-align: 1px;
  font-size: 11.5px; font-weight: 700; line-height: 1; color: var(--accent-text); background: light-dark(#fff, #151917); box-shadow: inset 0 0 0 1px color-mix(in oklab, var(--accent-text) 45%, transparent);
}
.together { white-space: nowrap; }
:lang(zh) .cite { margin-inline: 1px; }
button.cite::after { content: ""; position: absolute; inset: -12px -9px; }
.foot { display: flex; flex-direction: column; align-items: flex-start; gap: 2px; padding: 4px 2px 0; max-width: 100%; }
.sources { display: flex; flex-wrap: wrap; gap: 0 6px; max-width: 100%; }
.sourcechip { position: relative; display: inline-flex; align-items: center; gap: 6px; min-height: 32px; max-width: 100%; font-size: 12.5px; line-height: 1.35; color: var(--muted); text-align: start; padding: 2px 4px 2px 2px; }
.sourcechip::after { content: ""; position: absolute; inset: -6px 0; }
.sourcechip span { min-width: 0; overflow-wrap: anywhere; }
.sourcechip b { display: inline-grid; place-items: center; min-width: 17px; height: 17px; border-radius: 6px; font-size: 11px; background: var(--raised); color: var(--accent-text); flex: none; }
.marks { display: flex; align-items: center; gap: 8px; min-height: 30px; }
.mark { font-size: 12.5px; color: var(--muted); }
.thumbs { display: inline-flex; align-items: center; margin-inline-start: -7px; }
.mark + .thumbs { margin-inline-start: 0; }
.thumb { width: 34px; height: 32px; border-radius: 10px; display: grid; place-items: center; color: var(--muted); position: relative; }
.thumb::after { content: ""; position: absolute; inset: -6px -5px; }
.thumb + .thumb { margin-inline-start: 10px; }
.thumb .icon { width: 18px; height: 18px; }
.thumb[aria-pressed="true"] { color: var(--accent-text); background: var(--tint); }
.thumb[aria-pressed="true"] .icon { fill: color-mix(in oklab, currentColor 25%, transparent); }
.state { font-size: 12.5px; color: var(--muted); padding: 3px 4px 0; }
.state.bad { color: var(--bad); display: flex; flex-wrap: wrap; align-items: center; justify-content: flex-end; gap: 0 4px; }
.state button { min-height: 44px; padding: 0 8px; font-weight: 600; text-decoration: underline; text-underline-offset: 3px; }

.dots { display: flex; align-items: center; gap: 5px; color: var(--muted); font-size: 14px; min-height: 41px; }
.dots i { width: 6px; height: 6px; border-radius: 50%; background: currentColor; animation: breathe 1.3s infinite ease-in-out; }
.dots i:nth-child(2) { animation-delay: .16s; }
.dots i:nth-child(3) { animation-delay: .32s; }
.dots span { margin-inline-start: 6px; }
.more { display: inline-flex; gap: 4px; margin-inline-start: 7px; color: var(--muted); }
.more i { width: 5px; height: 5px; border-radius: 50%; background: currentColor; animation: breathe 1.3s infinite ease-in-out; }
.more i:nth-child(2) { animation-delay: .16s; }
.more i:nth-child(3) { animation-delay: .32s; }
@keyframes breathe { 0%, 70%, 100% { opacity: .3; } 35% { opacity: 1; } }
.typing { font-size: 13px; color: var(--muted); padding: 0 18px; }
.typing:not(:empty) { padding-block: 2px 6px; }
.stop {
  align-self: center; min-height: 44px; padding: 0 18px; margin: -2px 0 4px; border-radius: 22px; border: 1px solid var(--edge); background: var(--surface);
  font-size: 14px; font-weight: 600; display: inline-flex; align-items: center; gap: 9px;
}
.stop i { width: 10px; height: 10px; border-radius: 2.5px; background: currentColor; }

.card { border: 1px solid var(--line); border-radius: 16px; padding: 14px 16px; align-self: stretch; display: flex; flex-direction: column; gap: 10px; min-width: 0; }
.card.done { text-align: center; color: var(--muted); }
.card legend { float: left; padding: 0; font-weight: 600; }
.scores { display: grid; grid-template-columns: repeat(5, 1fr); gap: 6px; clear: both; }
.scores button { height: 44px; border-radius: 12px; background: var(--raised); font-weight: 650; font-variant-numeric: tabular-nums; }
.ends { display: flex; justify-content: space-between; font-size: 12.5px; color: var(--muted); }

.base { padding: 8px 12px max(6px, env(safe-area-inset-bottom)); }
.composer { display: flex; align-items: flex-end; gap: 6px; border: 1px solid var(--edge); border-radius: 26px; padding: 3px; position: relative; background: var(--surface); }
.composer:focus-within { border-color: var(--accent-text); box-shadow: 0 0 0 1px var(--accent-text); }
textarea { flex: 1; min-width: 0; border: 0; background: none; resize: none; padding: 10px 4px 10px 15px; line-height: 24px; height: 44px; max-height: 140px; font-size: 16px; outline: none; }
textarea:focus-visible { outline: none; }
textarea::placeholder { color: var(--muted); opacity: 1; }
.counter:not(:empty) { position: absolute; right: 14px; top: -22px; font-size: 12px; color: var(--muted); background: var(--surface); padding: 0 4px; }
.send { width: 44px; height: 44px; border-radius: 50%; background: var(--raised); color: var(--muted); display: grid; place-items: center; flex: none; transition: background .15s, color .15s; }
.ready .send { background: var(--accent); color: var(--accent-ink); }
.under { display: flex; justify-content: space-between; gap: 8px; }
.quiet { min-height: 44px; padding: 0 8px; font-size: 13.5px; font-weight: 550; color: var(--muted); display: inline-flex; align-items: center; gap: 7px; border-radius: 12px; }
.quiet .icon { width: 18px; height: 18px; }
.quiet[data-testid="handoff"] { color: var(--accent-text); }
.quiet:last-child { margin-inline-start: auto; }
.ended { display: flex; flex-direction: column; align-items: center; gap: 8px; padding: 8px 0 4px; color: var(--muted); }

.source {
  position: absolute; inset: auto 0 0; max-height: 72%; overflow-y: auto; background: var(--surface); border-top: 1px solid var(--line); border-radius: 20px 20px 0 0;
  box-shadow: 0 -10px 40px rgb(10 30 20 / 16%); padding-bottom: max(16px, env(safe-area-inset-bottom)); animation: appear .2s ease-out;
}
.source:focus-visible { outline-offset: -3px; }
.source .bar { border: 0; padding-bottom: 6px; align-items: flex-start; position: sticky; top: 0; background: var(--surface); }
.source .titles { padding-top: 1px; }
.number { width: 26px; height: 26px; margin-top: 1px; border-radius: 9px; display: grid; place-items: center; background: var(--tint); color: var(--accent-text); font-size: 13px; flex: none; }
blockquote { margin: 4px 20px 14px; padding-inline-start: 14px; border-inline-start: 3px solid color-mix(in oklab, var(--accent-text) 50%, transparent); overflow-wrap: anywhere; }
.source > a { display: inline-flex; align-items: center; gap: 6px; min-height: 44px; margin: -8px 20px 0; color: var(--accent-text); font-weight: 600; text-underline-offset: 3px; }
.source > a .icon { width: 17px; height: 17px; }

@media (max-width: 520px), (max-height: 440px) {
  :host([open]) .launcher { visibility: hidden; }
  .panel { position: fixed; inset: var(--top, 0) 0 auto; width: 100vw; height: var(--height, 100dvh); border: 0; border-radius: 0; padding-top: env(safe-area-inset-top); padding-inline: env(safe-area-inset-left) env(safe-area-inset-right); }
}
@media (hover: hover) {
  .launcher:hover { transform: translateY(-2px); filter: brightness(1.07); }
  .round:hover { background: var(--raised); color: var(--ink); }
  .plain:hover { background: var(--tint); }
  .starter:hover { background: var(--tint); border-color: var(--accent-text); }
  button.cite:hover { background: var(--accent); color: var(--accent-ink); }
  .sourcechip:hover { color: var(--accent-text); text-decoration: underline; text-underline-offset: 3px; }
  .thumb:hover { background: var(--raised); color: var(--ink); }
  .stop:hover { background: var(--raised); }
  .scores button:hover { background: var(--accent); color: var(--accent-ink); }
  .quiet:hover { color: var(--accent-text); }
}
@media (prefers-reduced-motion: reduce) {
  *, *::before, *::after { animation-duration: .01ms !important; animation-iteration-count: 1 !important; transition: none !important; }
}
@media (forced-colors: active) {
  .bubble, .launcher, .send, .cite, .card, .scores button { border: 1px solid; }
}
`;
