-- One batch: everything is read and judged before anything is written, for a script that fails midway leaves what it
-- has done. KEYS: head, partitions, index, expiring, batch, old, old names, then the record of each step.
-- ARGV: partition, witness field, seen revision, seen witness, <len>:<partition>:, then for each step: kind, name,
-- wanted revision (8 bytes; empty: any), and for a put its expiry and its body.
-- Answers the revision (of a repeat {1, revision}), {2 conflict | 3 corrupt, step}, {4 rolled back, revision, witness} or {5}: held for a snapshot or a restore.
local head = redis.call('HMGET', KEYS[1], 'rev', ARGV[2], 'hold', 'snap', 'snap until', 'restoring')
local rev, witness = tonumber(head[1] or 0), tonumber(head[2] or 0)
if rev < tonumber(ARGV[3]) or witness < tonumber(ARGV[4]) then return {4, rev, witness} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local before = redis.call('GET', KEYS[5])
if before then -- a repeat. It writes, so that a WAIT behind it waits for what the first one wrote.
  redis.call('PEXPIRE', KEYS[5], 30000)
  return {1, tonumber(before)}
end
local hold = tonumber(head[3] or 0) -- above a second: of a master whose clock was ahead
if now < hold and hold <= now + 1000 or head[6] then return {5} end
local snap = head[4] and now < tonumber(head[5]) and tonumber(head[4])

local none = string.rep('\0', 8)
local at, found = 6, {}
for i = 1, #KEYS - 7 do
  local kind, want = ARGV[at], ARGV[at + 2]
  if want ~= '' or snap and kind ~= 'c' then
    local h = redis.pcall('GETRANGE', KEYS[7 + i], 0, 28)
    local whole = type(h) == 'string' and #h == 29 and h:byte(1) == 1 and h:sub(2, 9) == h:sub(10, 17)
    if want ~= '' then
      if not whole and (h ~= '' or redis.call('EXISTS', KEYS[7 + i]) == 1) then return {3, i} end
      if (h == '' and none or h:sub(2, 9)) ~= want then return {2, i} end
    end
    found[i] = whole and struct.unpack('>I8', h:sub(2, 9))
  end
  at = at + (kind == 'p' and 5 or 3)
end

rev = rev + 1
redis.call('HSET', KEYS[1], 'rev', rev, ARGV[2], rev)
redis.call('HSET', KEYS[2], ARGV[1], rev)
redis.call('SET', KEYS[5], rev, 'PX', 30000)
local stamp = struct.pack('>I8', rev)
at = 6
for i = 1, #KEYS - 7 do
  local kind, name, key = ARGV[at], ARGV[at + 1], KEYS[7 + i]
  if snap and found[i] and found[i] <= snap and kind ~= 'c' then -- what the snapshot has yet to read
    redis.call('HSET', KEYS[6], ARGV[5] .. name, redis.call('GET', key))
    redis.call('ZADD', KEYS[7], 0, ARGV[5] .. name)
  end
  local expires = kind == 'p' and tonumber(ARGV[at + 3])
  if kind == 'd' or expires and expires > 0 and expires <= now then
    redis.call('DEL', key)
    redis.call('ZREM', KEYS[3], name)
  elseif kind == 'p' then
    redis.call('ZADD', KEYS[3], 0, name)
    local record = '\1' .. stamp .. stamp .. ARGV[at + 4]
    if expires > 0 then -- Redis lets a key live through the millisecond of its expiry; a record does not
      redis.call('SET', key, record, 'PXAT', expires - 1)
      redis.call('ZADD', KEYS[4], expires, ARGV[5] .. name)
    else
      redis.call('SET', key, record)
    end
  end
  at = at + (kind == 'p' and 5 or 3)
end
return rev
