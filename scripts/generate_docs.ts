import { writeFileSync } from "node:fs";
import { configurationDocs } from "../src/config/docs.ts";

/** Writes docs/configuration.md. Run it after changing an option; tests/config/docs_test.ts fails until then. */
writeFileSync(new URL("../docs/configuration.md", import.meta.url), configurationDocs());
