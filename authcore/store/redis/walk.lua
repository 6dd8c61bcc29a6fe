-- A page of a partition as it stood when the snapshot began. KEYS: index, head, old, old names. ARGV: low (a name),
-- <len>:<partition>:, the same with the byte behind it, what the records' keys begin with, token, how many, bytes.
-- Answers {last name of the index's page, last of the old names', name, record, ...}, the lasts empty if there are no
-- more; the pairs are in no order and may repeat. Empty answer: the snapshot has lapsed. It writes nothing.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local head = redis.call('HMGET', KEYS[2], 'snap', 'snap token', 'snap until')
if head[2] ~= ARGV[5] or not head[1] or now >= tonumber(head[3]) then return {} end
local snap, many, left = tonumber(head[1]), tonumber(ARGV[6]), tonumber(ARGV[7])
local answer = {'', ''}
local function add(name, record)
  answer[#answer + 1] = name
  answer[#answer + 1] = record
  left = left - #record
end
local names = redis.call('ZRANGE', KEYS[1], '[' .. ARGV[1], '+', 'BYLEX', 'LIMIT', 0, many)
for i, name in ipairs(names) do
  local key = ARGV[4] .. name
  local record = redis.call('MGET', key)[1]
  local old = redis.call('HGET', KEYS[3], ARGV[2] .. name)
  if old then record = old
  elseif not record then
    if redis.call('EXISTS', key) == 1 then record = '' end -- there is something else
  elseif #record >= 29 and record:sub(2, 9) == record:sub(10, 17) and struct.unpack('>I8', record:sub(2, 9)) > snap then record = false end
  if record then add(name, record) end
  if left <= 0 or i == many then
    answer[1] = name
    break
  end
end
left = tonumber(ARGV[7])
names = redis.call('ZRANGE', KEYS[4], '[' .. ARGV[2] .. ARGV[1], '(' .. ARGV[3], 'BYLEX', 'LIMIT', 0, many)
for i, member in ipairs(names) do
  local name = member:sub(#ARGV[2] + 1)
  add(name, redis.call('HGET', KEYS[3], member))
  if left <= 0 or i == many then
    answer[2] = name
    break
  end
end
return answer
