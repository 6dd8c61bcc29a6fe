-- Steps of a restore in one group. KEYS: head, partitions, index, expiring, then records. ARGV: what, token, and for
-- 'put': partition, its highest revision, <len>:<partition>:, then name, expiry and record of each; for 'rise': the
-- group's revision; for 'wipe': partition, what the records' keys begin with.
-- Answers 1, or 0 if it may not.
local what, token = ARGV[1], ARGV[2]
local head = redis.call('HMGET', KEYS[1], 'rev', 'restoring')
if what == 'claim' then
  if head[1] or head[2] or redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
  redis.call('HSET', KEYS[1], 'restoring', token)
  return 1
end
if head[2] ~= token then return 0 end
if what == 'put' then
  redis.call('HSET', KEYS[2], ARGV[3], ARGV[4])
  local at = 6
  for i = 5, #KEYS do
    local name, expires = ARGV[at], tonumber(ARGV[at + 1])
    redis.call('ZADD', KEYS[3], 0, name)
    if expires > 0 then
      redis.call('SET', KEYS[i], ARGV[at + 2], 'PXAT', expires - 1)
      redis.call('ZADD', KEYS[4], expires, ARGV[5] .. name)
    else
      redis.call('SET', KEYS[i], ARGV[at + 2])
    end
    at = at + 3
  end
elseif what == 'rise' then redis.call('HSET', KEYS[1], 'rev', ARGV[3])
elseif what == 'release' then redis.call('HDEL', KEYS[1], 'restoring')
elseif what == 'wipe' then -- a step of it: 0 when the partition is empty and gone
  local names = redis.call('ZRANGE', KEYS[3], 0, 499)
  for _, name in ipairs(names) do
    redis.call('UNLINK', ARGV[4] .. name)
    redis.call('ZREM', KEYS[3], name)
  end
  if #names < 500 then
    redis.call('HDEL', KEYS[2], ARGV[3])
    return 0
  end
elseif what == 'free' then -- the leave to go on after a rollback stays
  local inc = redis.call('HGET', KEYS[1], 'inc')
  redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[4])
  if inc then redis.call('HSET', KEYS[1], 'inc', inc) end
end
return 1
