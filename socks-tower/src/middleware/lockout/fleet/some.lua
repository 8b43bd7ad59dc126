-- Some of all keys.
-- KEYS: as `failed.lua`
-- ARGV: where to go on, 0 at first
-- Answers: where to go on, 0 at the end; key, failures, ms until its lock ends, ms until
-- it is forgotten, and so on
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found = redis.call('ZSCAN', KEYS[1], ARGV[1], 'COUNT', 500)
local some = {}
for at = 1, #found[2], 2 do
    local key, rest = found[2][at], found[2][at + 1] - now
    local record = redis.call('HGET', KEYS[2], key)
    if record and rest > 0 then
        local failures, ends = string.match(record, '(%d+) (%d+)')
        table.insert(some, key)
        table.insert(some, tonumber(failures))
        table.insert(some, math.max(0, ends - now))
        table.insert(some, rest)
    end
end
return { found[1], some }
