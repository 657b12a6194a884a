-- Take or renew the lease.
--
-- Guarantees: at most one relay holds it at a time. Each holding has a value of its own, which `commit` compares; it is
-- never given twice, also not to the same relay. A lease that has run out cannot be renewed, only taken anew.
--
-- Returns: whether the caller holds it (1 or 0), the value of the lease, and the format of the state in Redis.
local lease, token, state = KEYS[1], KEYS[2], KEYS[3]
local owner, milliseconds, own, dead = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local format = redis.call('HGET', state, 'format') or ''
local held = redis.call('GET', lease)
if held and held == own then
  redis.call('PEXPIRE', lease, milliseconds)
  return {1, held, format}
end
if held and held ~= dead then return {0, held, format} end
redis.call('HDEL', state, '')  -- marks the step as one that has written, so that also a full Redis takes the lease
local value = owner .. ':' .. redis.call('INCR', token)
redis.call('SET', lease, value, 'PX', milliseconds)
return {1, value, format}
