// Orders from the confirm page until they are paid.

import { orderAndPay } from './buyer.js';
import { arrivals, summary, thresholds } from './shop.js';

/** @type {import('k6/options').Options} */
export const options = { scenarios: { life: arrivals() }, thresholds, noCookiesReset: true };

export default orderAndPay;
export const handleSummary = summary('life');
