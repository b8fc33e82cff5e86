/* The sample shop's page: products, language, signing in as a sample shopper. Shows how a shop hands a token to the widget. */

import { picture } from "./art.js";
import { h } from "./dom.js";
import { languageOf } from "./words.js";

const FIRST = ["FH-1002", "FH-2002", "FH-3001", "FH-4002", "FH-1105", "FH-5002", "FH-2101", "FH-6001"];

const WORDS = {
  en: {
    name: "Fernhill", news: "News", nav: "Sections", skip: "Skip to the products", ribbon: "Free standard delivery on orders of $49 or more", shop: "Shop", service: "Service",
    account: "Sample shopper", nobody: "Not signed in", language: "中文", languageLabel: "切换到中文",
    headline: "Good things for the quiet hours.",
    lead: "Kettles that pour where you point them, lamps that are kind to late readers, linen that gets better with every wash.",
    look: "See the shop", ask: "Ask us anything", products: "From the shelves", filter: "Category", all: "All", more: "Show everything",
    askAbout: "Ask about it", about: (name) => `I have a question about the ${name}. How long is the warranty?`,
    serviceTitle: "Questions? Somebody is in.",
    serviceText: "The assistant answers from our own help pages and shows you where it read it. Whenever you would rather talk to a person, it passes you on with everything you have said.",
    questions: ["How long does delivery take?", "How do I return something?", "Where is my order?", "Can I pay with PayPal?", "What does Fernhill Circle give me?"],
    sample: "A sample shop: nothing is sold here.", desk: "Human agents’ desk", docs: "API",
    orders: "Signed in. Ask about ",
    categories: { kettles: "Kettles", coffee: "Coffee", cookware: "Cookware", knives: "Knives", lamps: "Lamps", fans: "Fans", bedding: "Bedding", towels: "Towels", furniture: "Furniture", storage: "Storage", vacuums: "Vacuums", "air purifiers": "Air purifiers" },
    price: (price) => `$${price.USD}`,
  },
  zh: {
    name: "蕨岭", news: "公告", nav: "导航", skip: "跳到商品", ribbon: "满 99 元包邮，现货 48 小时内发货", shop: "商品", service: "服务",
    account: "示例顾客", nobody: "未登录", language: "English", languageLabel: "Switch to English",
    headline: "好物，安放静好时光。",
    lead: "指哪儿浇哪儿的手冲壶，体贴夜读人的台灯，越洗越柔软的亚麻。",
    look: "逛一逛", ask: "问问客服", products: "货架上", filter: "分类", all: "全部", more: "查看全部",
    askAbout: "问问客服", about: (name) => `想问一下${name}，保修多久？`,
    serviceTitle: "有问题？我们在。",
    serviceText: "智能助手依据帮助页面作答，并告诉您出处。想和真人聊，随时转人工，聊过的内容会一并带过去。",
    questions: ["多久能发货？", "怎么退货？", "我的订单到哪儿了？", "支持花呗吗？", "会员积分怎么用？"],
    sample: "示例商店，不实际销售商品。", desk: "人工客服工作台", docs: "接口文档",
    orders: "已登录，可以问问订单 ",
    categories: { kettles: "水壶", coffee: "咖啡", cookware: "锅具", knives: "刀具", lamps: "灯具", fans: "风扇", bedding: "床品", towels: "毛巾", furniture: "家具", storage: "收纳", vacuums: "吸尘器", "air purifiers": "空气净化" },
    price: (price) => `¥${price.CNY.replace(/\.00$/, "")}`,
  },
};

const state = { language: languageOf(recall(localStorage, "fernhill:language") ?? navigator.language), category: null, all: false, products: [], shoppers: [] };
const at = (id) => document.getElementById(id);
const widget = customElements.whenDefined("shoptalk-chat").then(() => document.querySelector("shoptalk-chat"));

