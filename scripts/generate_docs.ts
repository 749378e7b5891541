import { writeFileSync } from "node:fs";
import { configurationDocs } from "../src/config/docs.ts";
import { configurationSchemaText } from "../src/config/json_schema.ts";
import { kafkaPropertiesDocs } from "../src/config/librdkafka_docs.ts";

/**
 * Writes docs/configuration.md, docs/librdkafka_options.md and docs/shipper.schema.json. Run it after changing an option or a property;
 * tests/config/docs_test.ts and json_schema_test.ts fail until then.
 */
writeFileSync(new URL("../docs/configuration.md", import.meta.url), configurationDocs());
writeFileSync(new URL("../docs/librdkafka_options.md", import.meta.url), kafkaPropertiesDocs());
writeFileSync(new URL("../docs/shipper.schema.json", import.meta.url), configurationSchemaText());
