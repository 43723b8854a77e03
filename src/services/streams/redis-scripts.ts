import { createHash } from 'node:crypto';

export interface RedisScript {
  text: string;
  sha: string;
}
const script = (text: string): RedisScript => ({ text, sha: createHash('sha1').update(text).digest('hex') });

/**
 * An entry of a log is `<seq of its last piece>-0` with the fields f (first piece's number), o (who wrote it), e (the
 * event as JSON), and where they say something p (lengths of the pieces), v (viewers in the owner's process), x (the
 * terminal event: the log is closed). All that the scripts judge by is in the last entry: a log that Redis has evicted
 * or lost is simply not there, and never half there.
 */
const TOP = `
local top = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local last, owner, closed = 0, nil, false
if top then
  last = tonumber(string.match(top[1], '^%d+'))
  for i = 1, #top[2], 2 do
    if top[2][i] == 'o' then owner = top[2][i + 1] elseif top[2][i] == 'x' then closed = true end
  end
end`;

/**
 * KEYS: the log. ARGV: owner, milliseconds to keep, channel, most entries, first number, then for each event: its last
 * number, how many words its fields are, the words. Gives the last number in the log; -1: others have ended it. Appends
 * all or nothing, and nothing behind a gap, over a repetition, or behind the end: whoever repeats an append of which it
 * does not know whether it was carried out is told the number to go on from.
 */
export const APPEND = script(`${TOP}
if top and owner ~= ARGV[1] then return -1 end
if closed or tonumber(ARGV[5]) ~= last + 1 then return last end
local at = 6
while at <= #ARGV do
  local fields = { 'XADD', KEYS[1], 'MAXLEN', '~', ARGV[4], ARGV[at] .. '-0' }
  local words = tonumber(ARGV[at + 1])
  for i = at + 2, at + 1 + words do fields[#fields + 1] = ARGV[i] end
  redis.call(unpack(fields))
  last = tonumber(ARGV[at])
  at = at + 2 + words
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PUBLISH', ARGV[3], last)
return last`);

/**
 * KEYS: the log. ARGV: who closes it, milliseconds to keep, channel, the terminal event, the last number that it is the
 * end of, how far behind that its number is. Closes a log once: 1; or 0, where it is closed, goes on, or is not there.
 */
export const CLOSE = script(`${TOP}
if not top or closed or last ~= tonumber(ARGV[5]) then return 0 end
local seq = last + tonumber(ARGV[6])
redis.call('XADD', KEYS[1], string.format('%d-0', seq), 'f', string.format('%d', last + 1), 'o', ARGV[1], 'e', ARGV[4], 'x', '1')
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PUBLISH', ARGV[3], seq)
return 1`);

/**
 * KEYS: a stream's viewers, by replica. ARGV: replica, how many, milliseconds that this holds, channel and message that
 * tell of one that has left.
 */
export const WATCH = script(`
if ARGV[2] == '0' then
  redis.call('HDEL', KEYS[1], ARGV[1])
  redis.call('PUBLISH', ARGV[4], ARGV[5])
  return 0
end
local now = redis.call('TIME')
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ':' .. string.format('%d', now[1] * 1000 + math.floor(now[2] / 1000) + tonumber(ARGV[3])))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1`);

/** KEYS: a stream's viewers. ARGV: the replica that is not counted. */
export const COUNT = script(`
local now = redis.call('TIME')
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
local all, sum = redis.call('HGETALL', KEYS[1]), 0
for i = 1, #all, 2 do
  local count, untilMs = string.match(all[i + 1], '^(%d+):(%d+)$')
  if all[i] ~= ARGV[1] and count and tonumber(untilMs) > ms then sum = sum + tonumber(count) end
end
return sum`);
