// One flash sale: its countdown, its button, and what became of the buyer's try.

import { pause } from "./api.js";
import { tryToBuy, waitForOrder } from "./attempt.js";
import { serverNow, synchronise, whileShown } from "./clock.js";
import { countdown } from "./countdown.js";
import { el, live } from "./dom.js";
import { dateTime, money, pictureOf, timeOfDay } from "./format.js";
import { t } from "./i18n.js";
import { failure, orderCard, readOrder } from "./order.js";
import { askForLogin, refreshBuyer } from "./session.js";

/**
 * Where a sale stands.
 * @param {{state: string, starts_at: string, ends_at: string, sold_out: boolean}} sale
 * @param {number} now Server time.
 * @returns {"before" | "open" | "paused" | "soldOut" | "ended"}
 */
export function stageOf(sale, now) {
  if (sale.state === "ended" || now >= Date.parse(sale.ends_at)) return "ended";
  if (sale.state === "paused") return "paused";
  if (now < Date.parse(sale.starts_at)) return "before";
  if (sale.sold_out) return "soldOut";
  return "open";
}

/** A sale on the page. */
export class SaleCard {
  /**
   * @param {any} sale As `/api/v1/flash-sales` gives it.
   * @param {() => void} onRefused The list may be out of date.
   */
  constructor(sale, onRefused) {
    this.sale = sale;
    this.onRefused = onRefused;
    this.buyer = null;
    /** @type {"idle" | "sending" | "queued" | "taken"} */
    this.phase = "idle";
    this.shown = "";

    this.badge = el("p", { class: "badge" });
    this.clock = el("p", { class: "clock" });
    this.button = el("button", { type: "button", class: "main buy", onclick: () => this.buy() });
    this.result = el("p", { class: "result", role: "status" });
    this.order = el("div", { class: "sale-order" });
    this.node = el(
      "article",
      { class: "sale", "data-sale": sale.id },
      el("img", { src: pictureOf(sale.image), alt: "", width: "120", height: "120" }),
      el("div", { class: "sale-facts" }, this.badge, el("h3", {}, sale.title), prices(sale), terms(sale)),
      el("div", { class: "sale-act" }, this.clock, this.button, this.result),
      this.order,
    );
    whileShown(this.node, () => this.draw());
  }

  /** Takes newer facts of the same sale; nodes stay, so focus stays. */
  update(sale) {
    this.sale = sale;
    this.draw();
  }

  stage() {
    return stageOf(this.sale, serverNow());
  }

  /** Another buyer, or none: forgets the last one and takes up what this one left open. */
  setBuyer(buyer) {
    this.buyer = buyer;
    this.phase = "idle";
    this.say(() => "");
    this.order.replaceChildren();
    this.draw();
    const orderSn = buyer && recall(this.memory());
    if (orderSn) this.follow(orderSn, false);
  }

  /** Writes the badge, the clock and the button, if anything about them changed. */
  draw() {
    const stage = this.stage();
    const { starts_at, ends_at } = this.sale;
    const state = [stage, this.phase, starts_at, ends_at].join();
    if (state === this.shown) return;
    this.shown = state;
    this.node.dataset.stage = stage;
    live(this.badge, () => t(`stage.${stage}`));
    live(this.button, () => t(this.phase === "idle" ? `buy.${stage}` : `buy.${this.phase}`));
    this.button.disabled = this.phase !== "idle" || stage !== "open";
    this.clock.replaceChildren(...clock(stage, this.sale));
  }

  enter(phase) {
    this.phase = phase;
    this.draw();
  }

  say(words) {
    live(this.result, words);
  }

  /** One click, one request. */
  async buy() {
    if (this.phase !== "idle") return;
    if (!this.buyer) {
      this.say(() => t("session.needed"));
      return askForLogin();
    }
    const { buyer } = this;
    this.enter("sending");
    this.order.replaceChildren();
    this.say(() => t("result.sending"));
    const outcome = await tryToBuy(
      this.sale.sku_id,
      (ms) => this.say(() => t("result.busy", { seconds: Math.ceil(ms / 1000) })),
      () => this.say(() => t("result.working")),
    );
    // Someone else logged in meanwhile: this answer is not theirs.
    if (this.buyer !== buyer) return;
    if (outcome.orderSn) return this.follow(outcome.orderSn, outcome.first);
    this.refused(outcome);
  }

