import type { Redis } from "ioredis";

/*
 * What Redis does in one piece, in Lua, with the keys that `records.ts` describes. The first argument is what stands
 * before each of them.
 */

/** Runs scripts that answer with a number. @param prefix what stands before each key */
export const scriptRunner =
  (redis: Redis, prefix: string) =>
  (text: string, ...args: readonly (string | number)[]): Promise<number> =>
    redis.eval(text, 1, prefix, prefix, ...args) as Promise<number>;

/** What the whole job is found by (found-by.ts), divided by spaces. @param status that its record has then */
const findable = (foundBy: string, id: string, status: string): string => `
for by in string.gmatch(${foundBy}, '%S+') do redis.call('ZADD', prefix .. 'found-by', 0, by .. ' ' .. ${id}) end
if ${status} ~= '' then redis.call('HSET', prefix .. 'job:' .. ${id}, 'findable', ${status}) end`;

/** Accepts a whole job with its parts, or nothing of it. Returns 1, 0 for an id that is known, -1 when full. */
export const create = `
local prefix, limit = ARGV[1], tonumber(ARGV[2])
if redis.call('EXISTS', prefix .. 'job:' .. ARGV[5]) == 1 then return 0 end
if redis.call('ZCARD', prefix .. 'waiting') >= limit then return -1 end
local order = redis.call('INCR', prefix .. 'order')
local lane = ARGV[3]
for i = 5, #ARGV, 2 do
  local id, json, place = ARGV[i], ARGV[i + 1], order + i / 65536
  redis.call('HSET', prefix .. 'job:' .. id, 'status', 'queued', 'token', '', 'job', json, 'order', place, 'lane', lane)
  if i > 5 or #ARGV == 6 then
    redis.call('ZADD', prefix .. 'waiting', place, id)
    redis.call('ZADD', prefix .. 'waiting:' .. lane, place, id)
  end
end
redis.call('SADD', prefix .. 'lanes', lane)
redis.call('ZADD', prefix .. 'all', order, ARGV[5])${findable("ARGV[4]", "ARGV[5]", "'queued'")}
redis.call('XADD', prefix .. 'events', 'MAXLEN', '~', 10000, '*', 'type', 'status', 'job', ARGV[6])
return 1`;

/** One move of one job: 1, or 0 when it no longer stands where the caller thinks. */
export const move = `
local prefix, id, kind = ARGV[1], ARGV[2], ARGV[3]
local key = prefix .. 'job:' .. id
local now = redis.call('HMGET', key, 'status', 'token', 'order', 'lane')
if now[1] ~= ARGV[4] or now[2] ~= ARGV[5] then return 0 end
redis.call('HSET', key, 'status', ARGV[6], 'token', ARGV[7], 'job', ARGV[8])
if kind ~= 'whole' then
  redis.call('ZREM', prefix .. 'waiting', id)
  redis.call('ZREM', prefix .. 'running', id)
  -- Absent in what a server of an earlier version has accepted.
  local ofLane = now[4] and prefix .. 'waiting:' .. now[4]
  if ofLane then redis.call('ZREM', ofLane, id) end
  if ARGV[6] == 'queued' then
    redis.call('ZADD', prefix .. 'waiting', now[3], id)
    if ofLane then redis.call('ZADD', ofLane, now[3], id) end
  end
  if ARGV[6] == 'running' then redis.call('ZADD', prefix .. 'running', now[3], id) end
  if now[4] and ARGV[6] == 'running' then redis.call('HINCRBY', prefix .. 'attempts', now[4], 1) end
  if now[4] and ARGV[6] == 'lost' then redis.call('HINCRBY', prefix .. 'lost', now[4], 1) end
end
if kind ~= 'part' then
  redis.call('ZREM', prefix .. 'begun', id)
  if ARGV[6] == 'running' then redis.call('ZADD', prefix .. 'begun', now[3], id) end
  if ARGV[9] == 'ended' then
    redis.call('HINCRBY', prefix .. 'ended', ARGV[6], 1)
    redis.call('DEL', prefix .. 'progress:' .. id)
  end
  redis.call('XADD', prefix .. 'events', 'MAXLEN', '~', 10000, '*', 'type', 'status', 'job', ARGV[8])
end${findable("ARGV[10]", "ARGV[11]", "(kind == 'part' and '' or ARGV[6])")}
return 1`;

/** Puts what waits in front of all that waits, and tells it of the whole job that is given. 1, or 0 when it does not wait. */
export const first = `
local prefix, id = ARGV[1], ARGV[2]
local key = prefix .. 'job:' .. id
local now = redis.call('HMGET', key, 'status', 'lane')
local front = redis.call('ZRANGE', prefix .. 'waiting', 0, 0, 'WITHSCORES')
if now[1] ~= 'queued' or not front[2] then return 0 end
local place = tonumber(front[2]) - 1
redis.call('HSET', key, 'order', place)
redis.call('ZADD', prefix .. 'waiting', place, id)
if now[2] then redis.call('ZADD', prefix .. 'waiting:' .. now[2], place, id) end
if ARGV[3] ~= '' then
  redis.call('XADD', prefix .. 'events', 'MAXLEN', '~', 10000, '*', 'type', 'status', 'job', ARGV[3])
end
return 1`;

export const remove = `
local prefix, id = ARGV[1], ARGV[2]
local key = prefix .. 'job:' .. id
if redis.call('HGET', key, 'status') ~= ARGV[3] then return 0 end
redis.call('XADD', prefix .. 'events', 'MAXLEN', '~', 10000, '*', 'type', 'removed', 'job', redis.call('HGET', key, 'job'))
redis.call('DEL', key)
redis.call('ZREM', prefix .. 'all', id)
redis.call('HINCRBY', prefix .. 'ended', ARGV[3], -1)
for by in string.gmatch(ARGV[4], '%S+') do redis.call('ZREM', prefix .. 'found-by', by .. ' ' .. id) end
for i = 5, #ARGV do redis.call('DEL', prefix .. 'job:' .. ARGV[i]) end
return 1`;

/** Writes what accepting a job writes, and takes it back: fails where the memory is full, or the user may not. */
export const probe = `
local key = ARGV[1] .. 'probe'
redis.call('INCR', key)
redis.call('HSET', key .. ':job', 'status', 'queued')
redis.call('ZADD', key .. ':waiting', 0, 'job')
redis.call('SADD', key .. ':lanes', 'lane')
redis.call('XADD', key .. ':events', '*', 'type', 'probe')
return redis.call('DEL', key, key .. ':job', key .. ':waiting', key .. ':lanes', key .. ':events')`;
