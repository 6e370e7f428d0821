//! `handover schema`, and the page that is made by it.

use crate::program::{Here, is_as_in_file};
use std::path::Path;

#[test]
fn the_reference_in_docs_is_what_the_program_prints() {
    let printed = Here::new().run(&["schema", "--reference"]).expect(0).stdout;
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    is_as_in_file(&page, &printed);
}

#[test]
fn the_schema_is_json_with_the_keys_of_a_manifest() {
    let schema = Here::new().run(&["schema"]).expect(0).json();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["required"], serde_json::json!(["service", "command"]));
    let drain = &schema["properties"]["drain"]["properties"];
    assert_eq!(drain["signal"]["default"], "SIGTERM");
    assert_eq!(drain["deadline"]["pattern"], "^[0-9]+(ms|s|m|h)$");
    assert_eq!(schema["properties"]["listeners"]["maxProperties"], 16);
}
