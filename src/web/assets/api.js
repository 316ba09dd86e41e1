// Calls to the server. An answer is never thrown: a network failure is an answer with status 0.

const TIMEOUT_MS = 15_000;
const MOST_TRIES = 5;
// Longer than this is not a pause but a refusal; the buyer decides.
const LONGEST_PAUSE_MS = 20_000;

/**
 * One request.
 * @param {string} method
 * @param {string} path
 * @param {{body?: unknown, key?: string, token?: string, timeoutMs?: number}} [options] `key` is the Idempotency-Key,
 *   `token` the path token of an attempt.
 * @returns {Promise<{status: number, ok: boolean, body: any, retryAfterMs: number}>}
 */
export async function call(method, path, { body, key, token, timeoutMs = TIMEOUT_MS } = {}) {
  const headers = { accept: "application/json" };
  if (body !== undefined) headers["content-type"] = "application/json";
  if (key) headers["idempotency-key"] = key;
  if (token) headers["seckill-path-token"] = token;
  try {
    const response = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
      signal: AbortSignal.timeout(timeoutMs),
    });
    const text = await response.text();
    return {
      status: response.status,
      ok: response.ok,
      body: parsed(text),
      retryAfterMs: retryAfterMs(response.headers.get("retry-after")),
    };
  } catch {
    return { status: 0, ok: false, body: null, retryAfterMs: 0 };
  }
}

/**
 * A request that is repeated while the server says it is busy (429, 503), never sooner than it asks, and spread out so
 * that refused buyers do not come back as one wave. Only for requests that may be repeated.
 * @param {string} method
 * @param {string} path
 * @param {{body?: unknown, key?: string, token?: string, timeoutMs?: number, onPause?: (ms: number) => void}} [options]
 */
export async function callPatiently(method, path, { onPause, ...options } = {}) {
  for (let tries = 1; ; tries += 1) {
    const answer = await call(method, path, options);
    const busy = answer.status === 429 || answer.status === 503;
    if (!busy || tries === MOST_TRIES || answer.retryAfterMs > LONGEST_PAUSE_MS) return answer;
    const pauseMs = Math.max(answer.retryAfterMs, 250 * 2 ** tries) * (1 + Math.random() / 2);
    onPause?.(pauseMs);
    await pause(pauseMs);
  }
}

/** The reason an answer gives in words, or nothing. */
export function reasonOf(answer) {
  const { msg, detail, title } = answer.body ?? {};
  return msg ?? detail ?? title ?? "";
}

/** @param {number} ms */
export function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** A key for one click. `crypto.randomUUID` is missing on plain http away from localhost. */
export function idempotencyKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Retry-After is seconds or a date. */
function retryAfterMs(value) {
  if (!value) return 0;
  const seconds = Number(value);
  if (Number.isFinite(seconds)) return Math.max(0, seconds * 1000);
  return Math.max(0, (Date.parse(value) || 0) - Date.now());
}
