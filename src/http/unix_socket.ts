import { chmodSync, lstatSync, mkdtempSync, renameSync, rmdirSync, rmSync, unlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { errnoName, StartError } from "../errors.ts";

/** How long another process may take to accept a connection at the socket before it counts as alive. */
const PROBE_MS = 1_000;

/** A path that a server of ours listens at. */
export interface UnixSocket {
  /** Removes the path, unless somebody else has put another socket there. */
  remove(): void;
}

/**
 * Makes a server listen at `path`, readable and writable by its owner only from the first moment: it is bound inside a new folder of mode
 * 0700, given mode 0600 and then renamed. A socket that nobody listens at any more is replaced; a live one, or a file that is no socket,
 * is refused. Throws a StartError.
 *
 * `listen` must bind the path that it is given, synchronously.
 */
export async function listenUnix(path: string, listen: (path: string) => void): Promise<UnixSocket> {
  await refuseTaken(path);
  let dir: string | null = null;
  try {
    dir = mkdtempSync(join(dirname(path), ".s-"));
    const boundPath = join(dir, "s");
    listen(boundPath);
    chmodSync(boundPath, 0o600);
    const { dev, ino } = lstatSync(boundPath);
    renameSync(boundPath, path);
    return { remove: () => removeOwn(path, dev, ino) };
  } catch (error) {
    if (error instanceof StartError) throw error;
    throw cannotListen(path, errnoName(error));
  } finally {
    if (dir !== null) removeFolder(dir);
  }
}

async function refuseTaken(path: string): Promise<void> {
  let stats: ReturnType<typeof lstatSync>;
  try {
    stats = lstatSync(path);
  } catch (error) {
    if (errnoName(error) === "ENOENT") return;
    throw cannotListen(path, errnoName(error));
  }
  if (stats === undefined) return;
  if (!stats.isSocket()) {
    throw new StartError(
      "address-in-use",
      `Cannot listen at "unix:${path}": there is a file that is not a socket`,
      "choose another path for api.address, or move the file away",
    );
  }
  if (await isAlive(path)) {
    throw new StartError(
      "address-in-use",
      `Cannot listen at "unix:${path}": another process listens there`,
      "stop it, or choose another path for api.address",
    );
  }
}

/** Whether somebody accepts connections; a refusal means that the owner is gone. */
function isAlive(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(true), PROBE_MS);
    const answer = (alive: boolean) => {
      clearTimeout(timer);
      resolve(alive);
    };
    Bun.connect({
      unix: path,
      socket: {
        data: () => {},
        open: (socket) => {
          socket.end();
          answer(true);
        },
        connectError: (_socket, error) => answer(!["ECONNREFUSED", "ENOENT"].includes(errnoName(error))),
      },
    }).catch((error: unknown) => answer(!["ECONNREFUSED", "ENOENT"].includes(errnoName(error))));
  });
}

function removeOwn(path: string, dev: number, ino: number): void {
  try {
    const stats = lstatSync(path);
    if (stats.dev === dev && stats.ino === ino) unlinkSync(path);
  } catch (error) {
    // Somebody has removed it, or took the folder away: nothing is left to do.
    if (errnoName(error) === "UNKNOWN") throw error;
  }
}

function removeFolder(dir: string): void {
  try {
    rmSync(join(dir, "s"), { force: true });
    rmdirSync(dir);
  } catch (error) {
    // An empty folder that stays behind harms nobody.
    if (errnoName(error) === "UNKNOWN") throw error;
  }
}

function cannotListen(path: string, code: string): StartError {
  const hints: Record<string, string> = {
    ENOENT: `create the folder "${dirname(path)}"`,
    EACCES: `allow writing to the folder "${dirname(path)}"`,
    ENAMETOOLONG: "choose a shorter path; sockets allow about 100 bytes",
  };
  return new StartError("address-unusable", `Cannot listen at "unix:${path}": ${code}`, hints[code] ?? null);
}
