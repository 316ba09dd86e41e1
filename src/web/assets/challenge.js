// The admission challenge of a sale: some work, for which the server gives a path token.

import { call, callPatiently } from "./api.js";
import { serverNow } from "./clock.js";

/**
 * Solves the challenge at `path`.
 * @param {string} path
 * @returns {Promise<{token?: string, answer?: any}>} The token, or the answer that stood in the way; neither when the
 *   challenge lapsed over the work.
 */
export async function earnToken(path) {
  const asked = await callPatiently("GET", path);
  if (!asked.ok) return { answer: asked };
  const { challenge, difficulty_bits: bits, expires_at: expiresAt } = asked.body;
  const nonce = await work({ challenge, bits }, Math.max(0, Date.parse(expiresAt) - serverNow()));
  if (nonce === null) return {};
  const earned = await call("POST", path, { body: { challenge, nonce } });
  return earned.ok ? { token: earned.body.path_token } : { answer: earned };
}

/** The nonce, or null when it is not found in time. */
function work(task, timeoutMs) {
  const worker = new Worker(new URL("./solver.js", import.meta.url), { type: "module" });
  const found = new Promise((resolve) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = () => resolve(null);
    setTimeout(() => resolve(null), timeoutMs);
    worker.postMessage(task);
  });
  return found.finally(() => worker.terminate());
}
