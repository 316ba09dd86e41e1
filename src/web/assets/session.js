// Who the buyer is. The cookie is out of reach of scripts, so the server is asked.

import { call, reasonOf } from "./api.js";
import { el, live } from "./dom.js";
import { t } from "./i18n.js";

const FIRST_DEMO_BUYER = 1;
const LAST_DEMO_BUYER = 1000;

/** @type {{user_id: string, username: string, points: number} | null} */
let buyer = null;
let asked = false;
const listeners = [];

/** The buyer, or null. */
export function currentBuyer() {
  return buyer;
}

/** Calls `listener(buyer)` after every change, and the first time when it is known. */
export function onBuyer(listener) {
  listeners.push(listener);
}

/** Finds out who is there and shows it. */
export async function startSession() {
  await refreshBuyer();
}

/** Asks the server again, for instance after a 401 or when points may have changed. */
export async function refreshBuyer() {
  const answer = await call("GET", "/api/v1/me");
  if (answer.ok) return become(answer.body);
  // A server that is merely busy has not logged anyone out.
  if (answer.status === 401 || !asked) become(null);
}

/** Leads a stranger to the login field. */
export function askForLogin() {
  document.getElementById("buyer-number")?.focus();
}

function become(next) {
  const changed = !asked || buyer?.user_id !== next?.user_id;
  asked = true;
  buyer = next;
  draw();
  if (changed) listeners.forEach((listener) => listener(buyer));
}

function draw() {
  const place = document.getElementById("session");
  place.replaceChildren(...(buyer ? known(buyer) : stranger()));
}

function known({ username, points }) {
  const logout = el("button", { type: "button", class: "quiet", id: "logout" }, () => t("session.logout"));
  logout.addEventListener("click", async () => {
    logout.disabled = true;
    await call("POST", "/demo/logout");
    await refreshBuyer();
    askForLogin();
  });
  return [
    el("span", { class: "buyer", id: "buyer" }, username),
    el("span", { class: "hint" }, () => t("session.points", { points })),
    logout,
  ];
}

function stranger() {
  const number = el("input", {
    id: "buyer-number",
    name: "userId",
    type: "number",
    inputmode: "numeric",
    min: String(FIRST_DEMO_BUYER),
    max: String(LAST_DEMO_BUYER),
    value: String(FIRST_DEMO_BUYER),
  });
  number.required = true;
  const button = el("button", { type: "submit", id: "login" }, () => t("session.login"));
  const status = el("span", { role: "status", class: "result" });
  const form = el(
    "form",
    { class: "login" },
    el("label", { for: "buyer-number" }, () => t("session.buyer")),
    number,
    button,
    status,
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (button.disabled) return;
    button.disabled = true;
    const answer = await call("POST", "/demo/login", { body: { userId: Number(number.value) } });
    button.disabled = false;
    if (!answer.ok || answer.body?.code !== 0) return live(status, () => refusal(answer));
    await refreshBuyer();
  });
  return [form];
}

function refusal(answer) {
  if (answer.status === 0) return t("error.network");
  if (answer.status === 404 || answer.status === 405) return t("session.none");
  return reasonOf(answer) || t("session.unknown");
}
