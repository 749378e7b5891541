import { writeFileSync } from "node:fs";
import { configurationDocs } from "../src/config/docs.ts";
import { kafkaPropertiesDocs } from "../src/config/librdkafka_docs.ts";

/**
 * Writes docs/configuration.md and docs/librdkafka_options.md. Run it after changing an option or a property;
 * tests/config/docs_test.ts fails until then.
 */
writeFileSync(new URL("../docs/configuration.md", import.meta.url), configurationDocs());
writeFileSync(new URL("../docs/librdkafka_options.md", import.meta.url), kafkaPropertiesDocs());
