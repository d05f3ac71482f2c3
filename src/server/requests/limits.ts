/** What a client may ask for. Everything is checked before the work that it bounds. */
export interface Limits {
  /** Bytes of a request's body. */
  readonly body: number;
  /** Pixels of a picture that comes in, checked in its header before it is decoded. */
  readonly imagePixels: number;
  /** Pixels of all pictures that come with one request. */
  readonly requestPixels: number;
  /** Pixels of one picture that is made, in every pass; pictures that are only enlarged may have 16 times as many. */
  readonly resultPixels: number;
  /** Pixels times evaluations of the network, summed over the passes of all pictures of one job. */
  readonly work: number;
  readonly promptLength: number;
  /** Pictures of one job. */
  readonly count: number;
  /** Jobs that wait; further ones are refused with 429. */
  readonly queued: number;
  /** Jobs of one client (one address) that wait; the rest of the queue is for others. */
  readonly queuedPerClient: number;
  /** Milliseconds that a job may run. */
  readonly jobMs: number;
  /** Bytes of all pictures in the data folder; beyond them new jobs are refused until some are deleted. */
  readonly storedBytes: number;
}

export const defaultLimits: Limits = {
  body: 48 * 2 ** 20,
  imagePixels: 2 ** 22, // 2048 x 2048
  requestPixels: 2 ** 25, // 8 of 2048 x 2048, 128 of 512 x 512
  resultPixels: 2 ** 22,
  work: 2 ** 30, // 40 pictures of 1024 x 1024 at 25 steps
  promptLength: 32_000, // what OpenAI's API takes
  count: 32,
  queued: 32,
  queuedPerClient: 24,
  jobMs: 60 * 60_000,
  storedBytes: 32 * 2 ** 30,
};

/** What changes when many workers share a queue: a request is split into its pictures. */
export const sharedLimits: Partial<Limits> = {
  count: 256,
  requestPixels: 2 ** 26, // 256 of 512 x 512
  queued: 20_000,
  queuedPerClient: 5_000,
  work: 2 ** 34,
};
