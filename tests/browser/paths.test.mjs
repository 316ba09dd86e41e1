// The buyer's whole way, against a running server (BASE_URL) or, without one, the mock.

import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { after, before, test } from "node:test";
import { launch, logIn, picture, reads, scrollsSideways, withPage } from "./browser.mjs";
import { startMock } from "./mock.mjs";

let browser;
let mock;
let base;
/** Buyers of the demo data; one each, so that a second run on the same server finds fresh ones. */
const firstBuyer = Number(process.env.BUYER ?? randomInt(2, 990));

before(async () => {
  browser = await launch();
  mock = process.env.BASE_URL ? null : await startMock();
  base = process.env.BASE_URL ?? mock.url;
  console.log(`server ${base}, BUYER=${firstBuyer}`);
});
after(async () => {
  await browser?.close();
  await mock?.stop();
});

/** Pays at the sandbox cashier and comes back to the paid order. */
async function payAndReturn(page) {
  await page.waitForURL((url) => /sandbox/.test(url.pathname));
  await picture(page, "path-cashier");
  await page.getByRole("button", { name: /支付|付款|pay/i }).first().click();
  await page.waitForURL("**/pay/return?**");
  await page.locator('.order[data-status="awaiting_shipment"]').waitFor();
  await reads(page.locator("#return-status"), "支付成功");
  return page.locator(".order .sn").innerText();
}

/** Counts the requests that a click makes. */
function counting(page, method, pattern) {
  const seen = [];
  page.on("request", (request) => {
    if (request.method() === method && pattern.test(new URL(request.url()).pathname)) seen.push(request.url());
  });
  return seen;
}

test("flash sale: log in, buy, wait, pay, come back, see the order", async () => {
  await withPage(browser, base, {}, async (page) => {
    const attempts = counting(page, "POST", /^\/miaosha\/\d+$/);
    await page.goto("/");
    await logIn(page, firstBuyer);
    const sale = page.locator('.sale[data-stage="open"]').first();
    await sale.locator(".countdown").waitFor();
    await sale.locator(".buy:enabled").dblclick();
    await sale.locator('.order[data-status="awaiting_payment"]').waitFor();
    await reads(sale.locator(".sale-act .result"), /秒杀成功！请在 \d\d:\d\d:\d\d 前支付/);
    assert.equal(attempts.length, 1, "a double click is one attempt");
    const orderSn = await sale.locator(".order .sn").innerText();
    await picture(page, "path-won");
    await sale.locator(".pay").click();
    assert.equal(await payAndReturn(page), orderSn);
    await picture(page, "path-returned");

    await page.goto("/orders");
    await page.locator(`.order[data-order="${orderSn}"][data-status="awaiting_shipment"]`).waitFor();

    await page.goto("/");
    await page.locator("#buyer").waitFor();
    await reads(page.locator(".sale .result").first(), "您已参与过");
    assert.equal(attempts.length, 1, "a reload does not try again");
  });
});

test("ordinary order: choose, confirm, submit, pay, come back", async () => {
  await withPage(browser, base, {}, async (page) => {
    const submits = counting(page, "POST", /^\/order\/submit$/);
    await page.goto("/");
    await logIn(page, firstBuyer + 1);
    await page.locator('.sku[data-sku="48"] .step').last().click();
    await page.locator('.sku[data-sku="49"] input').fill("2");
    await page.locator("#check-out").click();
    const checkout = page.locator(".checkout");
    await reads(checkout.locator(".total"), "30,000.00");
    await picture(page, "path-checkout");
    await page.locator("#place-order").dblclick();
    const orderSn = await payAndReturn(page);
    assert.equal(submits.length, 1, "a double click is one order");
    assert.match(orderSn, /^\d{32}$/);
  });
});

test("cash on delivery needs no cashier", async () => {
  await withPage(browser, base, {}, async (page) => {
    await page.goto("/");
    await logIn(page, firstBuyer + 2);
    await page.locator('.sku[data-sku="48"] input').fill("1");
    await page.locator("#check-out").click();
    await page.getByLabel("货到付款").check();
    await page.locator("#place-order").click();
    await page.locator('#checkout .order[data-status="awaiting_shipment"]').waitFor();
    await reads(page.locator("#shop-status"), "下单成功");
  });
});

test("an unpaid order can be cancelled, and asks first", async () => {
  await withPage(browser, base, {}, async (page) => {
    await page.goto("/");
    await logIn(page, firstBuyer + 3);
    await page.locator('.sku[data-sku="48"] input').fill("1");
    await page.locator("#check-out").click();
    await page.locator("#place-order").click();
    await page.waitForURL((url) => /sandbox/.test(url.pathname));
    await page.goto("/orders");
    const order = page.locator(".order").first();
    await order.locator(".cancel").click();
    await order.locator(".cancel-yes").click();
    await page.locator('.order[data-status="closed"]').first().waitFor();
    await order.locator("summary").click();
    await order.locator(".history li").first().waitFor();
  });
});

test("no page scrolls sideways at 320 px, in either language", async () => {
  await withPage(browser, base, { context: { viewport: { width: 320, height: 700 } } }, async (page) => {
    await page.goto("/");
    await logIn(page, firstBuyer + 4);
    await page.locator('.sku[data-sku="48"] input').fill("1");
    await page.locator("#check-out").click();
    await page.getByLabel("货到付款").check();
    for (const name of ["checkout", "checkout-en"]) {
      assert.equal(await scrollsSideways(page), false, name);
      await picture(page, `narrow-${name}`);
      await page.locator("#language").click();
    }
    await page.locator("#place-order").click();
    const orderSn = await page.locator("#checkout .order .sn").innerText();
    for (const path of ["/orders", `/pay/return?out_trade_no=${orderSn}`]) {
      await page.goto(path);
      await page.locator(".order").first().waitFor();
      assert.equal(await scrollsSideways(page), false, path);
      await picture(page, `narrow${path.replace(/\W+/g, "-").slice(0, 12)}`);
    }
  });
});
