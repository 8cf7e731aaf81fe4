// Opens a model, be it a Hugging Face folder or a packed file, without loading weights; loads them on request.
import { badFile } from "../base/errors.ts";
import type { Format } from "../formats/format.ts";
import type { ByteSource } from "../io/bytes.ts";
import { type Folder, openCheckpoint } from "../io/checkpoint.ts";
import { kindOf, openFile } from "../io/host.ts";
import type { Engine } from "../../wasm/mod.ts";
import { type Assets, readAssets, readTexts } from "./assets.ts";
import { CheckpointStore } from "./checkpoint_store.ts";
import { PackedStore, readPackedInfo } from "./packed_file.ts";
import type { PartName, Vlm } from "./vlm.ts";

/** One weight or vector, as it is stored. */
export interface StoredTensor {
  /** Canonical name. */
  readonly name: string;
  /** Part it belongs to. */
  readonly part: PartName;
  /** Shape as the model sees it. */
  readonly shape: readonly number[];
  /** Bytes in the file. */
  readonly bytes: number;
  /** bf16, f32, ... or the packed format. */
  readonly stored: string | Format;
}

/** A model whose headers and small files have been read. */
export interface OpenModel {
  /** Path of the folder or file. */
  readonly name: string;
  /** Which of the two it is. */
  readonly kind: "folder" | "packed";
  /** Architecture, tokenizer, template. */
  readonly assets: Assets;
  /** Every tensor. */
  readonly tensors: readonly StoredTensor[];
  /** Recipe a packed file was made with. */
  readonly recipe?: unknown;
  /** Loads the weights into the engine's memory. */
  load(engine: Engine): Promise<Vlm>;
  /** Closes the files. */
  close(): void;
}

/** Opens the folder or file at a path. */
export async function openModel(path: string): Promise<OpenModel> {
  const kind = kindOf(path);
  if (kind === "folder") return await openFolder(path);
  if (kind === "file") return await openPacked(openFile(path));
  throw badFile(
    path,
    "no such file or folder; expected a Hugging Face model folder or a .lobit file.",
  );
}

/** Opens a Hugging Face folder, on the host or anywhere else that files can be read by range. */
export async function openFolder(from: string | Folder): Promise<OpenModel> {
  const checkpoint = await openCheckpoint(from);
  const path = checkpoint.folder.name;
  try {
    const assets = readAssets(await readTexts(checkpoint), path);
    const resolved = assets.architecture.resolve(checkpoint.tensors, path);
    const tensors = [...resolved].map(([name, { source, shape, rows }]): StoredTensor => {
      const { dtype, begin, end, shape: whole } = checkpoint.tensors.get(source)!;
      const share = whole.length > 0 ? rows / whole[0]! : 1;
      const part = assets.architecture.partOf(name);
      return { name, part, shape, bytes: (end - begin) * share, stored: dtype.toLowerCase() };
    });
    return {
      name: path,
      kind: "folder",
      assets,
      tensors,
      load: (engine) =>
        assets.architecture.load(new CheckpointStore(engine.memory, checkpoint, resolved)),
      close: () => checkpoint.close(),
    };
  } catch (error) {
    checkpoint.close();
    throw error;
  }
}

/** Opens a packed file from any source of bytes, e.g. a Blob in a browser. */
export async function openPacked(source: ByteSource): Promise<OpenModel> {
  try {
    const info = await readPackedInfo(source);
    const assets = readAssets(info.texts, source.name);
    const tensors = [...info.tensors].map(([name, { dtype, shape, begin, end }]): StoredTensor => {
      const layout = info.weights.get(name.replace(/\.weight$/, ""));
      return {
        name,
        part: assets.architecture.partOf(name),
        shape: layout ? [layout.rows, layout.columns] : shape,
        bytes: end - begin,
        stored: layout ? layout.format : dtype.toLowerCase(),
      };
    });
    return {
      name: source.name,
      kind: "packed",
      assets,
      tensors,
      recipe: info.recipe,
      load: (engine) => assets.architecture.load(new PackedStore(engine, source, info)),
      close: () => source.close(),
    };
  } catch (error) {
    source.close();
    throw error;
  }
}
