-- KEYS: value, claim. ARGV: id of this call (16 bytes), how long the claim is kept in ms.
if redis.call('GETRANGE', KEYS[2], 0, 15) == ARGV[1] then
  return redis.call('GETRANGE', KEYS[2], 32, -1)
end
local v = redis.call('GET', KEYS[1])
if not v then
  return false
end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[2], ARGV[1] .. v, 'PX', ARGV[2])
return string.sub(v, 17)
