/**
 * InternVL's dynamic tiling: the picture is stretched to the grid of square tiles whose aspect ratio is closest to
 * its own, the grid is cut into tiles row by row, and a thumbnail of the whole follows if there is more than one.
 * Grid choice as `dynamic_preprocess` of the InternVL repositories: see {@linkcode planTiles}.
 */
import { badRequest } from "../../base/errors.ts";
import type { RgbImage } from "./image.ts";
import { resizeImage } from "./resize.ts";

/** How a picture is cut. */
export interface TileOptions {
  /** A tile's side in pixels, the vision part's input size. */
  imageSize: number;
  /** Most tiles of the grid; the thumbnail comes on top. */
  maxTiles: number;
  /** Fewest tiles of the grid; 1 if not given. */
  minTiles?: number;
  /** Whether a thumbnail follows a grid of more than one tile; true if not given. */
  thumbnail?: boolean;
}

/** What a picture of some size will be cut into. */
export interface TilePlan {
  /** Tiles from left to right. */
  columns: number;
  /** Tiles from top to bottom. */
  rows: number;
  /** Whether a thumbnail follows the grid. */
  thumbnail: boolean;
  /** Tiles in all, the thumbnail included. */
  count: number;
}

/** A picture cut into tiles. */
export interface Tiles extends TilePlan {
  /** A tile's side in pixels. */
  size: number;
  /** `[tile, row, column, rgb]`, `3 * count * size * size` bytes; the thumbnail is last. */
  data: Uint8Array;
}

// 64 tiles of 448 pixels are 16,384 image tokens; a larger number is a mistake, and the grid search is quadratic.
const MOST_TILES = 1024;

/**
 * The grid for a picture of `width` x `height` pixels, without decoding it. Candidates are all grids of `minTiles`
 * to `maxTiles` tiles by rising tile count (by rising columns within a count). The one whose columns / rows is
 * closest to width / height wins; on equal distance a later one wins if the picture has more than half the pixels of
 * that grid. Throws `bad-request` for impossible options.
 */
export function planTiles(width: number, height: number, options: TileOptions): TilePlan {
  const { imageSize, maxTiles, minTiles = 1, thumbnail = true } = options;
  requireWhole("The picture's width", width, 1, Infinity);
  requireWhole("The picture's height", height, 1, Infinity);
  requireWhole("The image size", imageSize, 1, 16384);
  requireWhole("The largest number of tiles", maxTiles, 1, MOST_TILES);
  requireWhole("The smallest number of tiles", minTiles, 1, maxTiles);
  const aspect = width / height;
  let best = { columns: 1, rows: 1 };
  let bestDistance = Infinity;
  for (const grid of grids(minTiles, maxTiles)) {
    const distance = Math.abs(aspect - grid.columns / grid.rows);
    if (distance > bestDistance) continue;
    const tie = distance === bestDistance;
    const gridPixels = imageSize * imageSize * grid.columns * grid.rows;
    if (tie && width * height <= 0.5 * gridPixels) continue;
    best = grid;
    bestDistance = distance;
  }
  const inGrid = best.columns * best.rows;
  const withThumbnail = thumbnail && inGrid > 1;
  return { ...best, thumbnail: withThumbnail, count: inGrid + (withThumbnail ? 1 : 0) };
}

/** Cuts a picture into tiles; see {@linkcode planTiles} for the grid and for errors. */
export function tileImage(image: RgbImage, options: TileOptions): Tiles {
  const size = options.imageSize;
  const plan = planTiles(image.width, image.height, options);
  const stretched = resizeImage(image, plan.columns * size, plan.rows * size);
  const tileBytes = 3 * size * size;
  const line = 3 * size;
  const data = new Uint8Array(plan.count * tileBytes);
  for (let tile = 0; tile < plan.columns * plan.rows; tile++) {
    const left = (tile % plan.columns) * line;
    const top = Math.floor(tile / plan.columns) * size;
    for (let row = 0; row < size; row++) {
      const from = (top + row) * plan.columns * line + left;
      data.set(stretched.data.subarray(from, from + line), tile * tileBytes + row * line);
    }
  }
  if (plan.thumbnail) {
    data.set(resizeImage(image, size, size).data, (plan.count - 1) * tileBytes);
  }
  return { ...plan, size, data };
}

function grids(minTiles: number, maxTiles: number): { columns: number; rows: number }[] {
  const all = [];
  for (let columns = 1; columns <= maxTiles; columns++) {
    for (let rows = 1; rows * columns <= maxTiles; rows++) {
      if (rows * columns >= minTiles) all.push({ columns, rows });
    }
  }
  return all.sort((a, b) => a.columns * a.rows - b.columns * b.rows);
}

function requireWhole(what: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  const range = most === Infinity ? `from ${least} on` : `from ${least} to ${most}`;
  throw badRequest(`${what} must be a whole number ${range}, but it is ${value}.`);
}
