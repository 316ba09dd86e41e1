// The sale page. It is the same for everyone; everything about one buyer is asked for afterwards.

import { callPatiently, pause } from "./api.js";
import { keepTime } from "./clock.js";
import { live } from "./dom.js";
import { startLanguage, t } from "./i18n.js";
import { failure } from "./order.js";
import { SaleCard } from "./sale.js";
import { currentBuyer, onBuyer, startSession } from "./session.js";
import { resetShop, startShop } from "./shop.js";

const OPEN_REFRESH_MS = 3_000;
const QUIET_REFRESH_MS = 15_000;

/** @type {Map<string, SaleCard>} */
const cards = new Map();
let buyerKnown = false;

async function refreshSales() {
  const answer = await callPatiently("GET", "/api/v1/flash-sales");
  const status = document.getElementById("sales-status");
  if (!answer.ok) {
    if (cards.size === 0) live(status, () => failure(answer));
    return;
  }
  for (const sale of answer.body.data) showSale(sale);
  status.hidden = cards.size > 0;
  if (cards.size === 0) live(status, () => t("sale.none"));
}

function showSale(sale) {
  const known = cards.get(sale.id);
  if (known) return known.update(sale);
  const card = new SaleCard(sale, refreshSales);
  cards.set(sale.id, card);
  document.getElementById("sales").append(card.node);
  if (buyerKnown) card.setBuyer(currentBuyer());
}

/** Looks again while anyone looks: often while something is on sale, and never all buyers in the same moment. */
async function keepRefreshing() {
  for (;;) {
    const open = [...cards.values()].some((card) => ["open", "soldOut", "paused"].includes(card.stage()));
    await pause((open ? OPEN_REFRESH_MS : QUIET_REFRESH_MS) * (1 + Math.random() / 2));
    if (!document.hidden) await refreshSales();
  }
}

startLanguage();
onBuyer((buyer) => {
  buyerKnown = true;
  for (const card of cards.values()) card.setBuyer(buyer);
  resetShop();
});
await Promise.all([keepTime(), refreshSales(), startSession(), startShop()]);
keepRefreshing();
