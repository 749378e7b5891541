import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { AwsEnvironment } from "../../config/config_security.ts";
import { ConnectError } from "../errors.ts";

/** The settings of one profile, by name in lower case. */
export type AwsProfile = ReadonlyMap<string, string>;

const FILE_BYTES_MAX = 1024 * 1024;

/** A profile of the shared files (~/.aws/config, ~/.aws/credentials); what both set is the second's. Null: neither has it. */
export async function readProfile(name: string, env: AwsEnvironment): Promise<AwsProfile | null> {
  const home = env.HOME ?? "/";
  const configPath = env.AWS_CONFIG_FILE ?? join(home, ".aws", "config");
  const credentialsPath = env.AWS_SHARED_CREDENTIALS_FILE ?? join(home, ".aws", "credentials");
  const config = parseProfiles(await readShared(configPath));
  const credentials = parseProfiles(await readShared(credentialsPath));
  const section = name === "default" ? config.get("default") ?? config.get("profile default") : undefined;
  const found = [section ?? config.get(`profile ${name}`), credentials.get(name)];
  if (found.every((each) => each === undefined)) return null;
  return new Map(found.flatMap((each) => [...each ?? []]));
}

/** Empty when it is not there: most hosts have none. */
async function readShared(path: string): Promise<string> {
  try {
    const found = await stat(path);
    if (!found.isFile() || found.size > FILE_BYTES_MAX) {
      throw fileError(
        path,
        "it is not a file, or too large",
        "Correct AWS_CONFIG_FILE or AWS_SHARED_CREDENTIALS_FILE",
      );
    }
    return await readFile(path, "utf8");
  } catch (error) {
    if (error instanceof ConnectError) throw error;
    const code = (error as NodeJS.ErrnoException).code ?? "unknown error";
    if (code === "ENOENT" || code === "ENOTDIR") return "";
    throw fileError(
      path,
      `it cannot be read (${code})`,
      "Give the user that runs shipper the right to read it",
    );
  }
}

function fileError(path: string, reason: string, hint: string): ConnectError {
  const message = `Cannot find AWS credentials in ${JSON.stringify(path)}: ${reason}`;
  return new ConnectError("aws-credentials", message, { hint });
}

/** Sections of an INI file as AWS's tools read it. What is indented belongs to a nested setting, and is none of ours. */
export function parseProfiles(text: string): Map<string, Map<string, string>> {
  const sections = new Map<string, Map<string, string>>();
  let section: Map<string, string> | null = null;
  for (const line of text.split(/\r?\n/u)) {
    const header = /^\[\s*([^\]]+?)\s*\]/u.exec(line);
    if (header !== null) {
      const name = header[1]!.replace(/\s+/gu, " ").replaceAll(/["']/gu, "");
      section = sections.get(name) ?? new Map<string, string>();
      sections.set(name, section);
      continue;
    }
    const pair = /^([A-Za-z0-9_.-]+)\s*=\s*(.*?)\s*$/u.exec(line);
    if (pair === null || section === null) continue;
    section.set(pair[1]!.toLowerCase(), pair[2]!.replace(/\s[#;].*$/u, ""));
  }
  return sections;
}
