// Everybody at one sale.

import { attempt } from './buyer.js';
import { arrivals, summary, thresholds } from './shop.js';

/** @type {import('k6/options').Options} */
export const options = { scenarios: { spike: arrivals() }, thresholds, noCookiesReset: true };

export default attempt;
export const handleSummary = summary('spike');
