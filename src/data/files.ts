/**
 * Opens data by path: JSONL conversations, evaluation TSV, image folders, plain text. The readers
 * themselves take text or bytes; this is the only file of the folder that touches the host.
 */
import { badFile } from "../base/errors.ts";
import {
  folderOf,
  joinPath,
  kindOf,
  listFolder,
  openFile,
  readFile,
  readTextFile,
} from "../io/host.ts";
import type { ChatItem, DataSet, ImageRef } from "./items.ts";
import { parseJsonl } from "./jsonl.ts";
import { parsePlainText } from "./plain_text.ts";
import { type EvalItem, readEvalTsv } from "./tsv.ts";

const MAX_IMAGE_BYTES = 256 * 1024 * 1024;
const MAX_FOLDER_DEPTH = 16;
const MAX_FOLDER_ENTRIES = 1_000_000;
const CHUNK = 1024 * 1024;

/** Reads a JSONL file; image paths become relative to the file's folder, absolute ones stay. */
export function openChatData(path: string, maxBadShare?: number): DataSet<ChatItem> {
  const { items, bad } = parseJsonl(readTextFile(path), {
    name: path,
    ...(maxBadShare !== undefined && { maxBadShare }),
  });
  const folder = folderOf(path);
  const locate = (image: ImageRef): ImageRef =>
    image.kind === "path" ? { kind: "path", path: joinPath(folder, image.path) } : image;
  return { items: items.map((item) => ({ ...item, images: item.images.map(locate) })), bad };
}

/** Reads a VLMEvalKit TSV piece by piece. */
export async function openEvalData(path: string, maxBadShare?: number): Promise<DataSet<EvalItem>> {
  const source = openFile(path);
  async function* chunks(): AsyncGenerator<Uint8Array> {
    for (let offset = 0; offset < source.size; offset += CHUNK) {
      const chunk = new Uint8Array(Math.min(CHUNK, source.size - offset));
      await source.read(offset, chunk);
      yield chunk;
    }
  }
  try {
    return await readEvalTsv(chunks(), {
      name: path,
      ...(maxBadShare !== undefined && { maxBadShare }),
    });
  } finally {
    source.close();
  }
}

/**
 * Finds the JPEG, PNG and WebP files in a folder and the folders below it, in order of their names.
 */
export function openImageFolder(path: string): DataSet<ImageRef> {
  const items: ImageRef[] = [];
  let entries = 0;
  const visit = (folder: string, depth: number) => {
    for (const name of listFolder(folder)) {
      if (++entries > MAX_FOLDER_ENTRIES) {
        throw badFile(
          path,
          `expected at most ${MAX_FOLDER_ENTRIES} files and folders, found more.`,
        );
      }
      const inner = joinPath(folder, name);
      if (/\.(jpe?g|png|webp)$/i.test(name)) items.push({ kind: "path", path: inner });
      else if (depth < MAX_FOLDER_DEPTH && !name.startsWith(".") && kindOf(inner) === "folder") {
        visit(inner, depth + 1);
      }
    }
  };
  visit(path, 0);
  if (items.length === 0) {
    throw badFile(path, "expected a folder with JPEG, PNG or WebP images, found none.");
  }
  return { items, bad: [] };
}

/** Reads a text file as paragraphs. */
export function openPlainText(path: string): DataSet<string> {
  return parsePlainText(readTextFile(path), path);
}

/** The bytes of an item's image, still encoded, and what to call it in errors. */
export function readImage(image: ImageRef): { bytes: Uint8Array; name: string } {
  if (image.kind === "bytes") return image;
  return { bytes: readFile(image.path, MAX_IMAGE_BYTES), name: image.path };
}
