-- Takes from a quota, or gives back to it.
-- KEYS: what each key has used, which is gone at the end of the period
-- ARGV: key, bytes wanted, bytes used besides (less than none: given back), the period of
--       these or "", the quota, ms of a period, most keys
-- Answers: bytes granted, bytes used, the period, ms until its end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local key, want, besides = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local quota, length, most = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local period = math.floor(now / length)
local ends = (period + 1) * length

local known = redis.call('ZSCORE', KEYS[1], key)
local before = tonumber(known or 0)
if ARGV[4] == '' or tonumber(ARGV[4]) == period then
    before = math.max(0, before + besides)
end
local granted = math.max(0, math.min(want, quota - before))
local used = before + granted
if used == 0 then
    redis.call('ZREM', KEYS[1], key)
else
    if not known and redis.call('ZCARD', KEYS[1]) >= most then
        redis.call('ZPOPMIN', KEYS[1])
    end
    redis.call('ZADD', KEYS[1], string.format('%.0f', used), key)
    redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', ends))
end
return { granted, used, period, ends - now }
