-- Counts failures of a key, and tells all nodes what it has now.
-- KEYS: when each key is forgotten, in ms; its failures, and when its lock ends
-- ARGV: channel, key, failures, ms of a lock that it has besides,
--       failures that lock, the first lock, the longest, ms until it is forgotten, most keys
local forgotten, records = KEYS[1], KEYS[2]
local key, more, besides = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local max, first, longest = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local memory, most = tonumber(ARGV[8]), tonumber(ARGV[9])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function forget(keys)
    for _, old in ipairs(keys) do
        redis.call('ZREM', forgotten, old)
        redis.call('HDEL', records, old)
    end
end
-- Several for each that comes, so that they do not gather.
forget(redis.call('ZRANGEBYSCORE', forgotten, '-inf', now, 'LIMIT', 0, 8))

local known = tonumber(redis.call('ZSCORE', forgotten, key) or 0)
local failures, ends = 0, now
if known > now then
    local record = redis.call('HGET', records, key) or '0 0'
    failures, ends = string.match(record, '(%d+) (%d+)')
    failures, ends = tonumber(failures), tonumber(ends)
elseif known == 0 and redis.call('ZCARD', forgotten) >= most then
    forget(redis.call('ZRANGE', forgotten, 0, 0))
end
-- One that is locked out was with the verifier before the lock fell.
if ends <= now then
    ends = now
    failures = failures + more
    if failures >= max then
        ends = now + math.min(longest, first * 2 ^ math.min(failures - max, 32))
    end
end
ends = math.max(ends, now + besides)
redis.call('ZADD', forgotten, string.format('%.0f', ends + memory), key)
redis.call('HSET', records, key, string.format('%.0f %.0f', failures, ends))
-- No lock ends later than the longest that begins now.
local expiry = string.format('%.0f', math.max(longest, besides) + memory + 1000)
redis.call('PEXPIRE', forgotten, expiry)
redis.call('PEXPIRE', records, expiry)
local said = string.format('%.0f %.0f %.0f ', failures, ends - now, ends + memory - now)
redis.call('PUBLISH', ARGV[1], said .. key)
