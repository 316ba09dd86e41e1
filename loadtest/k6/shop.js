// What all scenarios share: where the server is, logging in, reading answers, pace, thresholds, the summary.
//
//   k6 run -e BASE_URL=http://127.0.0.1:8092 -e RATE=200 -e DURATION=1m spike.js
//
// The server must offer the demo login. k6 costs about ten times the server's own work per request: on one machine it
// measures itself. Its rates say what k6 can offer; its latencies and checks are good. For rates use `loadtest`.

import { check, fail } from 'k6';
import exec from 'k6/execution';
import http from 'k6/http';
import { Counter } from 'k6/metrics';

export const baseUrl = __ENV.BASE_URL || 'http://127.0.0.1:8092';
const rate = Number(__ENV.RATE || 200);
const duration = __ENV.DURATION || '1m';
const members = Number(__ENV.MEMBERS || 1000);

/** Answers by outcome, e.g. won, sold out. */
export const outcomes = new Counter('seckill_outcomes');

/**
 * Arrivals at a constant rate, whether or not the server keeps up.
 * @param {number} share of the whole rate
 * @param {string} [run] name of the function that each arrival runs
 */
export function arrivals(share = 1, run = 'default') {
    return {
        executor: /** @type {const} */ ('constant-arrival-rate'),
        exec: run,
        rate: Math.max(1, Math.round(rate * share)),
        timeUnit: '1s',
        duration,
        preAllocatedVUs: Number(__ENV.VUS || 100),
        maxVUs: Number(__ENV.MAX_VUS || 1000),
    };
}

/** What decides the exit code. */
export const thresholds = {
    checks: ['rate>0.999'],
    http_req_failed: ['rate<0.01'],
    http_req_duration: ['p(95)<500', 'p(99)<1000'],
    dropped_iterations: ['count<10'],
};

/** @type {number | undefined} */
let loggedInAs;

/** Logs this virtual user in, once; k6 keeps the cookie. */
export function logIn() {
    const userId = ((exec.vu.idInTest - 1) % members) + 1;
    if (loggedInAs === userId) {
        return userId;
    }
    // k6 empties the cookie jar between iterations unless noCookiesReset is set, which the scenarios do.
    const answer = postJson('/demo/login', { userId });
    if (!check(answer, { 'logged in': (got) => got.status === 200 })) {
        fail(`login of ${userId}: ${answer.status} ${answer.body}`);
    }
    loggedInAs = userId;
    return userId;
}

/**
 * @param {string} path
 * @param {unknown} body
 */
export function postJson(path, body) {
    return http.post(baseUrl + path, JSON.stringify(body), { headers: { 'content-type': 'application/json' } });
}

/**
 * The envelope of the course's paths.
 * @param {import('k6/http').RefinedResponse<any>} answer
 * @returns {{ code: number, msg: string, data: any }}
 */
export function envelope(answer) {
    return /** @type {any} */ (answer.json());
}

/**
 * Writes the summary as JSON beside what k6 prints.
 * @param {string} name
 */
export function summary(name) {
    /** @param {any} data */
    return (data) => ({
        [`${name}.summary.json`]: JSON.stringify(data, null, 2),
        stdout: figures(name, data.metrics),
    });
}

/**
 * @param {string} name
 * @param {Record<string, { values: Record<string, number>, thresholds?: Record<string, { ok: boolean }> }>} metrics
 */
function figures(name, metrics) {
    const value = (/** @type {string} */ metric, /** @type {string} */ of) => metrics[metric]?.values[of] ?? 0;
    const broken = Object.entries(metrics).flatMap(([metric, { thresholds: rules = {} }]) =>
        Object.entries(rules).filter(([, rule]) => !rule.ok).map(([rule]) => `${metric} ${rule}`),
    );
    return [
        `${name}: ${value('iterations', 'count')} arrivals, ${value('dropped_iterations', 'count')} not sent`,
        `requests: ${value('http_reqs', 'count')}, ${value('http_reqs', 'rate').toFixed(0)}/s`,
        `latency ms: p50 ${value('http_req_duration', 'med').toFixed(2)}, p95 ${value('http_req_duration', 'p(95)').toFixed(2)}`,
        `checks: ${(100 * value('checks', 'rate')).toFixed(3)} %`,
        broken.length === 0 ? 'thresholds: ok' : `thresholds broken: ${broken.join('; ')}`,
        '',
    ].join('\n');
}
