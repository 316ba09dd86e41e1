// Money, times and spans in the buyer's language.

import { locale } from "./i18n.js";

/** An amount, given as a decimal string or a number of yuan. */
export function money(amount, currency = "CNY") {
  return new Intl.NumberFormat(locale(), { style: "currency", currency, currencyDisplay: "narrowSymbol" }).format(amount);
}

/** Date and time of an RFC 3339 time. */
export function dateTime(at) {
  return new Intl.DateTimeFormat(locale(), { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" }).format(new Date(at));
}

/** Time of day, `hh:mm:ss`. */
export function timeOfDay(at) {
  return new Intl.DateTimeFormat(locale(), { timeStyle: "medium", hourCycle: "h23" }).format(new Date(at));
}

/** A span as `[d:]hh:mm:ss`. Rounded up, so that it reads zero only when it is over. */
export function span(ms) {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  const parts = [Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60, seconds % 60];
  const clock = parts.map((part) => String(part).padStart(2, "0")).join(":");
  const days = Math.floor(seconds / 86_400);
  if (days === 0) return clock;
  const dayWord = new Intl.NumberFormat(locale(), { style: "unit", unit: "day", unitDisplay: "long" }).format(days);
  return `${dayWord} ${clock}`;
}

/** Whole fen of an amount, for sums. */
export function fen(amount) {
  return Math.round(Number(amount) * 100);
}

/** Only our own pictures are shown: the content security policy lets no other in. */
export function pictureOf(address) {
  try {
    const url = new URL(address, location.href);
    if (address && url.origin === location.origin) return url.href;
  } catch {
    // Not an address.
  }
  return new URL("./product.svg", import.meta.url).href;
}
