#!/usr/bin/env bash
# A purchase and a flash sale with curl, on a fresh server with demo data.
#
#   examples/buy.sh [BASE]      BASE: http://127.0.0.1:8092 when absent. Needs curl and jq.
set -euo pipefail

BASE="${1:-http://127.0.0.1:8092}"
USER_ID="${SECKILL_USER:-12}"
JSON='content-type: application/json'
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

curl -fsS -c "$work/cookie" -o /dev/null -H "$JSON" -d "{\"userId\":$USER_ID}" "$BASE/demo/login"
ask() { curl -fsS -b "$work/cookie" -H "$JSON" "$@"; }
# A key for one wish: the same wish again, after a lost answer, is sent with the same key.
key() { od -An -N16 -tx1 /dev/urandom | tr -d ' \n'; }

# What the buyer wants, and what it costs today.
ask -X PUT -d '{"quantity":2}' -o /dev/null "$BASE/api/v1/cart/lines/48"
items="$(ask "$BASE/api/v1/cart" | jq -c '[.data[] | {sku_id, quantity}]')"
ask -d "{\"items\":$items}" "$BASE/api/v1/checkouts" >"$work/checkout"

# The order, once, however often this line is repeated with its key.
jq -c --argjson items "$items" '{checkout_token, total_amount, items: $items, receiver: (.addresses[0].receiver)}' \
    "$work/checkout" >"$work/order"
wish="$(key)"
order="$(ask -H "idempotency-key: $wish" -d "@$work/order" "$BASE/api/v1/orders" | jq -r .order_sn)"
again="$(ask -H "idempotency-key: $wish" -d "@$work/order" "$BASE/api/v1/orders" | jq -r .order_sn)"
[ "$order" = "$again" ] || { echo "two orders for one key: $order, $again" >&2; exit 1; }
echo "order $order"

# Pay as a browser would: post the form to the cashier, press its button.
attribute() { sed -n "s/.*$1=\"\([^\"]*\)\".*/\1/p" "$2" | head -1 | sed 's/&quot;/"/g; s/&#34;/"/g; s/&amp;/\&/g'; }
ask -X POST -H "idempotency-key: $(key)" "$BASE/api/v1/orders/$order/payments" | jq -r .pay_form >"$work/form"
action="$(attribute action "$work/form")"
content="$(attribute 'name="biz_content" value' "$work/form")"
curl -fsS --data-urlencode "biz_content=$content" "$action" >"$work/cashier"
curl -fsS -o /dev/null -d "out_trade_no=$order" --data-urlencode "token=$(attribute 'name="token" value' "$work/cashier")" \
    "${action%%/gateway.do*}/pay"
for _ in $(seq 100); do
    status="$(ask "$BASE/api/v1/orders/$order" | jq -r .status)"
    [ "$status" = awaiting_shipment ] && break
    sleep 0.1
done
[ "$status" = awaiting_shipment ] || { echo "the money did not arrive: $status" >&2; exit 1; }
echo "paid"

# A flash sale: one attempt, decided at once; then wait for the order.
sale="$(ask "$BASE/api/v1/flash-sales" | jq -r '[.data[] | select(.state == "live")][0].id')"
won="$(ask -X POST -H "idempotency-key: $(key)" "$BASE/api/v1/flash-sales/$sale/attempts" | jq -r .order_sn)"
ask "$BASE/api/v1/attempts/$won?wait=10s" | jq -r '"attempt " + .order_sn + ": " + .status'
ask -X POST "$BASE/api/v1/orders/$won/cancel" | jq -r '"order " + .order_sn + ": " + .status'
