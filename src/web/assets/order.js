// One order of the buyer: what it is, how long it may be paid, and what the buyer can do with it.

import { call, callPatiently, idempotencyKey, reasonOf } from "./api.js";
import { whileShown } from "./clock.js";
import { countdown } from "./countdown.js";
import { el, live } from "./dom.js";
import { dateTime, money, timeOfDay } from "./format.js";
import { knows, t } from "./i18n.js";
import { goToCashierTelling } from "./pay.js";

/** Reads one order. */
export function readOrder(orderSn) {
  return callPatiently("GET", `/api/v1/orders/${encodeURIComponent(orderSn)}`);
}

/** Words for a failed answer. */
export function failure(answer) {
  if (answer.status === 0) return t("error.network");
  if (answer.status === 401) return t("session.needed");
  if (answer.status === 429 || answer.status === 503) return t("error.busy");
  return t("error.any", { reason: reasonOf(answer) || answer.status });
}

/**
 * A card that shows an order and refreshes itself.
 * @param {any} order As `/api/v1/orders/{sn}` gives it.
 * @param {{payForm?: string, onChange?: (order: any) => void}} [options] `payForm`: a form that was issued already.
 */
export function orderCard(order, { payForm, onChange } = {}) {
  const label = () => `${t("order.number")} ${order.order_sn}`;
  const card = el("article", { class: "order", "data-order": order.order_sn, "aria-label": label });
  let form = payForm;

  const show = (next) => {
    card.dataset.status = next.status;
    card.replaceChildren(...parts(next, { refresh, takeForm }));
    onChange?.(next);
  };
  const refresh = async () => {
    const answer = await readOrder(order.order_sn);
    if (answer.ok) show(answer.body);
    return answer;
  };
  // A form is good for one visit to the cashier; later ones are asked for.
  const takeForm = () => {
    const taken = form;
    form = undefined;
    return taken;
  };
  show(order);
  return card;
}

function parts(order, tools) {
  const status = el("p", { role: "status", class: "result" });
  return [
    el(
      "header",
      {},
      el("p", {}, el("span", { class: "hint" }, () => t("order.number"), " "), el("span", { class: "sn" }, order.order_sn)),
      el("p", { class: `state state-${order.status}` }, () => statusWords(order.status)),
    ),
    items(order),
    facts(order),
    ...(order.status === "awaiting_payment" ? unpaid(order, status, tools) : []),
    ...(order.status === "awaiting_shipment" ? unshipped(order, status, tools) : []),
    status,
    history(order),
  ];
}

function statusWords(status) {
  return knows(`status.${status}`) ? t(`status.${status}`) : String(status);
}

function items({ items: lines, currency }) {
  const row = ({ title, price, quantity }) =>
    el("tr", {}, el("th", { scope: "row" }, title), el("td", {}, () => money(price, currency)), el("td", {}, `× ${quantity}`));
  return el(
    "table",
    {},
    el(
      "thead",
      { class: "unseen" },
      el(
        "tr",
        {},
        el("th", { scope: "col" }, () => t("item.title")),
        el("th", { scope: "col" }, () => t("item.price")),
        el("th", { scope: "col" }, () => t("item.quantity")),
      ),
    ),
    el("tbody", {}, ...(lines ?? []).map(row)),
  );
}

function facts(order) {
  const fact = (key, words) => [el("dt", {}, () => t(key)), el("dd", {}, words)];
  return el(
    "dl",
    {},
    ...fact("order.total", () => money(order.pay_amount, order.currency)),
    ...fact("order.created", () => dateTime(order.created_at)),
    ...(order.receiver?.name ? fact("order.receiver", () => receiverWords(order.receiver)) : []),
  );
}

function receiverWords(receiver) {
  const { name, phone, province, city, region } = receiver;
  const address = [province, city, region, receiver.detail_address ?? receiver.address];
  return [name, phone, address.filter(Boolean).join(" ")].filter(Boolean).join("，");
}

