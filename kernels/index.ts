// Runs jobs on all threads. A job is an operation over `items` independent pieces of work, handed out as tickets of
// `grain` items or more; each piece is computed whole by one thread, so results do not depend on who takes what.
// Tickets shrink towards the end: few are needed, and yet threads of different speed finish together.
//
// A thread holding a ticket keeps the job open (the caller waits for DONE = tickets), so the arguments stay unchanged
// while anybody reads them, and a worker that wakes late simply joins whatever job runs then.
// Longer than 300 lines because every operation has its case and its import here.
import {
  CALLER_SLEEPS,
  DONE,
  FAILED,
  FINISHED,
  GO,
  JOB_GRAIN,
  JOB_ITEMS,
  JOB_OP,
  JOB_TICKETS,
  Op,
  PENDING,
  SCRATCH,
  SCRATCH_SIZE,
  SLEEPERS,
  STOP,
  TICKET,
  TICKET_BIAS,
} from "../wasm/abi";
import { dot_peak, multiply_peak, read_through } from "./ceilings";
import { checksum } from "./checksum";
import { attend_backward_keys, attend_backward_queries } from "./attention/backward";
import { append_keys_values } from "./attention/append";
import { attend, attend_join } from "./attention/forward";
import { copy_rows } from "./copy";
import { quantize_activations } from "./packed_activations";
import { packed_matrix } from "./packed_matrix";
import { dequantize_rows } from "./packed_rows";
import { packed_vector } from "./packed_variants";
import {
  abs_max,
  add,
  clamp_into,
  exponential,
  gelu,
  gelu_backward,
  scale,
  sum_squares,
  swiglu,
  swiglu_backward,
} from "./pointwise";
import { gemm } from "./dense";
import { gather_operand, gemv_columns, gemv_rows } from "./gemv";
import { layer_norm, layer_norm_backward, rms_norm, rms_norm_backward } from "./norm";
import { add_scaled, scale_rows, sum_columns } from "./columns";
import { rope, rope_table } from "./rope";
import {
  assemble_tokens,
  assemble_tokens_backward,
  extract_patches,
  gather_rows,
  pixel_shuffle,
  replace_rows,
  scatter_add_rows,
} from "./rows";
import { cross_entropy, kl_both, label_confidence } from "./losses";
import { adamw, sign_sgd } from "./optimise";
import { fake_grid, fake_mask, fake_scale_gradient, fake_scales, fake_see } from "./fake_quant";

const SPINS: i32 = 20000;
/** Each ticket starts reading memory anew, which costs about a microsecond; more of them make threads end more evenly. */
const TICKETS_PER_THREAD: i32 = 4;

function run(op: i32, scratch: usize, begin: i32, end: i32): void {
  switch (op) {
    case Op.RmsNorm:
      rms_norm(begin, end);
      break;
    case Op.Attend:
      attend(scratch, begin, end);
      break;
    case Op.AttendJoin:
      attend_join(scratch, begin, end);
      break;
    case Op.AppendKeysValues:
      append_keys_values(begin, end);
      break;
    case Op.AttendBackwardQueries:
      attend_backward_queries(scratch, begin, end);
      break;
    case Op.AttendBackwardKeys:
      attend_backward_keys(scratch, begin, end);
      break;
    case Op.CopyRows:
      copy_rows(begin, end);
      break;
    case Op.Exponential:
      exponential(begin, end);
      break;
    case Op.Add:
      add(begin, end);
      break;
    case Op.Scale:
      scale(begin, end);
      break;
    case Op.Gelu:
      gelu(begin, end);
      break;
    case Op.GeluBackward:
      gelu_backward(begin, end);
      break;
    case Op.SwiGlu:
      swiglu(begin, end);
      break;
    case Op.SwiGluBackward:
      swiglu_backward(begin, end);
      break;
    case Op.ClampInto:
      clamp_into(begin, end);
      break;
    case Op.SumSquares:
      sum_squares(begin, end);
      break;
    case Op.AbsMax:
      abs_max(begin, end);
      break;
    case Op.Checksum:
      checksum(begin, end);
      break;
    case Op.Gemm:
      gemm(begin, end, scratch);
      break;
    case Op.GemvColumns:
      gemv_columns(begin, end);
      break;
    case Op.GemvRows:
      gemv_rows(begin, end);
      break;
    case Op.GatherOperand:
      gather_operand(begin, end);
      break;
    case Op.QuantizeActivations:
      quantize_activations(begin, end, scratch);
      break;
    case Op.PackedVector:
      packed_vector(begin, end, scratch);
      break;
    case Op.PackedMatrix:
      packed_matrix(begin, end, scratch);
      break;
    case Op.DequantizeRows:
      dequantize_rows(begin, end, scratch);
      break;
    case Op.LayerNorm:
      layer_norm(begin, end);
      break;
    case Op.RmsNormBackward:
      rms_norm_backward(begin, end);
      break;
    case Op.LayerNormBackward:
      layer_norm_backward(begin, end);
      break;
    case Op.SumColumns:
      sum_columns(begin, end);
      break;
    case Op.AddScaled:
      add_scaled(begin, end);
      break;
    case Op.ScaleRows:
      scale_rows(begin, end);
      break;
    case Op.RopeTable:
      rope_table(begin, end);
      break;
    case Op.Rope:
      rope(begin, end);
      break;
    case Op.GatherRows:
      gather_rows(begin, end);
      break;
    case Op.ScatterAddRows:
      scatter_add_rows(begin, end);
      break;
    case Op.ReplaceRows:
      replace_rows(begin, end);
      break;
    case Op.PixelShuffle:
      pixel_shuffle(begin, end);
      break;
    case Op.AssembleTokens:
      assemble_tokens(begin, end);
      break;
    case Op.AssembleTokensBackward:
      assemble_tokens_backward(begin, end);
      break;
    case Op.ExtractPatches:
      extract_patches(begin, end);
      break;
    case Op.CrossEntropy:
      cross_entropy(begin, end);
      break;
    case Op.LabelConfidence:
      label_confidence(begin, end);
      break;
    case Op.KlBoth:
      kl_both(begin, end);
      break;
    case Op.AdamW:
      adamw(begin, end);
      break;
    case Op.FakeGrid:
      fake_grid(begin, end);
      break;
    case Op.FakeSee:
      fake_see(begin, end);
      break;
    case Op.FakeMask:
      fake_mask(begin, end);
      break;
    case Op.FakeScales:
      fake_scales(begin, end);
      break;
    case Op.FakeScaleGradient:
      fake_scale_gradient(begin, end);
      break;
    case Op.SignSgd:
      sign_sgd(begin, end);
      break;
    case Op.ReadThrough:
      read_through(begin, end);
      break;
    case Op.MultiplyPeak:
      multiply_peak(begin, end);
      break;
    case Op.DotPeak:
      dot_peak(begin, end);
      break;
    default:
      unreachable();
  }
}

