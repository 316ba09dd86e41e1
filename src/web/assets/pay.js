// The pay form comes as HTML made by the server. It is parsed without being run, checked, and built anew.

import { live } from "./dom.js";
import { t } from "./i18n.js";

/**
 * Sends the browser to the cashier.
 * @param {string} html The pay form.
 * @returns {boolean} False if the form leads to an origin this server did not name.
 */
export function goToCashier(html) {
  const form = checkedForm(html);
  if (!form) return false;
  document.body.append(form);
  // The way back may show this page as it was left, with its button still busy.
  addEventListener("pageshow", ({ persisted }) => persisted && location.reload());
  form.submit();
  return true;
}

/** The same, telling the buyer through `status`. */
export function goToCashierTelling(html, status) {
  live(status, () => t("pay.going"));
  const going = goToCashier(html);
  if (!going) live(status, () => t("pay.refused"));
  return going;
}

/** A form of hidden fields only, or null. */
function checkedForm(html) {
  const given = new DOMParser().parseFromString(withoutScripts(html), "text/html").querySelector("form");
  const action = actionOf(given);
  if (!action) return null;
  const form = document.createElement("form");
  form.method = "post";
  form.action = action.href;
  form.acceptCharset = "utf-8";
  form.hidden = true;
  for (const field of given.querySelectorAll("input[type=hidden][name]")) {
    const input = document.createElement("input");
    input.type = "hidden";
    input.name = field.getAttribute("name");
    input.value = field.getAttribute("value") ?? "";
    form.append(input);
  }
  return form;
}

/** Where the form leads, if it may lead there. */
function actionOf(form) {
  try {
    const action = new URL(form.getAttribute("action"), location.href);
    return isKnown(action) ? action : null;
  } catch {
    return null;
  }
}

function isKnown({ protocol, origin, hostname }) {
  if (protocol !== "https:" && protocol !== "http:") return false;
  if (origin === location.origin) return true;
  const named = document.querySelector("meta[name=gateway-origins]")?.content.split(" ") ?? [];
  return named.some((source) => {
    const family = /^https:\/\/\*(\..+)$/.exec(source)?.[1];
    return family ? protocol === "https:" && hostname.endsWith(family) : source === origin;
  });
}

// They would not run, but the policy would report them.
function withoutScripts(html) {
  return html.replace(/<script\b[^]*?<\/script>/gi, "").replace(/\sstyle="[^"]*"/gi, "");
}
