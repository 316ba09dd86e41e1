// A buyer's try for a unit: ask once, then wait for the order.

import { callPatiently, pause } from "./api.js";
import { earnToken } from "./challenge.js";

// The server holds each question for up to 10 s, so this is several minutes.
const MOST_QUESTIONS = 30;
const WAIT_TIMEOUT_MS = 20_000;
// A token may lapse on the way to a busy server; nobody works for ever.
const MOST_CHALLENGES = 3;
const PENDING = 6;
const FAILED = 4;

/** The course's refusals, told apart by their sentence. */
const REFUSALS = [
  ["尚未开始", "before"],
  ["秒杀结束", "ended"],
  ["秒杀失败", "soldOut"],
  ["已参与", "limit"],
];

/** The same refusals where a challenge is asked for, which is REST v1. */
const CODES = { "not-started": "before", ended: "ended", "sold-out": "soldOut", "limit-reached": "limit" };

/**
 * Tries for one unit, and works for it where the sale asks for that.
 * @param {string} skuId
 * @param {(ms: number) => void} onPause The server is busy and the try will be repeated.
 * @param {() => void} onWork The sale's challenge is being solved.
 * @returns {Promise<{orderSn?: string, first?: boolean, refusal?: string, answer?: any}>} `first` is false if the order
 *   was there already; `refusal` names a known reason; else `answer` says what went wrong.
 */
export async function tryToBuy(skuId, onPause, onWork) {
  const path = `/miaosha/${encodeURIComponent(skuId)}`;
  let answer = await callPatiently("POST", path, { onPause });
  for (let worked = 0; worked < MOST_CHALLENGES && challengeOf(answer); worked += 1) {
    onWork();
    const { token, answer: refused } = await earnToken(challengeOf(answer));
    if (refused) return refusedWork(refused);
    if (token) answer = await callPatiently("POST", path, { onPause, token });
  }
  const orderSn = answer.ok ? answer.body?.data?.orderSn : undefined;
  if (orderSn) return { orderSn, first: answer.body.code === 0 };
  const message = answer.ok ? String(answer.body?.msg ?? "") : "";
  const refusal = REFUSALS.find(([words]) => message.includes(words))?.[1];
  return refusal ? { refusal } : { answer };
}

function challengeOf(answer) {
  return answer.ok ? answer.body?.data?.challenge : undefined;
}

function refusedWork(answer) {
  const refusal = CODES[answer.body?.code];
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
