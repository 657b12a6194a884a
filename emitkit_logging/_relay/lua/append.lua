-- Append a batch of one process to a stream, once, however often it is sent.
--
-- Guarantees: the numbers of the batches of one process and stream grow by one, so a batch whose number is not above the
-- last one was added before, and is not added again; one whose predecessor was not added is refused, or that would seem to
-- have been. What is added, its number and the totals change together. At most `size`
-- lines are held; alerts push the oldest other batches out, counted, unless a relay leads, which reads them soon.
--
-- Returns: status ('added', 'again', 'full' or 'gap'), signal ('ample', 'scarce', or '' if no relay has said so lately and little waits), and how
-- many batches that were acknowledged earlier Redis does not know any more.
local stream, totals, process, seen, counts, records = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local lane, name, number, acknowledged = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local lines, count, payload, version, facts = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7], ARGV[8], ARGV[9]
local dropped, lifetime, default_size = ARGV[10], tonumber(ARGV[11]), tonumber(ARGV[12])
-- read only: as keys, they would need the permission to write them
local signal, lease, waiting, config = ARGV[13], ARGV[14], ARGV[15], ARGV[16]

local now = tonumber(redis.call('TIME')[1])
local state = redis.call('GET', signal) or ''
local held = tonumber(redis.call('HGET', totals, 'alerts') or '0') + tonumber(redis.call('HGET', totals, 'records') or '0')
  + redis.call('HLEN', waiting)
if state == '' and held > 1000 then state = 'scarce' end
local last = tonumber(redis.call('HGET', process, lane) or '0')
local lost = 0
if last < acknowledged then lost = acknowledged - last end
local status = 'again'
if number > last + 1 and number > acknowledged + 1 then return {'gap', state, lost} end
if number > last then
  local size = tonumber(redis.call('HGET', config, 'size') or default_size)
  local is_led = redis.call('EXISTS', lease) == 1
  if held + lines > size then
    local is_alert = lane == 'alerts'
    if not is_alert or (is_led and held + lines > size + size / 8) then return {'full', state, lost} end
    while not is_led and held + lines > size do
      local oldest = redis.call('XRANGE', records, '-', '+', 'COUNT', 1)[1]
      if not oldest then return {'full', state, lost} end
      redis.call('XDEL', records, oldest[1])
      local old = {}
      for i = 1, #oldest[2], 2 do old[oldest[2][i]] = oldest[2][i + 1] end
      redis.call('HINCRBY', totals, 'records', 0 - tonumber(old.l))
      redis.call('HINCRBY', totals, 'records_count', 0 - tonumber(old.n))
      redis.call('HINCRBY', counts, 'evicted', tonumber(old.n))
      held = held - tonumber(old.l)
    end
  end
  if lines > 0 then redis.call('XADD', stream, '*', 'v', version, 'p', name, 'l', lines, 'n', count, 'd', payload) end
  redis.call('HINCRBY', totals, lane, lines)
  redis.call('HINCRBY', totals, lane .. '_count', count)
  redis.call('HSET', process, lane, number)
  redis.call('HINCRBY', process, 'count', count)
  status = 'added'
end
redis.call('HSET', process, 'facts', facts, 'seen', now, 'dropped', dropped)
redis.call('EXPIRE', process, lifetime)
redis.call('ZADD', seen, now, name)
redis.call('ZREMRANGEBYSCORE', seen, '-inf', now - lifetime)
return {status, state, lost}
