// The states of the pages, each brought about in the mock.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, logIn, picture, reads, withPage } from "./browser.mjs";
import { startMock } from "./mock.mjs";

const MINUTE = 60_000;
let browser;

before(async () => {
  browser = await launch();
});
after(() => browser?.close());

/** A page on a mock with these settings. */
function on(settings, use, options = {}) {
  return async () => {
    const mock = Object.assign(await startMock(), settings);
    mock.begunAt = mock.now();
    try {
      await withPage(browser, mock.url, options, (page) => use(page, mock));
    } finally {
      await mock.stop();
    }
  };
}

const buyButton = (page) => page.locator(".sale .buy");
const saleResult = (page) => page.locator(".sale-act .result");

async function openAs(page, buyer = 1) {
  await page.goto("/");
  await logIn(page, buyer);
}

test("the countdown follows a server clock ten minutes ahead", on({ clockOffsetMs: 10 * MINUTE, startsInMs: 5 * MINUTE }, async (page) => {
  await page.goto("/");
  await page.locator('.sale[data-stage="before"]').waitFor();
  const words = await page.locator(".clock .countdown").innerText();
  assert.match(words, /^00:0(5:00|4:5\d)$/);
  assert.equal(await buyButton(page).isDisabled(), true);
  assert.equal(await page.locator(".clock .countdown").getAttribute("aria-live"), "off");
  await picture(page, "state-before");
}));

test("the button opens by the server's clock, without a reload", on({ startsInMs: 4_000 }, async (page) => {
  await page.goto("/");
  await page.locator('.sale[data-stage="before"]').waitFor();
  await page.locator('.sale[data-stage="open"] .buy:enabled').waitFor();
  await reads(page.locator("#announcer"), "秒杀已开始");
}));

test("a sale ends by the server's clock", on({ endsInMs: 4_000 }, async (page) => {
  await page.goto("/");
  await page.locator('.sale[data-stage="open"]').waitFor();
  await page.locator('.sale[data-stage="ended"] .buy:disabled').waitFor();
}));

test("sold out is said in words, and is lifted when a unit comes back", on({ soldOut: true }, async (page, mock) => {
  await page.goto("/");
  await reads(buyButton(page), "已售罄");
  assert.equal(await buyButton(page).isDisabled(), true);
  await picture(page, "state-sold-out");
  mock.soldOut = false;
  await page.locator('.sale[data-stage="open"] .buy:enabled').waitFor();
}));

test("a paused sale cannot be bought", on({ state: "paused" }, async (page) => {
  await page.goto("/");
  await reads(buyButton(page), "已暂停");
  assert.equal(await buyButton(page).isDisabled(), true);
}));

test("a stranger is led to the login and sends nothing", on({}, async (page, mock) => {
  await page.goto("/");
  await page.locator(".buy:enabled").click();
  await reads(saleResult(page), "请先登录");
  assert.equal(await page.evaluate(() => document.activeElement.id), "buyer-number");
  assert.equal(mock.count("POST", "/miaosha"), 0);
}));

test("too late: the buyer hears sold out", on({}, async (page, mock) => {
  await openAs(page);
  await page.locator(".buy:enabled").waitFor();
  mock.soldOut = true;
  await page.locator(".buy:enabled").click();
  await reads(saleResult(page), "没有抢到");
  await page.locator('.sale[data-stage="soldOut"]').waitFor();
}));

test("busy: waits as long as the server asks, then wins with one more request", on(
  { instead: [{ path: "/miaosha/49", status: 503, retryAfter: 1, body: { code: 1, msg: "busy" } }] },
  async (page, mock) => {
    await openAs(page);
    const clickedAt = Date.now();
    await page.locator(".buy:enabled").click();
    await reads(saleResult(page), "自动重试");
    await picture(page, "state-busy");
    await page.locator(".sale .order").waitFor();
    assert.ok(Date.now() - clickedAt >= 1_000, "not sooner than asked");
    assert.equal(mock.count("POST", "/miaosha/49"), 2);
  },
  { expected: [/miaosha\/49 .*503/] },
));

