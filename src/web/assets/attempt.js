// A buyer's try for a unit: ask once, then wait for the order.

import { callPatiently, pause } from "./api.js";

// The server holds each question for up to 10 s, so this is several minutes.
const MOST_QUESTIONS = 30;
const WAIT_TIMEOUT_MS = 20_000;
const PENDING = 6;
const FAILED = 4;

/** The course's refusals, told apart by their sentence. */
const REFUSALS = [
  ["尚未开始", "before"],
  ["秒杀结束", "ended"],
  ["秒杀失败", "soldOut"],
  ["已参与", "limit"],
];

/**
 * Tries for one unit.
 * @param {string} skuId
 * @param {(ms: number) => void} onPause The server is busy and the try will be repeated.
 * @returns {Promise<{orderSn?: string, first?: boolean, refusal?: string, answer?: any}>} `first` is false if the order
 *   was there already; `refusal` names a known reason; else `answer` says what went wrong.
 */
export async function tryToBuy(skuId, onPause) {
  const answer = await callPatiently("POST", `/miaosha/${encodeURIComponent(skuId)}`, { onPause });
  const orderSn = answer.ok ? answer.body?.data?.orderSn : undefined;
  if (orderSn) return { orderSn, first: answer.body.code === 0 };
  const message = answer.ok ? String(answer.body?.msg ?? "") : "";
  const refusal = REFUSALS.find(([words]) => message.includes(words))?.[1];
  return refusal ? { refusal } : { answer };
}

/**
 * Waits until the order of a won unit exists.
 * @param {string} orderSn
 * @param {() => boolean} isWanted Whether anyone still waits.
 * @returns {Promise<{state: "ordered" | "failed" | "pending" | "missing" | "error", payForm?: string, answer?: any}>}
 */
export async function waitForOrder(orderSn, isWanted) {
  const path = `/miaosha/pay?orderSn=${encodeURIComponent(orderSn)}`;
  let answer;
  for (let asked = 0; asked < MOST_QUESTIONS && isWanted(); asked += 1) {
    answer = await callPatiently("GET", path, { timeoutMs: WAIT_TIMEOUT_MS });
    if (answer.status === 404) return { state: "missing" };
    if (answer.status === 401) return { state: "error", answer };
    const data = answer.ok ? answer.body?.data : undefined;
    if (data?.code === FAILED) return { state: "failed" };
    if (data && data.code !== PENDING) return { state: "ordered", payForm: data.payForm ?? undefined };
    // Pending, or a moment without network: the unit is won, so keep asking, spread out.
    await pause(400 + Math.random() * 600 + (answer.ok ? 0 : 1_500));
  }
  return answer?.ok ? { state: "pending" } : { state: "error", answer };
}
