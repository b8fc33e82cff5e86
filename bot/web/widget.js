/* The one line that a shop puts on its pages:
 *
 *   <script src="https://bot.example/widget.js" data-site="default" defer></script>
 *
 * Optional: data-token (the shop's signed JWT: who the shopper is), data-locale (en, zh),
 * data-title (the name in the header), data-theme (light, dark; else as the system),
 * data-side (left, right), data-server (if the bot is not where this file comes from).
 * Colours: `shoptalk-chat { --shoptalk-accent: #2a6b52 }` in the shop's own style sheet.
 * From the page, once customElements.whenDefined("shoptalk-chat"): document.querySelector("shoptalk-chat") has
 * open(), close(), ask(text), identify(token), anew(), speak(locale). It tells of "shoptalk-locale" (the shopper chose a
 * language) and "shoptalk-token" (the token was refused: hand in a fresh one).
 *
 * A classic script, so that it may stand anywhere; the parts are modules and come when it runs.
 */
(() => {
  const script = document.currentScript;
  const element = document.createElement("shoptalk-chat");
  Object.assign(element.dataset, { server: new URL(".", script.src).href, ...script.dataset });
  const place = () => document.body.append(element);
  if (document.body) place();
  else addEventListener("DOMContentLoaded", place);
  import(new URL("web/chat.js", script.src).href).catch((error) =>
    console.error("shoptalk: the chat could not be loaded.", error));
})();
