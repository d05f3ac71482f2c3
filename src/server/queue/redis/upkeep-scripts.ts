/* Scripts that Redis runs for the upkeep of records (records.ts): what is no job, and who is alive. */

/** Takes what is no job out of all lists; a record that says nothing is kept as it is. 1 for the first who does that. */
export const setAside = `
local prefix, id = ARGV[1], ARGV[2]
local key = prefix .. 'job:' .. id
for _, list in ipairs({'all', 'waiting', 'running', 'begun'}) do redis.call('ZREM', prefix .. list, id) end
for _, lane in ipairs(redis.call('SMEMBERS', prefix .. 'lanes')) do redis.call('ZREM', prefix .. 'waiting:' .. lane, id) end
if redis.call('EXISTS', key) == 0 then return 0 end
redis.call('RENAME', key, prefix .. 'damaged:' .. id)
return 1`;

/** Says that a worker is alive, and forgets those who have said nothing in the last seconds, on Redis' own clock. */
export const alive = `
local prefix, seconds = ARGV[1], tonumber(ARGV[2])
local now = tonumber(redis.call('TIME')[1])
if ARGV[3] then
  redis.call('ZADD', prefix .. 'workers', now, ARGV[3])
  redis.call('HSET', prefix .. 'serves', ARGV[3], ARGV[4])
end
local silent = redis.call('ZRANGEBYSCORE', prefix .. 'workers', '-inf', now - seconds)
-- Said before the clock was set back.
for _, id in ipairs(redis.call('ZRANGEBYSCORE', prefix .. 'workers', now + seconds, '+inf')) do table.insert(silent, id) end
for _, id in ipairs(silent) do
  redis.call('ZREM', prefix .. 'workers', id)
  redis.call('HDEL', prefix .. 'serves', id)
end
return #silent`;
