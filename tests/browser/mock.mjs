// A small stand-in for the server: the HTTP contract the pages rely on, kept in memory, with switches for the tests.
// It proves the pages, not the server.

import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { createHash, randomInt } from "node:crypto";

const ASSETS = new URL("../../src/web/assets/", import.meta.url);
const PAGES = { "/": "index.html", "/orders": "orders.html", "/pay/return": "return.html" };
const TYPES = { html: "text/html", css: "text/css", js: "text/javascript", svg: "image/svg+xml" };
const POLICY =
  "default-src 'self'; form-action 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'";
const SECOND = 1_000;
const MINUTE = 60 * SECOND;

const ADDRESS = { postCode: "200122", province: "上海", city: "上海市", region: "松江区" };
const ADDRESSES = [
  { id: 1, memberId: 1, name: "李先锋", phone: "13888888888", ...ADDRESS, detailAddress: "大江大厦6层", areacode: "12121", defaultStatus: 1 },
  { id: 2, memberId: 1, name: "锋哥", phone: "13812345678", ...ADDRESS, detailAddress: "尚硅谷上海校区", areacode: "12222", defaultStatus: 0 },
];
const ATTRIBUTES = [["内存", "8g"], ["颜色", "白色"], ["容量", "256"]];
const IMAGE = "https://pictures.example/mi1.jpg";
const TITLE = "apple iphone xr 8g,白色,256";

/** Starts a mock on a free port. `settings` may be changed while it runs. */
export async function startMock() {
  const mock = {
    /** How far the server's clock is from this machine's. */
    clockOffsetMs: 0,
    startsInMs: -MINUTE,
    endsInMs: 60 * MINUTE,
    state: "live",
    perUserLimit: 1,
    soldOut: false,
    price: "10000.00",
    stock: 5,
    paymentTimeoutMs: 30 * MINUTE,
    /** Answers to give instead of the real one: path prefix → list of {status, retryAfter, body, cut}. */
    instead: [],
    /** Pending answers before a won order exists. */
    pendingAnswers: 1,
    failGrants: false,
    /** Zero bits that a buyer must work for before an attempt; null: nobody is asked. */
    challengeBits: null,
    /** Solutions are answered after this. */
    beforeToken: Promise.resolve(),
    /** Tokens that lapse before they are used. */
    lapsingTokens: 0,
    /** Milliseconds before each answer to a purchase. */
    delayMs: 0,
    demoLogin: true,
    payOrigin: "",
    notifyAfterMs: 300,
    requests: [],
    orders: new Map(),
    attempts: new Map(),
    tokens: new Map(),
    pathTokens: new Set(),
  };
  mock.now = () => Date.now() + mock.clockOffsetMs;
  mock.begunAt = mock.now();
  /** How often a request was made. */
  mock.count = (method, path) => mock.requests.filter((line) => line.startsWith(`${method} ${path}`)).length;
  const server = createServer((request, response) => handle(mock, request, response));
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  mock.url = `http://127.0.0.1:${server.address().port}`;
  mock.stop = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  return mock;
}

async function handle(mock, request, response) {
  const url = new URL(request.url, mock.url);
  mock.requests.push(`${request.method} ${url.pathname}`);
  const text = await bodyOf(request);
  const forced = mock.instead.findIndex(({ path }) => url.pathname.startsWith(path));
  if (forced >= 0) {
    const [{ status, retryAfter, body, cut }] = mock.instead.splice(forced, 1);
    if (cut) return request.socket.destroy();
    return send(response, status, body ?? {}, retryAfter ? { "retry-after": String(retryAfter) } : {});
  }
  const user = Number(/GMALL_TOKEN=mock-(\d+)/.exec(request.headers.cookie ?? "")?.[1]) || null;
  const call = { mock, request, response, url, text, user };
  for (const [method, pattern, handler] of ROUTES) {
    const match = method === request.method && pattern.exec(url.pathname);
    if (match) return handler(call, ...match.slice(1));
  }
  problem(response, 404, "not_found", "no such path");
}