  refused({ refusal, answer }) {
    this.enter(refusal === "limit" ? "taken" : "idle");
    this.say(() => (refusal ? t(`result.${refusal}`) : failure(answer)));
    if (answer?.status === 401) refreshBuyer();
    if (refusal === "before") synchronise();
    pause(300 + Math.random() * 1_000).then(this.onRefused);
  }

  /** Waits for the order of a won unit and shows it. */
  async follow(orderSn, first) {
    const { buyer } = this;
    const isWanted = () => this.buyer === buyer;
    remember(this.memory(), orderSn);
    this.enter("queued");
    if (first) this.say(() => t("result.queued", { orderSn }));
    const outcome = await waitForOrder(orderSn, isWanted);
    const order = outcome.state === "ordered" ? await readOrder(orderSn) : null;
    if (!isWanted()) return;
    if (order?.ok) return this.won(order.body, outcome.payForm, first);
    this.notYet(orderSn, outcome.state, order ?? outcome.answer);
  }

  won(order, payForm, first) {
    this.enter(this.sale.per_user_limit > 1 ? "idle" : "taken");
    const unpaid = order.status === "awaiting_payment" && order.pay_before;
    if (first && unpaid) this.say(() => t("result.won", { time: timeOfDay(order.pay_before) }));
    else this.say(() => t(first ? "result.ordered" : "result.mine"));
    // Once paid or closed, "pay until" would be wrong.
    const onChange = ({ status }) => status !== order.status && this.say(() => "");
    this.order.replaceChildren(orderCard(order, { payForm, onChange }));
  }

  notYet(orderSn, state, answer) {
    if (state === "failed" || state === "missing") forget(this.memory());
    this.enter(state === "pending" ? "taken" : "idle");
    if (state === "failed") return this.say(() => t("result.failed"));
    if (state === "pending") return this.say(() => t("result.still", { orderSn }));
    this.say(() => (state === "missing" ? t("order.missing") : failure(answer)));
    if (answer?.status === 401) refreshBuyer();
  }

  memory() {
    return `attempt/${this.buyer.user_id}/${this.sale.id}`;
  }
}

function prices({ price, original_price: original, currency }) {
  return el(
    "p",
    { class: "prices" },
    el("span", { class: "unseen" }, () => t("sale.price"), " "),
    el("strong", {}, () => money(price, currency)),
    original ? " " : null,
    original ? el("s", {}, el("span", { class: "unseen" }, () => t("sale.original"), " "), () => money(original, currency)) : null,
  );
}

function terms({ count, per_user_limit: limit }) {
  return el("p", { class: "hint" }, () => t("sale.count", { count }), " · ", () => t("sale.limit", { limit }));
}

function clock(stage, { starts_at, ends_at }) {
  if (stage === "before") {
    return [el("span", {}, () => t("count.before")), countdown(Date.parse(starts_at), "before"), hint("sale.from", starts_at)];
  }
  if (stage === "ended") return [hint("sale.until", ends_at)];
  return [el("span", {}, () => t("count.open")), countdown(Date.parse(ends_at), "open"), hint("sale.until", ends_at)];
}

function hint(key, at) {
  return el("span", { class: "hint" }, () => t(key, { at: dateTime(at) }));
}

// What a reload must not lose. Without storage, buying again gives the same order number.
function remember(key, orderSn) {
  try {
    sessionStorage.setItem(key, orderSn);
  } catch {
    // See above.
  }
}

function recall(key) {
  try {
    return sessionStorage.getItem(key);
  } catch {
    return null;
  }
}

function forget(key) {
  try {
    sessionStorage.removeItem(key);
  } catch {
    // See above.
  }
}