/** Countdown and buttons of an order that waits for its money. */
function unpaid(order, status, { refresh, takeForm }) {
  const payBefore = order.pay_before ? Date.parse(order.pay_before) : null;
  const pay = el("button", { type: "button", class: "main pay" }, () => t("order.pay"));
  pay.addEventListener("click", () => busy(pay, () => payNow(order, status, { refresh, takeForm })));
  const buttons = el("div", { class: "buttons" }, pay, cancelling(order, status, refresh));
  if (payBefore === null) return [buttons];

  const until = el("p", { class: "until" });
  let lapsed = false;
  whileShown(until, (now) => {
    if (now < payBefore || lapsed) return;
    lapsed = true;
    pay.disabled = true;
    live(until, () => t("order.lapsed"));
  });
  if (lapsed) return [until, buttons];
  until.append(
    el("span", {}, () => t("order.payUntil", { time: timeOfDay(payBefore) })),
    " · ",
    el("span", {}, () => t("order.payIn"), " "),
    countdown(payBefore, "pay"),
  );
  return [until, buttons];
}

/** An order that is paid and still here may be cancelled; all its money goes back. */
function unshipped(order, status, { refresh }) {
  return [el("div", { class: "buttons" }, cancelling(order, status, refresh, "order.cancel.refund"))];
}

async function payNow(order, status, { refresh, takeForm }) {
  const ready = takeForm();
  if (ready) return goToCashierTelling(ready, status);
  const answer = await callPatiently("POST", `/api/v1/orders/${order.order_sn}/payments`, { key: idempotencyKey() });
  if (answer.ok) return goToCashierTelling(answer.body.pay_form, status);
  // Paid, closed or lapsed meanwhile: show how things are, and leave the reason in sight.
  if (answer.status === 409 || answer.status === 410) await refresh();
  live(shownStatus(order, status), () => failure(answer));
}

/** Cancelling asks once more, without a dialogue that blocks the page. */
function cancelling(order, status, refresh, question = "order.cancel.really") {
  const place = el("span", { class: "cancelling" });
  const ask = () => {
    const yes = el("button", { type: "button", class: "danger cancel-yes" }, () => t("order.cancel.yes"));
    const no = el("button", { type: "button", class: "quiet" }, () => t("order.cancel.no"));
    yes.addEventListener("click", () => busy(yes, () => cancelNow(order, status, refresh)));
    no.addEventListener("click", () => rest().focus());
    place.replaceChildren(el("span", {}, () => t(question), " "), yes, " ", no);
    no.focus();
  };
  const rest = () => {
    const button = el("button", { type: "button", class: "quiet cancel", onclick: ask }, () => t("order.cancel"));
    place.replaceChildren(button);
    return button;
  };
  rest();
  return place;
}

async function cancelNow(order, status, refresh) {
  const answer = await callPatiently("POST", `/api/v1/orders/${order.order_sn}/cancel`, { key: idempotencyKey() });
  await refresh();
  if (!answer.ok) live(shownStatus(order, status), () => failure(answer));
}

/** The status line of the card as it is now: a refresh replaces it. */
function shownStatus(order, status) {
  if (status.isConnected) return status;
  return document.querySelector(`[data-order="${CSS.escape(order.order_sn)}"] > [role=status]`) ?? status;
}

/** The history is read when it is opened. */
function history(order) {
  const list = el("ol", { class: "history" });
  const details = el("details", {}, el("summary", {}, () => t("order.history")), list);
  details.addEventListener("toggle", async () => {
    if (!details.open) return;
    const answer = await call("GET", `/api/v1/orders/${order.order_sn}/history`);
    if (!answer.ok) return list.replaceChildren(el("li", {}, () => failure(answer)));
    const entries = answer.body.data.map(({ status, note, at }) =>
      el("li", {}, el("time", { datetime: at }, () => dateTime(at)), " ", () => statusWords(status), note ? ` — ${note}` : null),
    );
    list.replaceChildren(...(entries.length > 0 ? entries : [el("li", {}, () => t("order.history.none"))]));
  });
  return details;
}

/** Runs `work` with the button disabled, so that one click is one request. It stays so if `work` leaves the page. */
export async function busy(button, work) {
  if (button.disabled) return;
  const hadFocus = document.activeElement === button;
  button.disabled = true;
  const leaving = await work();
  if (leaving === true) return;
  button.disabled = false;
  if (hadFocus && button.isConnected && document.activeElement === document.body) button.focus();
}
