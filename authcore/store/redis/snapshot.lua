-- What a snapshot does to one group. KEYS: head, old, old names. ARGV: what, token, for how long (milliseconds).
-- Answers {1, revision, now}, or {0} if it may not.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local what, token = ARGV[1], ARGV[2]
local head = redis.call('HMGET', KEYS[1], 'rev', 'hold', 'snap token', 'snap until')
local rev, hold, owner, till = tonumber(head[1] or 0), tonumber(head[2] or 0), head[3], tonumber(head[4] or 0)
local function forget()
  redis.call('HDEL', KEYS[1], 'hold', 'snap', 'snap token', 'snap until')
  redis.call('UNLINK', KEYS[2], KEYS[3])
end
if what == 'lapse' then -- what a walker that died has left
  if owner and now >= till then forget() end
  return {1, rev, now}
end
if what == 'hold' then
  if owner and owner ~= token and now < till then return {0} end
  forget()
  redis.call('HSET', KEYS[1], 'hold', now + ARGV[3], 'snap token', token, 'snap until', now + ARGV[3])
  return {1, rev, now}
end
if owner ~= token then return {0} end
if what == 'end' then forget()
elseif now >= till then return {0}
elseif what == 'begin' then
  if now >= hold or hold > now + 1000 then return {0} end -- writers do not wait any more (apply.lua)
  redis.call('HSET', KEYS[1], 'snap', rev, 'snap until', now + ARGV[3])
  redis.call('HDEL', KEYS[1], 'hold')
else redis.call('HSET', KEYS[1], 'snap until', now + ARGV[3]) end
return {1, rev, now}
