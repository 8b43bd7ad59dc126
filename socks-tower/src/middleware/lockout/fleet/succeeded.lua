-- Forgets the failures of a key, unless it is locked out, and tells all nodes.
-- KEYS: as `failed.lua`
-- ARGV: channel, key
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local record = redis.call('HGET', KEYS[2], ARGV[2])
local ends = record and string.match(record, '%d+ (%d+)')
if not ends or tonumber(ends) <= now then
    redis.call('ZREM', KEYS[1], ARGV[2])
    redis.call('HDEL', KEYS[2], ARGV[2])
    redis.call('PUBLISH', ARGV[1], '0 0 0 ' .. ARGV[2])
end
