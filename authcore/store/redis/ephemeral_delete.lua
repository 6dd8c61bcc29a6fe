-- KEYS: value, claim, set. ARGV: id of this call (16 bytes), how long the claim is kept in ms.
local put = redis.call('GETRANGE', KEYS[1], 0, 15)
if put ~= '' then
  redis.call('SET', KEYS[2], ARGV[1] .. put, 'PX', ARGV[2])
end
return redis.call('DEL', KEYS[1], KEYS[3])
