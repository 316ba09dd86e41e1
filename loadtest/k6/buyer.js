// What buyers do; the same as in loadtest/goose.

import { check, sleep } from 'k6';
import { parseHTML } from 'k6/html';
import http from 'k6/http';

import { baseUrl, envelope, logIn, outcomes, postJson } from './shop.js';

const saleSku = __ENV.SALE_SKU || '49';
const orderedSku = __ENV.ORDERED_SKU || '48';

/** Looks at the shop as its page does. */
export function browse() {
    const answers = http.batch(['/', '/api/v1/time', '/api/v1/flash-sales', '/api/v1/skus'].map((path) => baseUrl + path));
    for (const answer of Object.values(answers)) {
        check(answer, { 'page is shown': (got) => got.status === 200 });
    }
}

/** Tries to win. Being refused (code 1) is an answer, not a failure; so is 429 of somebody in a hurry. */
export function attempt() {
    logIn();
    const answer = http.post(`${baseUrl}/miaosha/${saleSku}`, null, {
        responseCallback: http.expectedStatuses(200, 429),
    });
    const outcome = answer.status === 429 ? 'rate limited' : envelope(answer).code === 0 ? 'won' : 'refused';
    outcomes.add(1, { outcome });
    check(answer, {
        'attempt is decided': (got) => got.status === 429 || [0, 1].includes(envelope(got).code),
        'a win has its order number': () => outcome !== 'won' || /^\d{32}$/.test(envelope(answer).data.orderSn),
    });
}

/** Confirms, submits, pays at the sandbox's cashier and waits until the order is paid. */
export function orderAndPay() {
    logIn();
    const page = envelope(postJson('/order/confirm', { [orderedSku]: 1 }));
    if (!check(page, { 'order page is shown': (got) => got.code === 0 })) {
        return;
    }
    const submitted = envelope(
        postJson('/order/submit', {
            orderToken: page.data.orderToken,
            totalPrice: page.data.orderItems[0].price,
            payType: 0,
            orderItems: [{ skuId: Number(orderedSku), count: 1 }],
            name: '李先锋',
            phone: '13888888888',
            province: '上海',
            city: '上海市',
            detailAddress: '大江大厦6层',
        }),
    );
    if (typeof submitted.data !== 'string') {
        outcomes.add(1, { outcome: 'order refused' });
        return;
    }
    outcomes.add(1, { outcome: 'ordered' });
    const form = parseHTML(submitted.data).find('form').first();
    const content = form.find('input[name=biz_content]').first().attr('value') || '';
    const cashier = http.post(form.attr('action') || '', { biz_content: content });
    const press = parseHTML(String(cashier.body)).find('form').first();
    const field = (/** @type {string} */ name) => press.find(`input[name=${name}]`).first().attr('value') || '';
    http.post(`${baseUrl}/sandbox/${press.attr('action')}`, { out_trade_no: field('out_trade_no'), token: field('token') });
    check(untilPaid(field('out_trade_no')), { 'order is paid': (status) => status === 'awaiting_shipment' });
}

/**
 * @param {string} number
 * @returns {string} the order's last status
 */
function untilPaid(number) {
    let status = '';
    for (let tries = 0; tries < 20 && status !== 'awaiting_shipment'; tries += 1) {
        if (tries > 0) {
            sleep(0.25);
        }
        const order = http.get(`${baseUrl}/api/v1/orders/${number}`);
        status = /** @type {any} */ (order.json()).status;
    }
    return status;
}
