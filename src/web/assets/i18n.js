// The two languages of the page.

import { announce, rewriteAll } from "./dom.js";
import { WORDS } from "./words.js";

const STORED_AS = "language";
const LANGUAGES = { zh: "zh-CN", en: "en" };

let language = stored() ?? (navigator.language.startsWith("zh") ? "zh" : "en");

/** The words for a key, with `{name}` replaced. */
export function t(key, values = {}) {
  const words = WORDS[key]?.[language] ?? key;
  return words.replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""));
}

/** Whether there are words for a key. */
export function knows(key) {
  return key in WORDS;
}

/** The language tag for `Intl`. */
export function locale() {
  return LANGUAGES[language];
}

/** Writes the page in the buyer's language and lets the button switch it. */
export function startLanguage() {
  const button = document.getElementById("language");
  button?.addEventListener("click", () => {
    language = language === "zh" ? "en" : "zh";
    remember();
    apply();
    announce(t("language.now"));
  });
  apply();
}

function apply() {
  document.documentElement.lang = locale();
  for (const node of document.querySelectorAll("[data-t]")) node.textContent = t(node.dataset.t);
  for (const node of document.querySelectorAll("[data-t-label]")) node.setAttribute("aria-label", t(node.dataset.tLabel));
  const button = document.getElementById("language");
  if (button) {
    button.textContent = t("language.other");
    button.lang = language === "zh" ? "en" : "zh-CN";
  }
  rewriteAll();
}

// Storage may be forbidden; the choice then lasts for the page.
function stored() {
  try {
    const value = localStorage.getItem(STORED_AS);
    return value && value in LANGUAGES ? value : null;
  } catch {
    return null;
  }
}

function remember() {
  try {
    localStorage.setItem(STORED_AS, language);
  } catch {
    // See above.
  }
}
