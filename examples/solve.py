#!/usr/bin/env python3
"""Solves the challenge of a flash sale.

Reads the challenge as the server gives it, writes the solution as the server takes it:

    curl … $BUYERS/api/v1/flash-sales/$SALE/challenge | examples/solve.py | curl … -d @- (the same address)
"""

import hashlib
import itertools
import json
import sys

HASH_BITS = 256

challenge = json.load(sys.stdin)
start = hashlib.sha256(challenge["challenge"].encode())
bound = 1 << (HASH_BITS - challenge["difficulty_bits"])
for nonce in map(str, itertools.count()):
    attempt = start.copy()
    attempt.update(nonce.encode())
    if int.from_bytes(attempt.digest(), "big") < bound:
        break
json.dump({"challenge": challenge["challenge"], "nonce": nonce}, sys.stdout)
