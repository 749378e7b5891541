import { BASES, checkMutations, mutate, MUTATION_ENV } from "../../config/mutations.ts";
import { runShipper } from "../../support/shipper.ts";
import { type FaultProgram, type FaultRun, require } from "./program.ts";

const MUTATIONS = 10_000;
/** Of those that the binary itself reads: a process each. */
const PROCESSES = 200;

/** Configurations changed at random: in this process, and some by the binary. */
async function mutations(run: FaultRun): Promise<string> {
  const count = run.isQuick ? MUTATIONS / 10 : MUTATIONS;
  const { acceptedCount, refusedCount, unjudgedCount } = checkMutations(count, run.random);
  require(unjudgedCount <= acceptedCount / 20, `${unjudgedCount} of ${acceptedCount} could not be judged`);
  for (let i = 0; i < PROCESSES; i++) {
    const config = mutate(run.random.pick(BASES), run.random);
    // What cannot be written to a file as it is (half of a pair of surrogates) is another text there.
    const { code, signal, stderr } = await runShipper({
      args: ["validate", "--config", "-"],
      stdin: config,
      env: MUTATION_ENV,
    });
    const isClean = (code === 0 || code === 78) && signal === null &&
      (code === 0) === !/^error\[/mu.test(stderr) && !/^\s+at .*\.ts/mu.test(stderr);
    require(isClean, `validate ended with ${code ?? signal}\n${stderr}\n${config}`);
  }
  return `${count} in process: ${acceptedCount} accepted (${unjudgedCount} not judged), ${refusedCount} refused; ${PROCESSES} by the binary`;
}

export const configPrograms: readonly FaultProgram[] = [
  {
    name: "config-mutations",
    title: "10,000 valid configurations changed at random: no crash, no stack trace, no unknown key accepted",
    run: mutations,
  },
];