test("a sale that asks for work gets it, without a word from the buyer", on({ challengeBits: 12 }, async (page, mock) => {
  let letGo;
  mock.beforeToken = new Promise((resolve) => (letGo = resolve));
  await openAs(page);
  await page.locator(".buy:enabled").click();
  await reads(saleResult(page), "正在验证");
  await picture(page, "state-working");
  letGo();
  await page.locator(".sale .order").waitFor();
  assert.equal(mock.count("POST", "/miaosha/49"), 2);
  assert.equal(mock.count("POST", "/api/v1/flash-sales/7/challenge"), 1);
}));

test("the page stays alive while it works", on({ challengeBits: 32 }, async (page) => {
  await openAs(page);
  await page.locator(".buy:enabled").click();
  await reads(saleResult(page), "正在验证");
  await page.locator("#language").click();
  await reads(saleResult(page), "small task");
}));

test("a token that lapsed on its way is earned again", on({ challengeBits: 8, lapsingTokens: 1 }, async (page, mock) => {
  await openAs(page);
  await page.locator(".buy:enabled").click();
  await page.locator(".sale .order").waitFor();
  assert.equal(mock.count("POST", "/api/v1/flash-sales/7/challenge"), 2);
}));

test("sold out while the buyer worked: it is said, and no more work is done", on({ challengeBits: 8, lapsingTokens: 9 }, async (page, mock) => {
  await openAs(page);
  mock.instead.push({ path: "/api/v1/flash-sales/7/challenge", status: 409, body: { code: "sold-out", title: "Sold out" } });
  await page.locator(".buy:enabled").click();
  await reads(saleResult(page), "没有抢到");
  assert.equal(mock.count("GET", "/api/v1/flash-sales/7/challenge"), 1);
  assert.equal(mock.count("POST", "/api/v1/flash-sales/7/challenge"), 0);
}, { expected: [/challenge .*409/] }));

test("one click is one request while the answer is slow", on({ delayMs: 500 }, async (page, mock) => {
  await openAs(page);
  await page.locator(".buy:enabled").waitFor();
  await page.evaluate(() => {
    for (let clicks = 0; clicks < 5; clicks += 1) document.querySelector(".buy").click();
  });
  await reads(buyButton(page), "正在抢购");
  await page.locator(".sale .order").waitFor();
  assert.equal(mock.count("POST", "/miaosha/49"), 1);
}));

test("queued: keeps asking until the order is there, and takes it up again after a reload", on({ pendingAnswers: 3 }, async (page, mock) => {
  await openAs(page);
  await page.locator(".buy:enabled").click();
  await reads(saleResult(page), "正在生成订单");
  await picture(page, "state-queued");
  await page.reload();
  await page.locator('.sale .order[data-status="awaiting_payment"]').waitFor();
  assert.equal(mock.count("POST", "/miaosha/49"), 1);
}));

test("a won unit survives a cut connection while waiting", on(
  { instead: [{ path: "/miaosha/pay", cut: true }] },
  async (page) => {
    await openAs(page);
    await page.locator(".buy:enabled").click();
    await page.locator('.sale .order[data-status="awaiting_payment"]').waitFor();
  },
  { expected: [/miaosha\/pay.*ERR_/] },
));

test("a failed grant is said, and the buyer may try again", on({ failGrants: true }, async (page) => {
  await openAs(page);
  await page.locator(".buy:enabled").click();
  await reads(saleResult(page), "订单未能生成");
  await page.locator(".buy:enabled").waitFor();
}));

test("a buyer at the limit gets the first order back", on({}, async (page, mock) => {
  mock.attempts.set(1, { orderSn: "20260101000000000000000000000001", skuId: "49", pending: 0 });
  await openAs(page);
  await page.locator(".buy:enabled").click();
  await reads(saleResult(page), "您已参与过本次秒杀");
  await page.locator('.order[data-order="20260101000000000000000000000001"]').waitFor();
  await reads(buyButton(page), "已参与");
}));

test("another buyer sees nothing of the last one", on({}, async (page) => {
  await openAs(page, 1);
  await page.locator(".buy:enabled").click();
  await page.locator(".sale .order").waitFor();
  await page.locator("#logout").click();
  await page.locator("#buyer-number").waitFor();
  assert.equal(await page.locator(".order").count(), 0);
  await logIn(page, 2);
  await page.locator(".buy:enabled").waitFor();
  assert.equal(await page.locator(".order").count(), 0);
}));

