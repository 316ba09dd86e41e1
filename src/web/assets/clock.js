// The server's time. Sales open and close by it, whatever the clock of this machine says.

import { call } from "./api.js";

const RESYNC_MS = 60_000;
const TICK_MS = 200;
// An old sample loses against a slower new one: clocks drift.
const SAMPLE_LIVES_MS = 5 * 60_000;

/** Server time minus this page's monotonic time. Until the first answer, the machine's own clock stands in. */
let offsetMs = Date.now() - performance.now();
let best = { roundTripMs: Infinity, takenAt: -Infinity };

/** Server time now, in milliseconds since 1970. */
export function serverNow() {
  return performance.now() + offsetMs;
}

/** Asks the server for its time; half of the round trip is the way back. */
export async function synchronise() {
  const sentAt = performance.now();
  const answer = await call("GET", "/api/v1/time", { timeoutMs: 5_000 });
  const receivedAt = performance.now();
  const told = Date.parse(answer.body?.now);
  if (!answer.ok || Number.isNaN(told)) return;
  const roundTripMs = receivedAt - sentAt;
  const better = roundTripMs <= best.roundTripMs || receivedAt - best.takenAt > SAMPLE_LIVES_MS;
  if (!better) return;
  best = { roundTripMs, takenAt: receivedAt };
  offsetMs = told + roundTripMs / 2 - receivedAt;
}

/** Keeps the clock right for as long as the page lives. */
export function keepTime() {
  setInterval(synchronise, RESYNC_MS * (1 + Math.random() / 10));
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return;
    // The monotonic clock may stand still while the machine sleeps.
    best = { roundTripMs: Infinity, takenAt: -Infinity };
    synchronise();
  });
  return synchronise();
}

const tickers = new Set();

/** Calls `tick(serverNow)` several times a second while `node` is in the page. */
export function whileShown(node, tick) {
  const ticker = { node, tick, shown: false };
  tickers.add(ticker);
  tick(serverNow());
}

setInterval(() => {
  const now = serverNow();
  // All that are shown at the start of a tick get it: one may take another out of the page with its last second.
  for (const ticker of [...tickers].filter(isShown)) ticker.tick(now);
}, TICK_MS);

/** Whether a ticker's node is in the page. One that has left is forgotten. */
function isShown(ticker) {
  if (!ticker.node.isConnected) {
    if (ticker.shown) tickers.delete(ticker);
    return false;
  }
  ticker.shown = true;
  return true;
}
