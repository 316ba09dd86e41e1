-- Writes one line of a cart, unless somebody changed it since it was read.
-- KEYS  cart
-- ARGV  SKU id, the line as it was read or empty, the line as it shall be
-- Answers 1 when written.
local known = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if known ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
