// The API's page on a running server: every operation of the document is drawn, from this server alone.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, picture, scrollsSideways, withPage } from "./browser.mjs";

const BASE = process.env.BASE_URL;
let browser;

before(async () => {
  browser = await launch();
});
after(() => browser?.close());

test("every operation and every problem is drawn, and nothing is fetched from elsewhere", async () => {
  const api = await (await fetch(`${BASE}/openapi.json`)).json();
  const methods = ["get", "post", "put", "patch", "delete"];
  const operations = Object.values(api.paths).flatMap((item) => methods.filter((method) => item[method]));
  const problems = Object.keys(api.components.responses.Problem.content["application/problem+json"].examples);
  await withPage(browser, BASE, {}, async (page) => {
    const asked = [];
    page.on("request", (request) => asked.push(request.url()));
    await page.goto("/docs#problem-sold-out");
    await page.locator("#problem-sold-out[open]").waitFor();
    assert.equal(await page.locator("#operations details").count(), operations.length + problems.length);
    assert.equal(await page.locator("#contents li").count(), operations.length);
    assert.ok(asked.every((url) => url.startsWith(BASE)), asked.join("\n"));
    await page.locator("#contents a", { hasText: /^POST \/api\/v1\/orders$/ }).click();
    const order = page.locator("#post--api-v1-orders[open]");
    await order.waitFor();
    const text = await order.textContent();
    for (const word of ["Idempotency-Key", "checkout_token", "key-reused", "Needs: bearer or cookie"]) {
      assert.ok(text.includes(word), `${word} in ${text}`);
    }
    assert.equal(await scrollsSideways(page), false);
    await picture(page, "docs");
  });
});