test("the time to pay runs out in front of the buyer", on({ paymentTimeoutMs: 4_000, pendingAnswers: 0 }, async (page) => {
  await openAs(page);
  await page.locator(".buy:enabled").click();
  await page.locator(".order .pay:enabled").waitFor();
  await reads(page.locator(".until"), "支付时间已过");
  assert.equal(await page.locator(".order .pay").isDisabled(), true);
}));

test("a pay form that leads elsewhere is not sent", on({ payOrigin: "https://elsewhere.example" }, async (page) => {
  await openAs(page);
  await page.locator(".buy:enabled").click();
  await page.locator(".order .pay:enabled").click();
  await reads(page.locator(".order > .result"), "未知的网站");
  assert.equal(new URL(page.url()).pathname, "/");
}));

test("a changed price is shown before anything is ordered", on({}, async (page, mock) => {
  await openAs(page);
  await page.locator('.sku[data-sku="48"] input').fill("1");
  await page.locator("#check-out").click();
  await reads(page.locator(".total"), "10,000.00");
  mock.price = "12000.50";
  await page.locator("#place-order").click();
  await reads(page.locator("#shop-status"), "价格已变化");
  await reads(page.locator(".total"), "12,000.50");
  assert.equal(mock.orders.size, 0);
}));

test("short stock keeps the page, so that less can be ordered", on({ stock: 1 }, async (page) => {
  await openAs(page);
  await page.locator('.sku[data-sku="48"] input').fill("2");
  await page.locator("#check-out").click();
  await page.locator("#place-order").click();
  await reads(page.locator("#shop-status"), "库存不足");
  await page.locator("#place-order:enabled").waitFor();
}));

test("a stale page asks for a new check-out", on({}, async (page, mock) => {
  await openAs(page);
  await page.locator('.sku[data-sku="48"] input').fill("1");
  await page.locator("#check-out").click();
  await page.locator("#place-order").waitFor();
  mock.tokens.clear();
  await page.locator("#place-order").click();
  await reads(page.locator("#shop-status"), "页面已过期");
  assert.equal(await page.locator("#place-order").count(), 0);
}));

test("an order paid elsewhere refuses a second payment and shows itself", on({}, async (page, mock) => {
  await openAs(page);
  await page.locator(".buy:enabled").click();
  await page.locator(".order .pay:enabled").waitFor();
  await page.goto("/orders");
  await page.locator(".order .pay:enabled").waitFor();
  for (const order of mock.orders.values()) order.status = "awaiting_shipment";
  await page.locator(".order .pay").click();
  await page.locator('.order[data-status="awaiting_shipment"]').waitFor();
  await reads(page.locator(".order > .result"), "not possible in status awaiting_shipment");
}, { expected: [/payments .*409/] }));

test("a paid order that is still here may be cancelled", on({}, async (page, mock) => {
  await openAs(page);
  await page.locator(".buy:enabled").click();
  await page.locator(".order .pay:enabled").waitFor();
  for (const order of mock.orders.values()) order.status = "awaiting_shipment";
  await page.goto("/orders");
  await page.locator('.order[data-status="awaiting_shipment"] .cancel').click();
  await reads(page.locator(".order .cancelling"), "已付款将全额退回");
  await page.locator(".order .cancel-yes").click();
  await page.locator('.order[data-status="closed"]').waitFor();
  assert.equal(await page.locator(".order .cancel").count(), 0);
}));

test("orders come page by page", on({}, async (page, mock) => {
  const one = { user: 1, history: [], status: "completed", total_amount: "1.00", pay_amount: "1.00", currency: "CNY", items: [], receiver: {}, created_at: "2026-01-01T00:00:00Z", pay_before: null };
  for (let index = 0; index < 45; index += 1) mock.orders.set(String(index), { ...one, order_sn: String(index) });
  await page.goto("/orders");
  await reads(page.locator("#orders-status"), "请先登录");
  await logIn(page, 1);
  await reads(page.locator("#orders-status"), "共显示 20 个");
  await page.locator("#more").click();
  await reads(page.locator("#orders-status"), "共显示 40 个");
  await page.locator("#more").click();
  await reads(page.locator("#orders-status"), "共显示 45 个");
  assert.equal(await page.locator("#more").isVisible(), false);
}));

