-- Takes expired records out of the indexes; the server has deleted the records themselves. KEYS: expiring. ARGV: what
-- the group's keys begin with, how many at most. Answers how many it took.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- A second later than they could go: the server may judge expiry by a clock it read a moment ago.
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - 1000, 'LIMIT', 0, tonumber(ARGV[2]))
for _, member in ipairs(due) do
  if redis.call('EXISTS', ARGV[1] .. 'r:' .. member) == 0 then -- else it was written anew
    local length, rest = member:match('^(%d+):(.*)$')
    length = tonumber(length)
    redis.call('ZREM', ARGV[1] .. 'i:' .. rest:sub(1, length), rest:sub(length + 2))
  end
  redis.call('ZREM', KEYS[1], member)
end
return #due