const ROUTES = [
  ["GET", /^(\/|\/orders|\/pay\/return)$/, servePage],
  ["GET", /^\/assets\/([a-z0-9-]+\.(?:css|js|svg))$/, serveAsset],
  ["GET", /^\/api\/v1\/time$/, ({ mock, response }) => send(response, 200, { now: iso(mock.now()) })],
  ["GET", /^\/api\/v1\/flash-sales$/, ({ mock, response }) => send(response, 200, list([saleOf(mock)]))],
  ["GET", /^\/api\/v1\/skus$/, ({ mock, response }) => send(response, 200, { data: ["48", "49"].map((id) => skuOf(mock, id)) })],
  ["POST", /^\/demo\/login$/, login],
  ["POST", /^\/demo\/logout$/, ({ response }) => send(response, 200, ok(null), { "set-cookie": "GMALL_TOKEN=; Path=/; Max-Age=0" })],
  ["GET", /^\/api\/v1\/me$/, owned(({ response, user }) => send(response, 200, { user_id: String(user), username: `demo${user}`, points: 1000 }))],
  ["POST", /^\/order\/confirm$/, owned(confirm)],
  ["POST", /^\/order\/submit$/, owned(submit)],
  ["GET", /^\/miaosha\/pay$/, owned(waitForOrder)],
  ["POST", /^\/miaosha\/(\d+)$/, owned(attempt)],
  ["GET", /^\/api\/v1\/flash-sales\/7\/challenge$/, owned(challenge)],
  ["POST", /^\/api\/v1\/flash-sales\/7\/challenge$/, owned(takeSolution)],
  ["GET", /^\/api\/v1\/orders$/, owned(listOrders)],
  ["GET", /^\/api\/v1\/orders\/(\d+)$/, owned((call, sn) => withOrder(call, sn, (order) => send(call.response, 200, shapeOf(order))))],
  ["GET", /^\/api\/v1\/orders\/(\d+)\/history$/, owned((call, sn) => withOrder(call, sn, (order) => send(call.response, 200, { data: order.history })))],
  ["POST", /^\/api\/v1\/orders\/(\d+)\/cancel$/, owned(keyed((call, sn) => withOrder(call, sn, (order) => cancel(call, order))))],
  ["POST", /^\/api\/v1\/orders\/(\d+)\/payments$/, owned(keyed((call, sn) => withOrder(call, sn, (order) => openPayment(call, order))))],
  ["POST", /^\/sandbox\/gateway\.do$/, cashier],
  ["POST", /^\/sandbox\/pay$/, cashierPays],
];

async function servePage({ response }, path) {
  const html = (await readFile(new URL(PAGES[path], ASSETS), "utf8")).replace("{gateway-origins}", "");
  response.writeHead(200, headersFor("html")).end(html);
}

async function serveAsset({ response }, name) {
  response.writeHead(200, headersFor(name.split(".").pop())).end(await readFile(new URL(name, ASSETS)));
}

function headersFor(extension) {
  return {
    "content-type": `${TYPES[extension]}; charset=utf-8`,
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
  };
}

function saleOf(mock) {
  return {
    id: "7", sku_id: "49", title: TITLE, image: IMAGE, price: "4999.00", currency: "CNY", original_price: "10000.00",
    count: 100, per_user_limit: mock.perUserLimit, state: mock.state, sold_out: mock.soldOut,
    starts_at: iso(mock.begunAt + mock.startsInMs), ends_at: iso(mock.begunAt + mock.endsInMs),
  };
}

function skuOf(mock, sku_id) {
  const attributes = ATTRIBUTES.map(([name, value]) => ({ name, value }));
  return { sku_id, title: TITLE, image: IMAGE, price: mock.price, currency: "CNY", attributes };
}

function login({ mock, response, text }) {
  if (!mock.demoLogin) return problem(response, 404, "not_found", "no such path");
  const { userId } = JSON.parse(text);
  if (!(userId >= 1 && userId <= 1000)) return send(response, 200, { code: 1, msg: "没有这个会员", data: null });
  const cookie = `GMALL_TOKEN=mock-${userId}; Path=/; HttpOnly; SameSite=Lax`;
  send(response, 200, ok({ userId, username: `demo${userId}` }), { "set-cookie": cookie });
}

function confirm({ mock, response, text, user }) {
  const orderToken = `token-${randomInt(1e9)}`;
  mock.tokens.set(orderToken, null);
  const orderItems = Object.entries(JSON.parse(text)).map(([skuId, count]) => ({
    skuId: Number(skuId), title: TITLE, defaultImage: IMAGE, price: Number(mock.price), count,
    skuAttrValue: ATTRIBUTES.map(([attrName, attrValue], index) => ({ id: 133 + index, skuId: Number(skuId), attrName, attrValue, attrSort: 0 })),
    skuSaleVO: null,
  }));
  const addresses = ADDRESSES.map((address) => ({ ...address, memberId: user }));
  send(response, 200, ok({ addresses, orderItems, bounds: 1000, orderToken }));
}

