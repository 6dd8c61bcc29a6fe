-- KEYS: a set. ARGV: window in microseconds, limit.
local t = redis.call('TIME')
local since = string.format('(%.0f', t[1] * 1000000 + t[2] - tonumber(ARGV[1]))
return redis.call('ZRANGE', KEYS[1], '+inf', since, 'BYSCORE', 'REV', 'LIMIT', 0, ARGV[2])