test("the return page shows only one's own order", on({}, async (page) => {
  await page.goto("/pay/return?out_trade_no=999");
  await logIn(page, 1);
  await reads(page.locator("#return-status"), "没有找到这个订单");
  await page.goto("/pay/return");
  await reads(page.locator("#return-status"), "地址中没有订单号");
}, { expected: [/orders\/999 .*404/] }));

test("a server without demo login says so", on({ demoLogin: false }, async (page) => {
  await page.goto("/");
  await page.locator("#login").click();
  await reads(page.locator(".login .result"), "未开放演示登录");
}, { expected: [/demo\/login .*404/] }));

test("a buyer that does not exist is refused in words", on({ instead: [{ path: "/demo/login", status: 200, body: { code: 1, msg: "没有这个会员" } }] }, async (page) => {
  await page.goto("/");
  await page.locator("#login").click();
  await reads(page.locator(".login .result"), "没有这个会员");
}));

test("the language is chosen by the browser, switched by hand, and remembered", on({}, async (page) => {
  await page.goto("/");
  await reads(page.locator("h1"), "Flash sale");
  await reads(buyButton(page), "Buy now");
  assert.equal(await page.evaluate(() => document.documentElement.lang), "en");
  await page.locator("#language").click();
  await reads(page.locator("h1"), "限时秒杀");
  await reads(buyButton(page), "立即抢购");
  assert.equal(await page.title(), "秒杀 · Seckill");
  await page.goto("/orders");
  await reads(page.locator("h1"), "我的订单");
  assert.equal(await page.evaluate(() => document.documentElement.lang), "zh-CN");
}, { context: { locale: "en-GB" } }));

test("every word exists in both languages", on({}, async (page) => {
  await page.goto("/");
  const gaps = await page.evaluate(async () => {
    const source = [...document.querySelectorAll("link[rel=modulepreload]")].map(({ href }) => href);
    const { WORDS } = await import(source.find((href) => /\/words\b/.test(href)));
    const texts = await Promise.all(source.map(async (href) => (await fetch(href)).text()));
    const used = [...texts.join("").matchAll(/\bt\("([\w.]+)"/g)].map(([, key]) => key);
    const marked = [...document.querySelectorAll("[data-t]")].map((node) => node.dataset.t);
    const halves = Object.keys(WORDS).filter((key) => !WORDS[key].zh || !WORDS[key].en);
    return [...halves, ...[...used, ...marked].filter((key) => !(key in WORDS))];
  });
  assert.deepEqual(gaps, []);
}));

test("it reads well in the dark and on paper-white", on({}, async (page) => {
  await openAs(page);
  await page.locator(".buy:enabled").click();
  await page.locator(".sale .order").waitFor();
  await page.locator('.sku[data-sku="48"] input').fill("1");
  await page.locator("#check-out").click();
  await page.locator(".checkout").waitFor();
  for (const scheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme: scheme });
    await picture(page, `scheme-${scheme}`);
    const worst = await page.evaluate(worstContrast);
    assert.ok(worst.ratio >= 4.5, `${scheme}: ${JSON.stringify(worst)}`);
  }
}));

/** The smallest contrast of any enabled text against the colour behind it (WCAG 2.2, 1.4.3). Runs in the page. */
function worstContrast() {
  const channels = (colour) => (colour.match(/[\d.]+/g) ?? []).map(Number);
  const luminance = (colour) =>
    channels(colour).slice(0, 3).map((value) => value / 255)
      .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
      .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0);
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (channels(colour)[3] !== 0) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  let worst = { ratio: Infinity };
  for (const node of document.querySelectorAll("body *")) {
    const says = [...node.childNodes].some((child) => child.nodeType === Node.TEXT_NODE && child.textContent.trim());
    if (!says || node.closest(":disabled, .unseen, .skip, noscript")) continue;
    const [light, dark] = [getComputedStyle(node).color, behind(node)].map(luminance).sort((a, b) => b - a);
    const ratio = (light + 0.05) / (dark + 0.05);
    if (ratio < worst.ratio) worst = { ratio, text: node.textContent, class: node.className };
  }
  return worst;
}