// The first item that the last `left` tickets share. They share what is left in proportion to left², in whole grains.
function itemsBefore(left: i32): i32 {
  const items = load<i32>(JOB_ITEMS), grain = load<i32>(JOB_GRAIN), tickets = load<i32>(JOB_TICKETS);
  const grains = (items + grain - 1) / grain;
  if (grains == tickets) return min((tickets - left) * grain, items);
  const shared = <i64> grains * <i64> left * <i64> left / (<i64> tickets * <i64> tickets);
  return min((grains - <i32> shared) * grain, items);
}

function takeTickets(thread: i32): void {
  const scratch: usize = load<u32>(SCRATCH) + <usize> thread * load<u32>(SCRATCH_SIZE);
  while (true) {
    const left = atomic.sub<i32>(TICKET, 1) - TICKET_BIAS;
    if (left <= 0) return;
    const begin = itemsBefore(left), end = itemsBefore(left - 1);
    if (begin < end) run(load<i32>(JOB_OP), scratch, begin, end);
    atomic.add<i32>(DONE, 1);
    if (thread != 0 && atomic.load<i32>(CALLER_SLEEPS) != 0) atomic.notify(DONE, 1);
  }
}

/** Runs a job; the caller has written the arguments. Answers PENDING if workers have not finished in reasonable time. */
export function dispatch(op: i32, items: i32, grain: i32, workers: i32, maySleep: i32): i32 {
  const tickets = min((items + grain - 1) / grain, (workers + 1) * TICKETS_PER_THREAD);
  if (workers == 0 || tickets <= 1) {
    run(op, load<u32>(SCRATCH), 0, items);
    return FINISHED;
  }
  store<i32>(JOB_OP, op);
  store<i32>(JOB_ITEMS, items);
  store<i32>(JOB_GRAIN, grain);
  store<i32>(JOB_TICKETS, tickets);
  atomic.store<i32>(DONE, 0);
  atomic.store<i32>(TICKET, TICKET_BIAS + tickets);
  atomic.add<i32>(GO, 1);
  if (atomic.load<i32>(SLEEPERS) > 0) atomic.notify(GO, workers);
  takeTickets(0);
  return await_job(maySleep);
}

/** Waits for the running job: spins, then sleeps a while where that is allowed. */
export function await_job(maySleep: i32): i32 {
  const tickets = load<i32>(JOB_TICKETS);
  for (let round = 0; round < 64; round++) {
    for (let spin = 0; spin < SPINS; spin++) {
      if (atomic.load<i32>(DONE) == tickets) return FINISHED;
    }
    if (atomic.load<i32>(FAILED) != 0) return PENDING;
    if (maySleep) {
      atomic.store<i32>(CALLER_SLEEPS, 1);
      const done = atomic.load<i32>(DONE);
      if (done != tickets) atomic.wait<i32>(DONE, done, 1000000);
      atomic.store<i32>(CALLER_SLEEPS, 0);
    }
  }
  return atomic.load<i32>(DONE) == tickets ? FINISHED : PENDING;
}

/** A worker's whole life: take tickets, spin, sleep, until STOP. */
export function worker(thread: i32): void {
  let seen = 0;
  while (true) {
    let spin = 0;
    while (atomic.load<i32>(GO) == seen && spin < SPINS) spin++;
    if (atomic.load<i32>(GO) == seen) {
      atomic.add<i32>(SLEEPERS, 1);
      atomic.wait<i32>(GO, seen, -1);
      atomic.sub<i32>(SLEEPERS, 1);
    }
    seen = atomic.load<i32>(GO);
    if (atomic.load<i32>(STOP) != 0) return;
    takeTickets(thread);
  }
}
