/* The one line that a shop puts on its pages:
 *
 *   <script src="https://bot.example/widget.js" data-site="default" defer></script>
 *
 * Optional: data-token (the shop's signed JWT: who the shopper is), data-locale (en, zh),
 * data-title (the name in the header), data-theme (light, dark; else as the system),
 * data-side (left, right), data-server (if the bot is not where this file comes from).
 * Colours: `shoptalk-chat { --shoptalk-accent: #2a6b52 }` in the shop's own style sheet.
 * From the page: document.querySelector("shoptalk-chat") has open(), close(), identify(token), speak(locale).
 *
 * A classic script, so that it may stand anywhere; the parts are modules and come when it runs.
 */
(() => {
  const script = document.currentScript;
  const element = document.createElement("shoptalk-chat");
  for (const [name, value] of Object.entries(script.dataset)) element.setAttribute(name, value);
  if (!element.hasAttribute("server")) element.setAttribute("server", new URL(".", script.src).href);
  import(new URL("web/chat.js", script.src).href)
    .then(() => document.body.append(element))
    .catch((error) => console.error("shoptalk: the chat could not be loaded.", error));
})();
