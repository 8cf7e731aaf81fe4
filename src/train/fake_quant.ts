// Quantization-aware weights: the optimiser moves a latent weight, products see it on the grid that it will be stored
// on (or, to reproduce SPEED-Q's training, on the released one), and the gradient passes straight through the rounding
// wherever the weight lies inside its group's range.
import { badRequest } from "../base/errors.ts";
import { type BilevelFormat, checkFormat, type Format, formatName, largestCode } from "../formats/format.ts";
import {
  codesOn,
  dequantize,
  type Grid,
  gridFrom,
  maskedGradient,
  rangeOf,
  zeroOf,
} from "../formats/grid.ts";
import { referenceGradient, type ReferenceGrid, referenceGrid } from "../formats/grid_reference.ts";
