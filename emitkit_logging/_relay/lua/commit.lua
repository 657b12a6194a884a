-- Write one unit of work of the leader.
--
-- Guarantees: nothing is written unless the lease is the caller's and the state is the one that the caller wrote last.
-- What was read leaves the streams in the same step in which its effects are written. A full Redis takes it all the
-- same: the first command of the step frees memory, after which Redis allows the others.
--
-- Returns: 'written'; 'fenced' if another relay leads or the lease ran out; 'behind' if Redis has an older state.
local lease, state, waiting, requests, users = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local counts, totals, signal, config = KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local streams = {alerts = KEYS[10], records = KEYS[11]}
if redis.call('GET', lease) ~= ARGV[1] then return 'fenced' end
local revision = tonumber(redis.call('HGET', state, 'revision') or '0')
if revision ~= tonumber(ARGV[2]) then return 'behind' end
redis.call('HDEL', waiting, '')  -- frees nothing, but marks the step as one that has written

local at = 3
local function take()
  local value = ARGV[at]
  at = at + 1
  return value
end
local function each(command, key, width)  -- one command for at most 1,000 fields, since Lua's stack is bounded
  local left = tonumber(take())
  while left > 0 do
    local some = math.min(left, 1000)
    redis.call(command, key, unpack(ARGV, at, at + some * width - 1))
    at = at + some * width
    left = left - some
  end
end

for _, lane in ipairs({'alerts', 'records'}) do
  local until_id, lines, count = take(), tonumber(take()), tonumber(take())
  if until_id ~= '' then
    redis.call('XTRIM', streams[lane], 'MINID', until_id)
    if redis.call('XLEN', streams[lane]) == 0 then
      redis.call('HDEL', totals, lane, lane .. '_count')
    else
      redis.call('HINCRBY', totals, lane, 0 - lines)
      redis.call('HINCRBY', totals, lane .. '_count', 0 - count)
    end
  end
end
each('HDEL', waiting, 1)
each('HDEL', requests, 1)
each('HSET', waiting, 2)
each('HSET', requests, 2)
each('HSET', users, 2)
each('HDEL', users, 1)
each('HSET', state, 2)
local left = tonumber(take())
for _ = 1, left do redis.call('HINCRBY', counts, take(), take()) end
local value, seconds = take(), take()
redis.call('SET', signal, value, 'EX', seconds)
each('HSET', config, 2)
redis.call('HSET', state, 'revision', revision + 1)
return 'written'
