-- KEYS: value, claim. ARGV: id of this call (16 bytes), value, time to live in ms.
-- A claim has the id of the call that ended the value, then that of its Put: a repeat of that one comes too late.
if redis.call('GETRANGE', KEYS[2], 16, 31) == ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1] .. ARGV[2], 'PX', ARGV[3])
return 1
