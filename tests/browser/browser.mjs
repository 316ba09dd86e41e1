// A headless Chromium and pages that watch themselves: an error on the console, a script error or a violation of the
// content security policy fails the test that met it.

import assert from "node:assert/strict";
import { chromium } from "playwright-core";

const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
];
/** A page state must come within this time; the tests wait for states, never for a while. */
export const STATE_TIMEOUT_MS = Number(process.env.STATE_TIMEOUT_MS ?? 20_000);

export function launch() {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", headless: true, args: FLAGS });
}

/**
 * Runs `use(page, watched)` on a fresh page.
 * @param {import("playwright-core").Browser} browser
 * @param {string} base
 * @param {{context?: object, expected?: RegExp[]}} options `expected`: failed requests that belong to the test.
 */
export async function withPage(browser, base, { context = {}, expected = [] }, use) {
  const opened = await browser.newContext({ baseURL: base, locale: "zh-CN", reducedMotion: "reduce", ...context });
  opened.setDefaultTimeout(STATE_TIMEOUT_MS);
  const complaints = [];
  // A stranger's first look at /me is a 401, which Chromium writes to the console.
  const harmless = [/\/api\/v1\/me .*401/, ...expected];
  const complain = (text) => harmless.some((pattern) => pattern.test(text)) || complaints.push(text);
  await opened.exposeBinding("reportViolation", (_, text) => complaints.push(text));
  await opened.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI, sample }) =>
      window.reportViolation(`policy: ${violatedDirective} ${blockedURI} ${sample}`),
    );
  });
  const page = await opened.newPage();
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complain(`${message.location().url} ${message.text()}`);
  });
  page.on("pageerror", (error) => complain(`script: ${error.stack}`));
  try {
    await use(page);
    assert.deepEqual(complaints, [], "the console is clean and the policy is kept");
  } catch (error) {
    if (process.env.SCREENSHOTS) await page.screenshot({ path: `${process.env.SCREENSHOTS}/failed-${Date.now()}.png`, fullPage: true });
    if (complaints.length > 0) error.message += `\ncomplaints: ${complaints.join("\n")}`;
    throw error;
  } finally {
    await opened.close();
  }
}

export async function logIn(page, buyer) {
  await page.locator("#buyer-number").fill(String(buyer));
  await page.locator("#login").click();
  await page.locator("#buyer").waitFor();
}

/** Takes a picture for the eye, if SCREENSHOTS names a folder. */
export async function picture(page, name) {
  if (process.env.SCREENSHOTS) await page.screenshot({ path: `${process.env.SCREENSHOTS}/${name}.png`, fullPage: true });
}

/** Waits until the text of a node matches. */
export async function reads(locator, pattern) {
  await locator.filter({ hasText: pattern }).first().waitFor();
}

/** Whether the page can be scrolled sideways. */
export function scrollsSideways(page) {
  return page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
}
