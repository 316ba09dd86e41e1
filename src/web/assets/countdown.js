// A countdown on the server's time. The digits are silent for screen readers; 60, 10 and 0 seconds are said once.

import { whileShown } from "./clock.js";
import { announce, el } from "./dom.js";
import { span } from "./format.js";
import { t } from "./i18n.js";

const SAID_AT_SECONDS = [60, 10, 0];

/**
 * @param {number} until Milliseconds since 1970.
 * @param {string} saying `say.{saying}.{seconds}` are the words.
 */
export function countdown(until, saying) {
  const digits = el("span", { class: "countdown", role: "timer", "aria-live": "off" });
  let lastLeft = -Infinity;
  whileShown(digits, (now) => {
    const left = (until - now) / 1000;
    const text = span(until - now);
    if (digits.textContent !== text) digits.textContent = text;
    const crossed = SAID_AT_SECONDS.findLast((seconds) => lastLeft > seconds && left <= seconds);
    if (crossed !== undefined) announce(t(`say.${saying}.${crossed}`));
    lastLeft = left;
  });
  return digits;
}