function draw() {
  const w = WORDS[state.language];
  document.documentElement.lang = state.language;
  document.title = `${w.name} — ${w.headline}`;
  document.querySelectorAll("[data-say]").forEach((node) => (node.textContent = w[node.dataset.say]));
  document.querySelectorAll("[data-label]").forEach((node) => node.setAttribute("aria-label", w[node.dataset.label]));
  at("language").textContent = w.language;
  at("language").setAttribute("aria-label", w.languageLabel);
  at("language").lang = state.language === "en" ? "zh" : "en";
  at("questions").replaceChildren(...w.questions.map((text) => h("button", { type: "button", onclick: () => ask(text) }, text)));
  drawShoppers();
  drawProducts();
}

function drawProducts() {
  const w = WORDS[state.language];
  const categories = [...new Set(state.products.map((product) => product.category))];
  const choice = (category, text) => h("button", {
    type: "button", "aria-pressed": String(state.category === category),
    onclick: () => { Object.assign(state, { category, all: category === null && state.all }); drawProducts(); },
  }, text);
  at("filter").replaceChildren(choice(null, w.all), ...categories.map((category) => choice(category, w.categories[category] ?? category)));
  const first = FIRST.map((sku) => state.products.find((product) => product.sku === sku)).filter(Boolean);
  const shown = state.category ? state.products.filter((product) => product.category === state.category)
    : state.all || first.length < 4 ? state.products : first;
  at("grid").replaceChildren(...shown.map((product) => card(product, w)));
  at("more").hidden = Boolean(state.category) || shown.length === state.products.length;
}

function card(product, w) {
  const name = product.name[state.language];
  return h("li", { class: "product", "data-sku": product.sku }, picture(product), h("h3", {}, name),
    h("p", {}, h("span", {}, w.price(product.price)),
      h("button", { type: "button", "aria-label": `${w.askAbout}: ${name}`, onclick: () => ask(w.about(name)) }, w.askAbout)));
}

function drawShoppers() {
  const w = WORDS[state.language];
  const chosen = recall(sessionStorage, "fernhill:shopper") ?? "";
  at("shopper").replaceChildren(h("option", { value: "" }, w.nobody),
    ...state.shoppers.map(({ id }) => h("option", { value: id, selected: id === chosen }, id)));
  const orders = state.shoppers.find(({ id }) => id === chosen)?.orders ?? [];
  at("orders").hidden = orders.length === 0;
  at("orders").replaceChildren(w.orders, ...orders.slice(0, 4).flatMap((number, index) => [index ? " · " : "", h("code", {}, number)]));
}

async function list(address) {
  const answer = await fetch(address);
  return answer.ok ? answer.json() : [];
}

async function ask(text) {
  (await widget).ask(text);
}

/** The shop's own server signs who the shopper is; the widget is handed the token. */
async function signIn(shopper, options) {
  const token = shopper ? (await (await fetch(`/demo/token?shopper=${encodeURIComponent(shopper)}`)).json()).token : null;
  (await widget).identify(token, options);
}

function speak(language) {
  state.language = language;
  keep(localStorage, "fernhill:language", language);
  draw();
  widget.then((chat) => {
    chat.dataset.title = WORDS[language].name;
    chat.speak(language);
  });
}

function recall(storage, key) {
  try {
    return storage.getItem(key);
  } catch {
    return null;
  }
}

function keep(storage, key, value) {
  try {
    storage.setItem(key, value);
  } catch {
    // Forbidden: the choice lasts as long as the page.
  }
}

at("language").addEventListener("click", () => speak(state.language === "en" ? "zh" : "en"));
at("ask").addEventListener("click", async () => (await widget).open());
at("more").addEventListener("click", () => { state.all = true; drawProducts(); });
at("shopper").addEventListener("change", async (event) => {
  keep(sessionStorage, "fernhill:shopper", event.target.value);
  drawShoppers();
  await signIn(event.target.value, { anew: true });
});
document.addEventListener("shoptalk-locale", (event) => event.detail !== state.language && speak(event.detail));
document.addEventListener("shoptalk-token", () => signIn(recall(sessionStorage, "fernhill:shopper")), { once: true });

draw();
speak(state.language);
[state.products, state.shoppers] = await Promise.all([list("/demo/products"), list("/demo/shoppers")]);
draw();
const shopper = recall(sessionStorage, "fernhill:shopper");
if (shopper && state.shoppers.some(({ id }) => id === shopper)) await signIn(shopper);
