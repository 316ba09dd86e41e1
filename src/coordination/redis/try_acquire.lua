-- Decides one batch of buyers and stores the answer under its hold.
-- KEYS  epoch, semaphore, users, holds
-- ARGV  epoch, hold id, per-user limit, life of a hold in ms, most holds, life of keys in s, then the buyers
-- Answers false when stale, else one letter per buyer: A acquired, L limit reached, N none free.
local FIRST = 7
local state = redis.call('MGET', KEYS[1], KEYS[2])
if state[1] ~= ARGV[1] or not state[2] then return false end

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local hold = redis.call('HGET', KEYS[4], ARGV[2])
if hold then
  local since, _, decided = string.match(hold, '^(%d+) (%d+) (%a*)')
  if now - since < tonumber(ARGV[4]) then return decided end
end

local limit, free = tonumber(ARGV[3]), tonumber(state[2])
local decisions, counts, acquired = {}, {}, {}
local taken = 0
if #ARGV >= FIRST then
  -- One call for all counts, one for all changes: a call per buyer costs more than everything else here.
  local held = redis.call('HMGET', KEYS[3], unpack(ARGV, FIRST))
  for i = 1, #held do
    local count = held[i] and tonumber(held[i]) or 0
    if count >= limit then
      decisions[i] = 'L'
    elseif taken >= free then
      decisions[i] = 'N'
    else
      decisions[i] = 'A'
      taken = taken + 1
      local user = ARGV[FIRST + i - 1]
      acquired[taken] = user
      counts[2 * taken - 1] = user
      counts[2 * taken] = count + 1
    end
  end
end
local decided = table.concat(decisions)
if taken > 0 then
  redis.call('DECRBY', KEYS[2], taken)
  redis.call('HSET', KEYS[3], unpack(counts))
  redis.call('EXPIRE', KEYS[3], ARGV[6])
end
-- A bound, never met while holds are ended or reconciled. Without them the reconciler leaves too little room, and the
-- store refuses what that lets through.
if redis.call('HLEN', KEYS[4]) >= tonumber(ARGV[5]) then redis.call('UNLINK', KEYS[4]) end
redis.call('HSET', KEYS[4], ARGV[2], now .. ' ' .. taken .. ' ' .. decided .. ' ' .. table.concat(acquired, ' '))
redis.call('EXPIRE', KEYS[4], ARGV[6])
return decided
