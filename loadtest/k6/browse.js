// Looking around.

import { browse } from './buyer.js';
import { arrivals, summary, thresholds } from './shop.js';

/** @type {import('k6/options').Options} */
export const options = { scenarios: { browse: arrivals() }, thresholds, noCookiesReset: true };

export default browse;
export const handleSummary = summary('browse');
