-- Ends a hold. Permit and count of the refused buyers go back, if the hold took them.
-- KEYS  epoch, semaphore, users, holds
-- ARGV  epoch, hold id, then the refused buyers
local FIRST = 3
local state = redis.call('MGET', KEYS[1], KEYS[2])
if state[1] ~= ARGV[1] or not state[2] then return 0 end
local hold = redis.call('HGET', KEYS[4], ARGV[2])
if not hold then return 0 end
redis.call('HDEL', KEYS[4], ARGV[2])
if #ARGV < FIRST then return 0 end

local acquired = {}
for user in string.gmatch(string.match(hold, '^%d+ %d+ %a* (.*)$'), '%S+') do acquired[user] = true end
local returned = 0
for i = FIRST, #ARGV do
  local user = ARGV[i]
  if acquired[user] then
    acquired[user] = nil
    returned = returned + 1
    if redis.call('HINCRBY', KEYS[3], user, -1) <= 0 then redis.call('HDEL', KEYS[3], user) end
  end
end
if returned > 0 then redis.call('INCRBY', KEYS[2], returned) end
return returned