async function submit({ mock, response, text, user }) {
  await sleep(mock.delayMs);
  const order = JSON.parse(text);
  const answer = (data) => send(response, 200, ok(data));
  if (!mock.tokens.has(order.orderToken)) return answer({ code: 1 });
  const made = mock.tokens.get(order.orderToken);
  if (made) return answer({ code: 1, orderId: made.order_sn, orderEntity: { orderSn: made.order_sn } });
  if (order.orderItems.length === 0) return answer({ code: 2 });
  const units = order.orderItems.reduce((sum, { count }) => sum + count, 0);
  if (order.totalPrice !== units * Number(mock.price)) return answer({ code: 3 });
  if (units > mock.stock) return answer({ code: 4 });
  if (!order.name || !order.phone || !order.delivery_company || order.id !== undefined) return send(response, 400, { code: 1, msg: "bad" });
  const lines = order.orderItems.map(({ skuId, title, price, count }) => ({ sku_id: String(skuId), title, price: price.toFixed(2), quantity: count }));
  const saved = saveOrder(mock, user, lines, order.payType === 1 ? "awaiting_shipment" : "awaiting_payment");
  mock.tokens.set(order.orderToken, saved);
  if (order.payType === 1) return answer({ orderId: saved.order_sn, orderEntity: { orderSn: saved.order_sn }, code: null });
  answer(payForm(mock, saved));
}

async function attempt({ mock, request, response, user }, skuId) {
  await sleep(mock.delayMs);
  const stage = mock.now() < mock.begunAt + mock.startsInMs ? "秒杀尚未开始！" : mock.now() > mock.begunAt + mock.endsInMs ? "秒杀结束！" : null;
  if (stage) return send(response, 200, { code: 1, msg: stage, data: null });
  const mine = mock.attempts.get(user);
  if (mine && mock.perUserLimit === 1) return send(response, 200, { code: 1, msg: "您已参与过本次秒杀", data: { orderSn: mine.orderSn } });
  if (mock.soldOut) return send(response, 200, { code: 1, msg: "秒杀失败，欢迎再次秒杀！", data: null });
  if (mock.challengeBits !== null && !mock.pathTokens.delete(request.headers["seckill-path-token"])) {
    const data = { challenge: "/api/v1/flash-sales/7/challenge", reason: "missing" };
    return send(response, 200, { code: 1, msg: "请先完成验证！", data });
  }
  const orderSn = newSn(mock);
  mock.attempts.set(user, { orderSn, skuId, pending: mock.pendingAnswers });
  send(response, 200, { code: 0, msg: `秒杀成功，订单号：${orderSn}`, data: { orderSn } });
}

function challenge({ mock, response, user }) {
  if (mock.soldOut) return problem(response, 409, "sold-out", "Sold out");
  const text = `${user}-${randomInt(1e12)}`.padEnd(44, "x");
  const expires_at = iso(mock.now() + MINUTE);
  send(response, 200, { challenge: text, algorithm: "sha-256", difficulty_bits: mock.challengeBits, expires_at, required: true });
}

async function takeSolution({ mock, response, text }) {
  await mock.beforeToken;
  const solution = JSON.parse(text);
  const hash = createHash("sha256").update(solution.challenge + solution.nonce).digest();
  if (Math.clz32(hash.readUInt32BE(0)) < mock.challengeBits) return problem(response, 403, "challenge-failed", "unsolved");
  const path_token = `path-${randomInt(1e12)}`;
  if (mock.lapsingTokens > 0) mock.lapsingTokens -= 1;
  else mock.pathTokens.add(path_token);
  send(response, 200, { path_token, expires_at: iso(mock.now() + MINUTE) });
}

async function waitForOrder({ mock, response, url, user }) {
  const orderSn = url.searchParams.get("orderSn");
  const mine = mock.attempts.get(user);
  if (mine?.orderSn !== orderSn) return send(response, 404, { code: 1, msg: "订单不存在", data: null });
  if (mock.failGrants) return send(response, 200, ok({ orderId: orderSn, orderEntity: null, code: 4 }));
  if (mine.pending > 0) {
    mine.pending -= 1;
    await sleep(100);
    return send(response, 200, ok({ orderId: orderSn, orderEntity: null, code: 6 }));
  }
  const lines = [{ sku_id: mine.skuId, title: TITLE, price: "4999.00", quantity: 1 }];
  const order = mock.orders.get(orderSn) ?? saveOrder(mock, user, lines, "awaiting_payment", orderSn);
  const form = order.status === "awaiting_payment" ? { payForm: payForm(mock, order) } : {};
  send(response, 200, ok({ orderId: orderSn, orderEntity: { orderSn }, code: null, ...form }));
}

function saveOrder(mock, user, items, status, order_sn = newSn(mock)) {
  const total = items.reduce((sum, { price, quantity }) => sum + Number(price) * quantity, 0).toFixed(2);
  const { name, phone, postCode, province, city, region, detailAddress } = ADDRESSES[0];
  const order = {
    user, history: [], order_sn, status, total_amount: total, pay_amount: total, currency: "CNY", items,
    receiver: { name, phone, post_code: postCode, province, city, region, detail_address: detailAddress },
    created_at: iso(mock.now()), pay_before: status === "awaiting_payment" ? iso(mock.now() + mock.paymentTimeoutMs) : null,
  };
  mock.orders.set(order_sn, order);
  return order;
}

