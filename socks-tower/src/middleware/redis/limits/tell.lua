-- Says how many connections of each key a node has.
--
-- KEYS: one for each. ARGV: node, expiry in milliseconds, and for each key two:
-- how many, the number of what is told.
local node, expiry = ARGV[1], ARGV[2]
local time = redis.call('TIME')
local till = time[1] * 1e6 + time[2] + expiry * 1000

for i, key in ipairs(KEYS) do
  local count, number = ARGV[2 * i + 1], ARGV[2 * i + 2]
  local held = redis.call('HGET', key, node)
  local told = held and held:match('(%d+)$') or 0
  if tonumber(told) < tonumber(number) then
    if count == '0' then
      redis.call('HDEL', key, node)
    else
      redis.call('HSET', key, node, string.format('%s %.0f %s', count, till, number))
      redis.call('PEXPIRE', key, expiry)
    end
  end
end
