-- Lets one connection in by all of its limits, or by none: says 0, or the number of the
-- first that refuses, and how many microseconds until it would not.
--
-- KEYS: one for each limit. ARGV, for each of them, six:
--   live, the most, how many this node has with this one, the message's number, node,
--     expiry in milliseconds
--   rate, microseconds for one, burst, and nothing three times
local time = redis.call('TIME')
local now = time[1] * 1e6 + time[2]
local writes = {}

local function live(key, most, own, number, node, expiry)
  local held = redis.call('HGETALL', key)
  local others = 0
  for i = 1, #held, 2 do
    local count, till, told = held[i + 1]:match('^(%d+) (%d+) (%d+)$')
    if held[i] == node then
      -- What was told later came sooner, and this one is counted in it.
      if tonumber(told) > number then own, number = tonumber(count), tonumber(told) end
    elseif tonumber(till) > now then
      others = others + count
    else
      -- Its node has not been heard of for the whole lease.
      redis.call('HDEL', key, held[i])
    end
  end
  if others + own > most then return 0 end
  local till = now + expiry * 1000
  local value = string.format('%d %.0f %d', own, till, number)
  writes[#writes + 1] = {'HSET', key, node, value}
  writes[#writes + 1] = {'PEXPIRE', key, expiry}
end

-- GCRA: the time at which the bucket would be full again.
local function rate(key, one, burst)
  local whole = one * burst
  local full = tonumber(redis.call('GET', key) or 0)
  -- Clocks may have been set back.
  full = math.min(math.max(full, now), now + whole)
  local wait = full + one - whole - now
  if wait > 0 then return wait end
  full = full + one
  local expiry = math.ceil((full - now) / 1000)
  writes[#writes + 1] = {'SET', key, string.format('%.3f', full), 'PX', string.format('%.0f', expiry)}
end

for i, key in ipairs(KEYS) do
  local kind, a, b, c, node, expiry = unpack(ARGV, 6 * i - 5, 6 * i)
  local wait
  if kind == 'live' then
    wait = live(key, tonumber(a), tonumber(b), tonumber(c), node, expiry)
  else
    wait = rate(key, tonumber(a), tonumber(b))
  end
  if wait then return {i, math.ceil(wait)} end
end
for _, write in ipairs(writes) do redis.call(unpack(write)) end
return {0, 0}
