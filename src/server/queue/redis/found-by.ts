import { createHash } from "node:crypto";
import type { Redis } from "ioredis";
import { imageKeys } from "../pictures.js";
import { hasEnded } from "../queue.js";
import type { RecordedJob } from "./recorded.js";

/*
 * `found-by` is a sorted set of "<what> <id>" whose members all have the score 0, so that Redis keeps them in the order
 * of their letters: all ids behind one `<what>` are a range of it. What is written there is true or too much, never too
 * little, and what is too much is seen at the next look: a job that is gone has no record.
 */

const ofPicture = (key: string): string => `picture:${key}`;
/** A client's own words: of any length, and with spaces. */
const ofTask = (task: string): string => `task:${createHash("sha256").update(task).digest("hex")}`;

/** What a job, or the whole that a part belongs to, is found by; divided by spaces. */
export function foundBy(job: RecordedJob): string {
  const task = job.task === undefined || job.shard ? [] : [ofTask(job.task)];
  return [...task, ...picturesOf(job).map(ofPicture)].join(" ");
}

function picturesOf(job: RecordedJob): readonly string[] {
  try {
    return imageKeys(job);
  } catch {
    // A request of another version, which is kept as it is and not understood.
    return job.result?.images.map(({ key }) => key) ?? [];
  }
}

/** The ids behind each name; what has no record any more is taken out. */
const find = `
local prefix, found = ARGV[1], {}
for i = 2, #ARGV do
  local ids = {}
  for _, entry in ipairs(redis.call('ZRANGEBYLEX', prefix .. 'found-by', '[' .. ARGV[i] .. ' ', '(' .. ARGV[i] .. '!')) do
    local id = string.sub(entry, #ARGV[i] + 2)
    if redis.call('EXISTS', prefix .. 'job:' .. id) == 1 then table.insert(ids, id)
    else redis.call('ZREM', prefix .. 'found-by', entry) end
  end
  table.insert(found, ids)
end
return found`;

/** Enters a job as it was read, unless it has changed since. 1 for one that is as it was. */
const enter = `
local prefix, id = ARGV[1], ARGV[2]
local key = prefix .. 'job:' .. id
if redis.call('HGET', key, 'status') ~= ARGV[3] then return 0 end
for by in string.gmatch(ARGV[4], '%S+') do redis.call('ZADD', prefix .. 'found-by', 0, by .. ' ' .. id) end
redis.call('HSET', key, 'findable', ARGV[3])
return 1`;

/** Jobs that are looked at in one go. */
const PAGE = 500;

export type FoundRecords = ReturnType<typeof foundRecords>;

/** Jobs by what they are found by. */
export function foundRecords(
  redis: Redis,
  prefix: string,
  read: (id: string) => Promise<{ readonly job: RecordedJob } | undefined>,
) {
  /**
   * Enters what processes of an earlier version have made, once for each process: it may have been started beside them.
   * The place up to which all jobs have ended and are entered is kept: those before it are never looked at again.
   */
  const enterAll = async (): Promise<void> => {
    const done = Number((await redis.get(`${prefix}findable`)) ?? 0);
    let all = done;
    let open = false;
    for (let from = done; ; ) {
      const page = await redis.zrangebyscore(
        `${prefix}all`,
        `(${from}`,
        "+inf",
        "WITHSCORES",
        "LIMIT",
        0,
        PAGE,
      );
      const entries = page.flatMap((id, i) => (i % 2 === 0 ? [{ id, place: Number(page[i + 1]) }] : []));
      const states = await Promise.all(
        entries.map(({ id }) => redis.hmget(`${prefix}job:${id}`, "status", "findable")),
      );
      for (const [i, { id, place }] of entries.entries()) {
        const [status, findable] = states[i]!;
        const ended = status === null ? true : hasEnded({ status: status as RecordedJob["status"] });
        if (status !== findable) {
          const record = await read(id);
          if (record) await redis.eval(enter, 1, prefix, prefix, id, record.job.status, foundBy(record.job));
        }
        open ||= !ended;
        if (!open) all = place;
      }
      if (entries.length < PAGE) break;
      from = entries.at(-1)!.place;
    }
    if (all > done) await redis.set(`${prefix}findable`, all);
  };
  let entered: Promise<void> | undefined;

  const findAll = async (names: readonly string[]): Promise<readonly (readonly string[])[]> => {
    entered ??= enterAll().catch((error: unknown) => {
      entered = undefined;
      throw error;
    });
    await entered;
    if (names.length === 0) return [];
    return (await redis.eval(find, 1, prefix, prefix, ...names)) as string[][];
  };

  return {
    /** Whole jobs by the pictures that they or their parts have. */
    async havingPictures(keys: readonly string[]): Promise<ReadonlyMap<string, readonly string[]>> {
      const found = await findAll(keys.map(ofPicture));
      return new Map(keys.flatMap((key, i) => (found[i]!.length > 0 ? [[key, found[i]!]] : [])));
    },
    /** Of a client's own name for them. */
    ofTask: async (task: string): Promise<readonly string[]> => (await findAll([ofTask(task)]))[0]!,
  };
}
