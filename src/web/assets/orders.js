// The buyer's own orders, newest first.

import { callPatiently } from "./api.js";
import { keepTime } from "./clock.js";
import { live } from "./dom.js";
import { startLanguage, t } from "./i18n.js";
import { busy, failure, orderCard } from "./order.js";
import { askForLogin, currentBuyer, onBuyer, startSession } from "./session.js";

const PAGE_SIZE = 20;

const list = document.getElementById("orders");
const status = document.getElementById("orders-status");
const more = document.getElementById("more");
let cursor = null;

async function showMore() {
  const buyer = currentBuyer();
  const from = cursor ? `&cursor=${encodeURIComponent(cursor)}` : "";
  const answer = await callPatiently("GET", `/api/v1/orders?limit=${PAGE_SIZE}${from}`);
  if (currentBuyer() !== buyer) return;
  if (!answer.ok) {
    more.hidden = list.childElementCount === 0;
    return live(status, () => failure(answer));
  }
  list.append(...answer.body.data.map((order) => orderCard(order)));
  cursor = answer.body.next_cursor;
  more.hidden = !answer.body.has_more;
  const count = list.childElementCount;
  live(status, () => (count === 0 ? t("orders.none") : t("orders.shown", { count })));
}

startLanguage();
more.addEventListener("click", () => busy(more, showMore));
onBuyer((buyer) => {
  list.replaceChildren();
  cursor = null;
  more.hidden = true;
  if (buyer) return showMore();
  live(status, () => t("session.needed"));
  askForLogin();
});
await Promise.all([keepTime(), startSession()]);