function move(mock, order, status, note) {
  order.status = status;
  order.pay_before = null;
  order.history.push({ status, operator: "buyer", note, at: iso(mock.now()) });
}

function listOrders({ mock, response, url, user }) {
  const mine = [...mock.orders.values()].filter((order) => order.user === user).reverse();
  const limit = Number(url.searchParams.get("limit"));
  const from = Number(url.searchParams.get("cursor") ?? 0);
  const has_more = mine.length > from + limit;
  send(response, 200, { data: mine.slice(from, from + limit).map(shapeOf), next_cursor: has_more ? String(from + limit) : null, has_more });
}

function withOrder({ mock, response, user }, sn, act) {
  const order = mock.orders.get(sn);
  return order?.user === user ? act(order) : problem(response, 404, "order_not_found", "no such order");
}

function cancel({ mock, response }, order) {
  if (!["awaiting_payment", "awaiting_shipment"].includes(order.status)) return problem(response, 409, "wrong_state", `not possible in status ${order.status}`);
  move(mock, order, "closed", "cancelled");
  send(response, 200, shapeOf(order));
}

function openPayment({ mock, response }, order) {
  if (order.status !== "awaiting_payment") return problem(response, 409, "wrong_state", `not possible in status ${order.status}`);
  if (mock.now() >= Date.parse(order.pay_before)) return problem(response, 410, "payment_lapsed", "the time to pay is over");
  send(response, 201, { pay_form: payForm(mock, order) });
}

/** The shape of Alipay's form, with the script and the style that a page with a strict policy must not run into. */
function payForm(mock, { order_sn, pay_amount }) {
  const content = JSON.stringify({ out_trade_no: order_sn, total_amount: pay_amount, subject: "谷粒商城收银台" }).replaceAll('"', "&quot;");
  return `<form name="punchout_form" method="post" action="${mock.payOrigin}/sandbox/gateway.do?charset=utf-8&amp;method=alipay.trade.page.pay&amp;sign=a%2Bb">
<input type="hidden" name="biz_content" value="${content}">
<input type="submit" value="立即支付" style="display:none" >
</form>
<script>document.forms[0].submit();</script>`;
}

function cashier({ mock, response, url, text }) {
  const { out_trade_no: sn } = JSON.parse(new URLSearchParams(text).get("biz_content"));
  if (url.searchParams.get("sign") !== "a+b" || !mock.orders.has(sn)) return send(response, 400, {});
  const policy = "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
  response.writeHead(200, { ...headersFor("html"), "content-security-policy": policy });
  response.end(`<!doctype html><html lang="zh-CN"><head><title>收银台</title></head><body><h1>收银台</h1>
<form method="post" action="/sandbox/pay"><input type="hidden" name="sn" value="${sn}"><button type="submit">确认付款 Pay</button></form></body></html>`);
}

/** The notification comes by another way, and after the browser. */
function cashierPays({ mock, response, text }) {
  const sn = new URLSearchParams(text).get("sn");
  setTimeout(() => move(mock, mock.orders.get(sn), "awaiting_shipment", "paid"), mock.notifyAfterMs);
  response.writeHead(303, { location: `/pay/return?out_trade_no=${sn}&total_amount=1.00&sign=x` }).end();
}

function owned(handler) {
  return (call, ...rest) => {
    if (call.user) return handler(call, ...rest);
    if (call.url.pathname.startsWith("/api/")) return problem(call.response, 401, "login_required", "log in first");
    return send(call.response, 401, { code: 1, msg: "请登录后再试！", data: null });
  };
}

function keyed(handler) {
  return (call, ...rest) =>
    call.request.headers["idempotency-key"] ? handler(call, ...rest) : problem(call.response, 400, "key_required", "Idempotency-Key is missing");
}

const ok = (data) => ({ code: 0, msg: "success", data });
const list = (data) => ({ data, next_cursor: null, has_more: false });
const iso = (ms) => new Date(ms).toISOString();
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const shapeOf = ({ user, history, ...order }) => order;
const newSn = (mock) => `${iso(mock.now()).replace(/\D/g, "")}${String(randomInt(1e12)).padStart(15, "0")}`;

function send(response, status, body, headers = {}) {
  response.writeHead(status, { "content-type": "application/json", "cache-control": "no-store", ...headers }).end(JSON.stringify(body));
}

function problem(response, status, code, detail) {
  response.writeHead(status, { "content-type": "application/problem+json" }).end(JSON.stringify({ type: "about:blank", status, code, title: code, detail }));
}

async function bodyOf(request) {
  let text = "";
  for await (const chunk of request) text += chunk;
  return text;
}

if (process.argv[1] === new URL(import.meta.url).pathname) console.log((await startMock()).url);
