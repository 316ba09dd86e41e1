-- Replaces a semaphore by content from the store, unless it has a later epoch. The holders were staged beside it, so
-- that any number of them is switched in at once.
-- KEYS  epoch, semaphore, users, holds, staged users
-- ARGV  epoch, permits, 1 when holders were staged, life of keys in s
-- Answers 1, or 0 when the epoch there is later.
local known = redis.call('GET', KEYS[1])
if known and tonumber(known) > tonumber(ARGV[1]) then
  redis.call('UNLINK', KEYS[5])
  return 0
end
local is_staged = ARGV[3] == '1'
if is_staged and redis.call('EXISTS', KEYS[5]) == 0 then
  return redis.error_reply('ERR the staged holders are gone')
end
redis.call('UNLINK', KEYS[3], KEYS[4])
if is_staged then redis.call('RENAME', KEYS[5], KEYS[3]) end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('SET', KEYS[2], math.max(tonumber(ARGV[2]), 0))
for i = 1, 3 do redis.call('EXPIRE', KEYS[i], ARGV[4]) end
return 1
