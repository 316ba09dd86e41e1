// Six of ten look around, three try to win, one orders and pays.

import { attempt, browse, orderAndPay } from './buyer.js';
import { arrivals, summary, thresholds } from './shop.js';

/** @type {import('k6/options').Options} */
export const options = {
    scenarios: {
        browse: arrivals(0.6, 'browse'),
        attempt: arrivals(0.3, 'attempt'),
        life: arrivals(0.1, 'orderAndPay'),
    },
    thresholds,
    noCookiesReset: true,
};

export { attempt, browse, orderAndPay };
export const handleSummary = summary('mixed');
