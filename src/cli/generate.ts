import { sampleConfiguration, type SampleKinds } from "../config/sample.ts";
import type { CommandOutput } from "./command_context.ts";

export interface GenerateArgs extends SampleKinds {
  readonly command: "generate";
}

/** `shipper generate`: a configuration to begin with, on stdout. Returns the exit code. */
export function generate(args: GenerateArgs, output: CommandOutput): number {
  output.stdout(sampleConfiguration(args));
  return 0;
}
