// Ordinary purchase: choose, check, place the order, go to the cashier.

import { callPatiently } from "./api.js";
import { el, live } from "./dom.js";
import { fen, money, pictureOf } from "./format.js";
import { t } from "./i18n.js";
import { busy, failure, orderCard, readOrder } from "./order.js";
import { goToCashierTelling } from "./pay.js";
import { askForLogin, currentBuyer, refreshBuyer } from "./session.js";

const LARGEST_QUANTITY = 99;
const ONLINE = 0;
const ON_DELIVERY = 1;
const REPEATED_OR_STALE = 1;
const PRICE_CHANGED = 3;
const DELIVERY_COMPANY = "顺丰速运";

/** Chosen quantities by SKU. */
const chosen = new Map();
const at = (id) => document.getElementById(id);
const say = (words) => live(at("shop-status"), words);

/** Fills the shelf. */
export async function startShop() {
  const answer = await callPatiently("GET", "/api/v1/skus");
  if (!answer.ok) return say(() => failure(answer));
  const skus = answer.body.data;
  if (skus.length === 0) return say(() => t("shop.none"));
  const checkOut = el("button", { type: "button", class: "main", id: "check-out" }, () => t("shop.confirm"));
  checkOut.addEventListener("click", () => busy(checkOut, confirm));
  at("shelf").replaceChildren(...skus.map(shelfItem));
  at("shelf").after(el("p", { class: "buttons" }, checkOut));
}

/** Forgets what the last buyer was about to order. */
export function resetShop() {
  at("checkout").replaceChildren();
  say(() => "");
}

function shelfItem(sku) {
  const words = (sku.attributes ?? []).map(({ value }) => value).join(" · ");
  return el(
    "article",
    { class: "sku", "data-sku": sku.sku_id },
    el("img", { src: pictureOf(sku.image), alt: "", width: "72", height: "72" }),
    el("div", {}, el("h3", {}, sku.title), el("p", { class: "hint" }, words), el("p", {}, () => money(sku.price, sku.currency))),
    quantity(sku),
  );
}

function quantity({ sku_id, title }) {
  const input = el("input", {
    type: "number",
    inputmode: "numeric",
    min: "0",
    max: String(LARGEST_QUANTITY),
    value: "0",
    "aria-label": () => t("shop.quantity", { title }),
  });
  const set = (value) => {
    const count = Math.min(LARGEST_QUANTITY, Math.max(0, Math.trunc(Number(value)) || 0));
    input.value = String(count);
    chosen.set(sku_id, count);
  };
  input.addEventListener("change", () => set(input.value));
  const step = (sign, key, by) => {
    const button = el("button", { type: "button", class: "step", "aria-label": () => t(key) }, sign);
    button.addEventListener("click", () => set(Number(input.value) + by));
    return button;
  };
  return el("div", { class: "quantity" }, step("−", "shop.less", -1), input, step("+", "shop.more", 1));
}

/** Asks the server for prices, addresses and an order token. */
async function confirm() {
  if (!currentBuyer()) {
    say(() => t("session.needed"));
    return askForLogin();
  }
  const wanted = Object.fromEntries([...chosen].filter(([, count]) => count > 0));
  if (Object.keys(wanted).length === 0) return say(() => t("shop.nothing"));
  say(() => "");
  const answer = await callPatiently("POST", "/order/confirm", { body: wanted });
  if (answer.status === 401) refreshBuyer();
  if (!answer.ok || answer.body?.code !== 0) return say(() => failure(answer));
  showCheckout(answer.body.data);
}

function showCheckout(page) {
  const heading = el("h3", { tabindex: "-1" }, () => t("checkout.heading"));
  const submit = el("button", { type: "submit", class: "main", id: "place-order" }, () => t("checkout.submit"));
  const back = el("button", { type: "button", class: "quiet" }, () => t("checkout.back"));
  back.addEventListener("click", () => {
    resetShop();
    at("check-out").focus();
  });
  const form = el(
    "form",
    { class: "card checkout" },
    heading,
    lines(page.orderItems),
    el("p", { class: "total" }, () => t("checkout.total"), " ", el("strong", {}, () => money(totalOf(page.orderItems)))),
    el("p", { class: "hint" }, () => t("checkout.points", { points: page.bounds })),
    addresses(page.addresses),
    payTypes(),
    el("p", { class: "buttons" }, submit, " ", back),
  );
  submit.disabled = page.addresses.length === 0;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    busy(submit, () => place(page, new FormData(form)));
  });
  at("checkout").replaceChildren(form);
  heading.focus();
}

function totalOf(items) {
  return items.reduce((sum, { price, count }) => sum + fen(price) * count, 0) / 100;
}

function lines(items) {
  const row = ({ title, price, count }) =>
    el("tr", {}, el("th", { scope: "row" }, title), el("td", {}, () => money(price)), el("td", {}, `× ${count}`));
  return el("table", {}, el("tbody", {}, ...items.map(row)));
}

function addresses(list) {
  if (list.length === 0) return el("p", { class: "notice" }, () => t("checkout.noAddress"));
  const preferred = Math.max(0, list.findIndex(({ defaultStatus }) => defaultStatus === 1));
  const words = (address) =>
    `${address.name} ${address.phone}，${address.province}${address.city}${address.region}${address.detailAddress}`;
  const options = list.map((address, index) => choice("address", index, index === preferred, () => words(address)));
  return el("fieldset", {}, el("legend", {}, () => t("checkout.address")), ...options);
}

function payTypes() {
  return el(
    "fieldset",
    {},
    el("legend", {}, () => t("checkout.pay")),
    choice("payType", ONLINE, true, () => t("checkout.online")),
    choice("payType", ON_DELIVERY, false, () => t("checkout.delivery")),
  );
}

function choice(name, value, checked, words) {
  const input = el("input", { type: "radio", name, value: String(value) });
  input.checked = checked;
  return el("label", { class: "choice" }, input, words);
}

/** Places the order. The token makes repeating safe: it makes one order at most. */
async function place(page, form) {
  const payType = Number(form.get("payType"));
  const { id, memberId, ...address } = page.addresses[Number(form.get("address"))];
  const body = {
    ...address,
    orderToken: page.orderToken,
    totalPrice: totalOf(page.orderItems),
    payType,
    delivery_company: DELIVERY_COMPANY,
    orderItems: page.orderItems,
  };
  const answer = await callPatiently("POST", "/order/submit", { body });
  if (answer.status === 401) refreshBuyer();
  const data = answer.body?.data;
  if (!answer.ok) return say(() => failure(answer));
  if (typeof data === "string") return goToCashierTelling(data, at("shop-status"));
  if (!data) return say(() => failure(answer));
  if (!data.code) return showPlaced(data, "submit.done");
  return refused(data);
}

async function refused(data) {
  if (data.code === REPEATED_OR_STALE && orderSnOf(data)) return showPlaced(data, "submit.1.made");
  if (data.code === PRICE_CHANGED) await confirm();
  if (data.code === REPEATED_OR_STALE) at("checkout").replaceChildren();
  say(() => t(`submit.${data.code}`));
}

/** An order that needs no cashier now: shown in place of the form. */
async function showPlaced(data, key) {
  for (const input of at("shelf").querySelectorAll("input")) input.value = "0";
  chosen.clear();
  const answer = await readOrder(orderSnOf(data));
  say(() => t(key));
  at("checkout").replaceChildren(...(answer.ok ? [orderCard(answer.body)] : []));
}

function orderSnOf({ orderEntity, orderId }) {
  return orderEntity?.orderSn ?? orderId;
}
