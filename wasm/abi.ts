// What the kernels and their callers must agree on. Both compilers read this file (asc and tsc), so it holds plain
// constants and one enum, nothing else. Offsets are bytes from the start of the shared memory.

/** First address that constant tables of the kernels may take (asc's --memoryBase). */
export const TABLES = 1024;

/** Start of the control block. Words that threads contend for lie on cache lines of their own. */
export const CONTROL = 32768;
/** Counts up once per job: sleeping workers wait on it. */
export const GO = CONTROL;
/** Tickets left plus {@linkcode TICKET_BIAS}; a thread takes one by subtracting 1. */
export const TICKET = CONTROL + 64;
/** Tickets finished. */
export const DONE = CONTROL + 128;
/** Workers that sleep on GO, so that a wake-up is sent only if somebody hears it. */
export const SLEEPERS = CONTROL + 192;
/** 1 while the caller sleeps on DONE. */
export const CALLER_SLEEPS = CONTROL + 196;
/** Job: operation, items, items per ticket, tickets. */
export const JOB_OP = CONTROL + 256;
export const JOB_ITEMS = CONTROL + 260;
export const JOB_GRAIN = CONTROL + 264;
export const JOB_TICKETS = CONTROL + 268;
/** 1 asks the workers to return. */
export const STOP = CONTROL + 272;
/** 1 after a worker trapped: the job can never finish. */
export const FAILED = CONTROL + 276;
/** Address and size of the threads' scratch areas, one after the other. */
export const SCRATCH = CONTROL + 280;
export const SCRATCH_SIZE = CONTROL + 284;
/** Integer (and pointer) arguments of the job, 32 words. */
export const INTS = CONTROL + 512;
/** Float arguments of the job, 16 words. */
export const FLOATS = CONTROL + 640;
/** End of the control block; the heap starts at the next page. */
export const HEAP = 65536;

/** Keeps the ticket word positive when idle threads subtract from an empty job. */
export const TICKET_BIAS = 1048576;

/** What `dispatch` answers. */
export const FINISHED = 1;
export const PENDING = 0;

/** How attention finds keys and values: rows as they were computed, or a cache's packed blocks of 64 tokens. */
export enum KeysAs {
  Rows,
  Blocks,
  Int8Blocks,
}

/** One number per kernel that `dispatch` can run. */
export enum Op {
  RmsNorm,
  Attend,
  AttendJoin,
  AppendKeysValues,
  AttendBackwardQueries,
  AttendBackwardKeys,
  CopyRows,
  Checksum,
  Exponential,
  Add,
  Scale,
  Gelu,
  GeluBackward,
  SwiGlu,
  SwiGluBackward,
  ClampInto,
  SumSquares,
  AbsMax,
  Gemm,
  GemvColumns,
  GemvRows,
  GatherOperand,
  QuantizeActivations,
  PackedVector,
  PackedMatrix,
  DequantizeRows,
  LayerNorm,
  RmsNormBackward,
  LayerNormBackward,
  SumColumns,
  AddScaled,
  ScaleRows,
  RopeTable,
  Rope,
  GatherRows,
  ScatterAddRows,
  ReplaceRows,
  PixelShuffle,
  AssembleTokens,
  AssembleTokensBackward,
  ExtractPatches,
  CrossEntropy,
  LabelConfidence,
  KlBoth,
  AdamW,
  SignSgd,
  FakeGrid,
  FakeSee,
  FakeMask,
  FakeScales,
  FakeScaleGradient,
  ReadThrough,
  MultiplyPeak,
  DotPeak,
}
