/* Building elements without a word of HTML: what a shopper or a model wrote stays text. */

const SVG = "http://www.w3.org/2000/svg";

/** An element: `onclick` and the like are listeners, the rest attributes; nothing, false and null are left out. */
export function h(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat().filter((child) => child !== undefined && child !== null && child !== false));
  return node;
}

/* 24 units square, drawn by stroke. */
const ICONS = {
  chat: ["M4 12a8 7.2 0 1 1 3.6 6L4 19.4l1-3.3A7 7 0 0 1 4 12Z", "M9 11.8h.01M12.5 11.8h.01M16 11.8h.01"],
  close: ["M6 6l12 12M18 6 6 18"],
  down: ["M6 9.5l6 6 6-6"],
  send: ["M12 19V5.5M6 11l6-6 6 6"],
  person: ["M12 12a3.6 3.6 0 1 0 0-7.2 3.6 3.6 0 0 0 0 7.2Z", "M5 19.4c.8-3.4 3.6-5 7-5s6.200 1.600 7 5"],
  up: ["M8 11l3.600-6.500c1.500 0 2.400 1.200 2.100 2.700L13.200 10H18a1.700 1.700 0 0 1 1.700 2l-1.100 5.600A1.800 1.800 0 0 1 16.800 19H8Z", "M8 11H4.500v8H8"],
  thumbdown: ["M16 13l-3.600 6.500c-1.500 0-2.400-1.200-2.100-2.700L10.800 14H6a1.700 1.700 0 0 1-1.700-2l1.100-5.600A1.800 1.800 0 0 1 7.200 5H16Z", "M16 13h3.500V5H16"],
  link: ["M14 5h5v5M19 5l-8 8", "M11 6H6.500A1.500 1.500 0 0 0 5 7.500v10A1.500 1.500 0 0 0 6.500 19h10a1.500 1.500 0 0 0 1.500-1.500V13"],
  again: ["M19 12a7 7 0 1 1-2.300-5.200M19 4.500V8h-3.500"],
  more: ["M6 12h.01M12 12h.01M18 12h.01"],
  globe: ["M12 20a8 8 0 1 0 0-16 8 8 0 0 0 0 16Z", "M4 12h16M12 4c4.600 4.600 4.600 11.400 0 16-4.600-4.600-4.600-11.400 0-16Z"],
  leaf: ["M6 19c0-9 5-13 13-14 0 9-4 13-11 13", "M6 19c1.500-4 4-6.500 7.500-8.500"],
  star: ["M12 4.500l2.300 4.800 5.200.7-3.800 3.600.9 5.200L12 16.300l-4.600 2.500.9-5.200L4.500 10l5.200-.7Z"],
  pen: ["M5 19l1-4L16 5l3 3L9 18Z"],
};

/** A drawing, hidden from screen readers: the button around it carries the label. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", "icon");
  for (const d of ICONS[name]) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", d);
    svg.append(path);
  }
  return svg;
}

/** Whether two dates fall on the same day, and how a time reads in a language. */
export function clock(ts, locale) {
  const date = new Date(ts);
  if (Number.isNaN(date.getTime())) return "";
  const today = date.toDateString() === new Date().toDateString();
  const day = today ? {} : { month: "short", day: "numeric" };
  return new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit", ...day }).format(date);
}
