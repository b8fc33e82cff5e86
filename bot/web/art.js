/* The sample shop's products, drawn: one picture a category, a colour a product. */

const SVG = "http://www.w3.org/2000/svg";
const INK = "#22332b";
const CREAM = "#fbf6ea";
const WOOD = "#a86b3c";
const TONES = [
  { wash: "sage", main: "#5b8f76", soft: "#a9cbb8" },
  { wash: "clay", main: "#c9734b", soft: "#eab898" },
  { wash: "sky", main: "#5d86a6", soft: "#b2cbdd" },
  { wash: "straw", main: "#d1a24a", soft: "#eed39a" },
  { wash: "heather", main: "#8f7399", soft: "#cdbbd4" },
];

/* Shapes as [path, fill, stroke width]; "main" and "soft" are the product's colours. 200 units square. */
const DRAWINGS = {
  kettles: [
    ["M62 76c0-48 76-48 76 0", "none", 11, WOOD], ["M140 112c26-2 30-26 46-30l7 10c-14 9-13 42-49 47Z", "main", 4],
    ["M52 84h96c9 28 16 62 9 84-2 7-7 10-14 10H57c-7 0-12-3-14-10-7-22 0-56 9-84Z", "main", 4],
    ["M62 84c3-15 73-15 76 0Z", "soft", 4], ["M100 60v10", "none", 9, WOOD], ["M61 104c-5 22-8 40-5 58", "none", 5, CREAM],
  ],
  coffee: [
    ["M64 42h72l-22 52h-28Z", "soft", 4], ["M136 50c26-3 26 30-8 26", "none", 5], ["M80 94h40v10H80Z", WOOD, 4],
    ["M72 104h56c16 20 22 40 18 58-2 9-7 13-15 13H69c-8 0-13-4-15-13-4-18 2-38 18-58Z", CREAM, 4],
    ["M57 138h86c3 9 4 16 3 24-2 9-7 13-15 13H69c-8 0-13-4-15-13-1-8 0-15 3-24Z", "main", 4], ["M84 28c-7-9 7-13 0-22M104 28c-7-9 7-13 0-22", "none", 4, "main"],
  ],
  cookware: [
    ["M22 96h22M156 96h22", "none", 12, INK], ["M40 84h120v56c0 18-12 30-30 30H70c-18 0-30-12-30-30Z", "main", 4],
    ["M34 84c4-30 128-30 132 0Z", "soft", 4], ["M88 54c0-16 24-16 24 0Z", WOOD, 4], ["M54 100v38c0 9 3 15 9 18", "none", 5, CREAM],
  ],
  knives: [
    ["M18 74h104v40C78 116 36 104 18 74Z", CREAM, 4], ["M30 84h80", "none", 4, "soft"], ["M122 70h12v46h-12Z", "soft", 4],
    ["M134 74h44c7 0 11 6 9 13l-5 19c-2 5-5 8-10 8h-38Z", "main", 4], ["M146 92h.1M162 92h.1", "none", 7, CREAM],
    ["M26 142h148v20H26Z", WOOD, 4], ["M38 152h36M92 152h20", "none", 4, "#c58d5f"],
  ],
  lamps: [
    ["M60 178h70", "none", 10, INK], ["M95 176 74 112l58-40", "none", 7, INK], ["M74 112h.1M95 172h.1", "none", 14, WOOD],
    ["M112 44c20-16 48-2 52 22l-46 34c-18-14-22-40-6-56Z", "main", 4], ["M118 100l46-34c6 14-32 46-46 34Z", "#f7dd9c", 4],
    ["M150 104l12 22M166 92l22 12", "none", 4, "#e4b958"],
  ],
  fans: [
    ["M66 182h68", "none", 10, INK], ["M100 130v50", "none", 9, INK], ["M100 20a58 58 0 1 1-.1 0Z", CREAM, 4],
    ["M100 78c-10-20-6-42 10-46 12 10 8 32-10 46Zm0 0c20-6 40 4 40 22-16 6-34-4-40-22Zm0 0c-6 20-26 32-40 22 2-18 20-28 40-22Z", "main", 3],
    ["M100 70a8 8 0 1 1-.1 0Z", WOOD, 3], ["M64 42c-12 14-16 34-10 52", "none", 4, "soft"],
  ],
  bedding: [
    ["M30 96c0-16 6-28 22-28h96c16 0 22 12 22 28v12H30Z", WOOD, 4], ["M46 92c0-18 12-22 26-22s26 4 26 22-12 20-26 20-26-2-26-20Zm56 0c0-18 12-22 26-22s26 4 26 22-12 20-26 20-26-2-26-20Z", CREAM, 4],
    ["M22 116c0-8 6-14 14-14h128c8 0 14 6 14 14v46H22Z", "main", 4], ["M22 132c28-12 48 8 78 0s52-8 78 0v-18c0-7-6-12-14-12H36c-8 0-14 5-14 12Z", "soft", 4],
    ["M32 164v16M168 164v16", "none", 9, INK],
  ],
  towels: [
    ["M24 48h152", "none", 10, WOOD], ["M52 44h66v112H52Z", "main", 4], ["M52 132h66v10H52Z", CREAM, 0], ["M104 44h50v76h-50Z", "soft", 4],
    ["M104 100h50v8h-50Z", CREAM, 0], ["M56 156v10M66 156v10M76 156v10M86 156v10M96 156v10M106 156v10M114 156v10", "none", 3],
  ],
  furniture: [
    ["M30 78c0-16 140-16 140 0s-140 16-140 0Z", "main", 4], ["M44 90 34 182M156 90l10 92M100 94v60", "none", 9, WOOD], ["M40 140h120", "none", 6, WOOD],
    ["M84 66c-4-18-22-22-28-34 16-2 30 10 32 26 0-18 8-30 24-36 4 16-8 30-20 44Z", "#5b8f76", 3], ["M72 62h34l-4 20H76Z", CREAM, 4],
  ],
  storage: [
    ["M36 108h128v64c0 6-4 10-10 10H46c-6 0-10-4-10-10Z", "main", 4], ["M30 96h140v18H30Z", "soft", 4], ["M82 136h36", "none", 9, CREAM],
    ["M54 46h92v50H54Z", CREAM, 4], ["M48 38h104v14H48Z", WOOD, 4], ["M88 70h24", "none", 7, "soft"],
  ],
  vacuums: [
    ["M148 22 96 128", "none", 9, INK], ["M140 18c16-6 26 6 20 20l-22 38-24-12Z", "main", 4], ["M128 70c12 4 18 16 12 28l-8 12-26-14 8-14c4-8 8-12 14-12Z", CREAM, 4],
    ["M96 124 72 164", "none", 12, "soft"], ["M34 160h66l10 20H24Z", "main", 4], ["M40 170h44", "none", 4, CREAM],
  ],
  "air purifiers": [
    ["M56 46c0-14 88-14 88 0v118c0 16-88 16-88 0Z", CREAM, 4], ["M56 46c0 14 88 14 88 0s-88-14-88 0Z", "main", 4], ["M76 47c8 6 40 6 48 0", "none", 4, CREAM],
    ["M70 92v56M82 96v58M94 98v60M106 98v60M118 96v58M130 92v56", "none", 4, "soft"], ["M92 76h16", "none", 6, "main"], ["M84 26c-6-8 6-12 0-20M116 26c-6-8 6-12 0-20", "none", 4, "soft"],
  ],
};

/** The picture of a product on its coloured ground. */
export function picture(product) {
  const tone = TONES[[...product.sku].reduce((sum, c) => sum * 7 + c.charCodeAt(0), 0) % TONES.length];
  const box = document.createElement("div");
  box.className = `art ${tone.wash}`;
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 200 200");
  svg.setAttribute("aria-hidden", "true");
  for (const [d, fill, width, stroke = INK] of DRAWINGS[product.category] ?? DRAWINGS.storage) {
    const path = document.createElementNS(SVG, "path");
    const colour = (name) => tone[name] ?? name;
    const facts = { d, fill: colour(fill), stroke: width ? colour(stroke) : "none", "stroke-width": width, "stroke-linejoin": "round", "stroke-linecap": "round" };
    for (const [name, value] of Object.entries(facts)) path.setAttribute(name, value);
    svg.append(path);
  }
  box.append(svg);
  return box;
}
