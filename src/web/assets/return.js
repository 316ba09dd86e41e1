// Where the cashier sends the buyer back. The address only names the order; what became of it is asked of the server.

import { pause } from "./api.js";
import { keepTime } from "./clock.js";
import { live } from "./dom.js";
import { startLanguage, t } from "./i18n.js";
import { failure, orderCard, readOrder } from "./order.js";
import { askForLogin, currentBuyer, onBuyer, startSession } from "./session.js";

/** The payment comes by another way than the buyer, and may take a little longer. */
const LOOKS = 20;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 4_000;

const status = document.getElementById("return-status");
const place = document.getElementById("order");
const orderSn = new URLSearchParams(location.search).get("out_trade_no");

async function follow(buyer) {
  const isWanted = () => currentBuyer() === buyer;
  let card = null;
  live(status, () => t("return.waiting"));
  for (let look = 0; look < LOOKS; look += 1) {
    const answer = await readOrder(orderSn);
    if (!isWanted()) return;
    if (!answer.ok) return live(status, () => (answer.status === 404 ? t("order.missing") : failure(answer)));
    const order = answer.body;
    if (!card || card.dataset.status !== order.status) {
      card = orderCard(order, { onChange: show });
      place.replaceChildren(card);
    }
    if (order.status !== "awaiting_payment") return;
    await pause(Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 1.4 ** look) * (1 + Math.random() / 4));
    if (!isWanted()) return;
  }
  live(status, () => t("return.unpaid"));
}

function show({ status: state }) {
  if (state === "awaiting_payment") return;
  const closed = state === "closed" || state === "void";
  live(status, () => t(closed ? "return.closed" : "return.paid"));
}

startLanguage();
onBuyer((buyer) => {
  place.replaceChildren();
  if (!orderSn) return live(status, () => t("return.none"));
  if (buyer) return follow(buyer);
  live(status, () => t("session.needed"));
  askForLogin();
});
await Promise.all([keepTime(), startSession()]);
