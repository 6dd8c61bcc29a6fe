-- KEYS: a set. ARGV: member, window in microseconds, most members.
-- The member "" is none that a caller may add: its score is the longest window asked for, below zero.
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local window = tonumber(ARGV[2])
local keep = math.max(window, -tonumber(redis.call('ZSCORE', KEYS[1], '') or '0'))
-- Two calls of one microsecond stay in their order.
local newest = tonumber(redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2] or '0')
if newest >= now and newest < now + 1000 then
  now = newest + 1
end
local function number(x) return string.format('%.0f', x) end
redis.call('ZADD', KEYS[1], number(-keep), '', number(now), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, number(now - keep))
local over = redis.call('ZCARD', KEYS[1]) - 1 - tonumber(ARGV[3])
if over > 0 then
  redis.call('ZREMRANGEBYRANK', KEYS[1], 1, over)
end
redis.call('PEXPIRE', KEYS[1], number(math.ceil(keep / 1000)))
return redis.call('ZCOUNT', KEYS[1], '(' .. number(now - window), '+inf')
