-- Sets the free permits to what remains in the store minus the live holds, and drops holds that nobody ended.
-- KEYS  epoch, semaphore, users, holds
-- ARGV  epoch, remaining, life of a hold in ms, life of keys in s
-- Answers 1, or 0 when stale.
local state = redis.call('MGET', KEYS[1], KEYS[2])
if state[1] ~= ARGV[1] or not state[2] then return 0 end

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local free = tonumber(ARGV[2])
local holds = redis.call('HGETALL', KEYS[4])
for i = 1, #holds, 2 do
  local since, taken = string.match(holds[i + 1], '^(%d+) (%d+)')
  if now - since < tonumber(ARGV[3]) then
    free = free - taken
  else
    redis.call('HDEL', KEYS[4], holds[i])
  end
end
redis.call('SET', KEYS[2], math.max(free, 0))
for i = 1, #KEYS do redis.call('EXPIRE', KEYS[i], ARGV[4]) end
return 1
