// Folders that appear under their name only when everything in them is written, and whether two paths lead to one file.
import { badRequest } from "../base/errors.ts";
import { fs, kindOf, listFolder, refused, writing } from "./host.ts";

/** A folder that is filled beside its place. */
export interface AsideFolder {
  /** Where to write files until `commit`. */
  readonly path: string;
  /** Puts the folder under its name. */
  commit(): void;
  /** Throws away what was written; does nothing after `commit`. */
  abort(): void;
}

/**
 * Starts a folder as `PATH.partial`, renamed by `commit`. If Deno may write PATH alone, PATH itself is filled and removed
 * again on failure. Throws `bad-request` if PATH is there already and not an empty folder.
 */
export function folderAside(path: string): AsideFolder {
  const kind = kindIfAllowed(path);
  if (kind !== "none" && !(kind === "folder" && listFolder(path).length === 0)) {
    throw badRequest(`${path} exists already; name a new folder.`);
  }
  const remove = (folder: string) =>
    writing(folder, () => fs().rmSync(folder, { recursive: true, force: true }));
  let at = `${path}.partial`;
  try {
    // A left-over of an interrupted run must not mix with the new content.
    fs().rmSync(at, { recursive: true, force: true });
    fs().mkdirSync(at);
  } catch (error) {
    writing(path, () => {
      if (!refused(error)) throw error;
      if (kind === "none") fs().mkdirSync(path);
    });
    at = path;
  }
  let open = true;
  return {
    path: at,
    commit() {
      if (at !== path) {
        writing(path, () => {
          if (kind === "folder") fs().rmdirSync(path);
          fs().renameSync(at, path);
        });
      }
      open = false;
    },
    abort() {
      if (open) remove(at);
      open = false;
    },
  };
}

/** Removes a folder of our own and all that is in it. */
export function removeFolder(path: string): void {
  writing(path, () => fs().rmSync(path, { recursive: true, force: true }));
}

/** As `kindOf`, but what Deno may not look at counts as absent: making it fails if it is there. */
export function kindIfAllowed(path: string): ReturnType<typeof kindOf> {
  try {
    return kindOf(path);
  } catch (error) {
    if (refused((error as Error).cause)) return "none";
    throw error;
  }
}

/** Whether both paths lead to the same existing file or folder, by whatever names or links. */
export function isSameFile(a: string, b: string): boolean {
  const identify = (path: string) => {
    const { dev, ino } = fs().statSync(path, { bigint: true });
    return `${dev}:${ino}`;
  };
  try {
    return identify(a) === identify(b);
  } catch {
    // What is missing, or may not be looked at, cannot be compared; opening it says why.
    return false;
  }
}
