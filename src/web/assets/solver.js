// The work of an admission challenge, off the page's own thread: a nonce such that SHA-256 of the challenge and the nonce
// starts with so many zero bits. Plain arithmetic, because the browser's own digest is missing on plain http away from
// localhost, and costs a promise each.

const BLOCK = 64;
const PRIMES = primes(64);
const ROUND_CONSTANTS = Int32Array.from(PRIMES, (prime) => fraction(Math.cbrt(prime)));
const START = Int32Array.from(PRIMES.slice(0, 8), (prime) => fraction(Math.sqrt(prime)));

/**
 * @param {string} challenge ASCII.
 * @param {number} bits At most 32.
 * @returns {string} The nonce.
 */
export function solve(challenge, bits) {
  for (let nonce = 0; ; nonce += 1) {
    if (Math.clz32(firstWord(challenge + nonce)) >= bits) return String(nonce);
  }
}

/** The first 32 bits of SHA-256 (FIPS 180-4) of an ASCII text. */
export function firstWord(text) {
  const state = Int32Array.from(START);
  const blocks = Math.ceil((text.length + 9) / BLOCK);
  const words = new Int32Array(BLOCK);
  for (let block = 0; block < blocks; block += 1) {
    words.fill(0);
    const from = block * BLOCK;
    for (let at = 0; at < BLOCK && from + at <= text.length; at += 1) {
      const byte = from + at === text.length ? 0x80 : text.charCodeAt(from + at);
      words[at >> 2] |= byte << (24 - (at & 3) * 8);
    }
    if (block === blocks - 1) words[15] = text.length * 8;
    compress(state, words);
  }
  return state[0];
}

function compress(state, words) {
  for (let t = 16; t < 64; t += 1) {
    const early = words[t - 15];
    const late = words[t - 2];
    const s0 = turn(early, 7) ^ turn(early, 18) ^ (early >>> 3);
    const s1 = turn(late, 17) ^ turn(late, 19) ^ (late >>> 10);
    words[t] = words[t - 16] + s0 + words[t - 7] + s1;
  }
  // Plain variables and no arrays: this loop is all the work.
  let a = state[0];
  let b = state[1];
  let c = state[2];
  let d = state[3];
  let e = state[4];
  let f = state[5];
  let g = state[6];
  let h = state[7];
  for (let t = 0; t < 64; t += 1) {
    const t1 = (h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + ROUND_CONSTANTS[t] + words[t]) | 0;
    const t2 = ((turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g;
    g = f;
    f = e;
    e = (d + t1) | 0;
    d = c;
    c = b;
    b = a;
    a = (t1 + t2) | 0;
  }
  state[0] += a;
  state[1] += b;
  state[2] += c;
  state[3] += d;
  state[4] += e;
  state[5] += f;
  state[6] += g;
  state[7] += h;
}

function turn(word, by) {
  return (word >>> by) | (word << (32 - by));
}

function fraction(number) {
  return ((number % 1) * 2 ** 32) | 0;
}

function primes(count) {
  const found = [];
  for (let number = 2; found.length < count; number += 1) {
    if (found.every((prime) => number % prime !== 0)) found.push(number);
  }
  return found;
}

// In a worker; the tests import this file as it is.
if (typeof WorkerGlobalScope !== "undefined") {
  self.onmessage = ({ data }) => self.postMessage(solve(data.challenge, data.bits));
}
