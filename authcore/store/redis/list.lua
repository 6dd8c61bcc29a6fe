-- Records of one partition by name. KEYS: index, head. ARGV: low and high as BYLEX has them, 'REV' or '', how many,
-- witness field, what the records' keys begin with, bytes after which it stops.
-- Answers {revision, witness, the last name looked at if there may be more, name, record, name, record, ...}; a record
-- that is no string is answered empty. It writes nothing.
local head = redis.call('HMGET', KEYS[2], 'rev', ARGV[5])
local answer = {head[1] or '0', head[2] or '0', ''}
local many, left = tonumber(ARGV[4]), tonumber(ARGV[7])
local names
if ARGV[3] == 'REV' then
  names = redis.call('ZRANGE', KEYS[1], ARGV[2], ARGV[1], 'BYLEX', 'REV', 'LIMIT', 0, many)
else
  names = redis.call('ZRANGE', KEYS[1], ARGV[1], ARGV[2], 'BYLEX', 'LIMIT', 0, many)
end
for i, name in ipairs(names) do
  local key = ARGV[6] .. name
  local value = redis.call('MGET', key)[1]
  if not value and redis.call('EXISTS', key) == 1 then value = '' end -- there is something else
  if value then
    answer[#answer + 1] = name
    answer[#answer + 1] = value
    left = left - #value
  end
  if left <= 0 or i == many then
    answer[3] = name
    break
  end
end
return answer
