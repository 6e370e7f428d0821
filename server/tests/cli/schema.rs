//! `handover schema`, and the page that is made by it.

use crate::program::{Here, is_as_in_file};
use jsonschema::Validator;
use serde_json::Value;
use std::path::{Path, PathBuf};

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

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What an editor holds a manifest against.
pub(crate) fn validator() -> Validator {
    let schema = Here::new().run(&["schema"]).expect(0).json();
    jsonschema::meta::validate(&schema).unwrap_or_else(|error| panic!("the schema itself: {error}"));
    jsonschema::draft202012::new(&schema).unwrap_or_else(|error| panic!("the schema itself: {error}"))
}

pub(crate) fn read(manifest: &str) -> Value {
    toml::from_str(manifest).unwrap_or_else(|error| panic!("{error}\n{manifest}"))
}

/// What the schema has against a manifest.
pub(crate) fn mistakes(validator: &Validator, manifest: &Value) -> Vec<String> {
    validator.iter_errors(manifest).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// The `toml` blocks of a document that are whole manifests.
fn manifests_of(document: &str) -> Vec<String> {
    let blocks = document.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.filter(|block| block.contains("service = ")).map(str::to_owned).collect()
}

#[test]
fn every_manifest_that_is_shown_somewhere_is_valid_against_the_schema() {
    let validator = validator();
    let mut shown = vec![(
        "the manifest with every key".to_owned(),
        std::fs::read_to_string(root().join("model/src/manifest/tests/whole.toml")).unwrap(),
    )];
    for example in std::fs::read_dir(root().join("examples")).unwrap() {
        let path = example.unwrap().path().join("handover.toml");
        shown.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
    }
    let readme = manifests_of(&std::fs::read_to_string(root().join("README.md")).unwrap());
    assert!(!readme.is_empty(), "README.md shows no manifest");
    shown.extend(readme.into_iter().map(|manifest| ("README.md".to_owned(), manifest)));
    for page in std::fs::read_dir(root().join("docs")).unwrap().map(|page| page.unwrap().path()) {
        let text = std::fs::read_to_string(&page).unwrap();
        shown.extend(manifests_of(&text).into_iter().map(|manifest| (page.display().to_string(), manifest)));
    }
    assert!(shown.len() >= 5, "only {} manifests are shown", shown.len());
    for (name, manifest) in shown {
        assert_eq!(mistakes(&validator, &read(&manifest)), [""; 0], "{name}");
    }
}

#[test]
fn the_schema_and_the_program_refuse_the_same_mistakes() {
    let validator = validator();
    let good = "service = \"web\"\ncommand = [\"bin/web\"]\n";
    assert_eq!(mistakes(&validator, &read(good)), [""; 0]);
    for (place, manifest) in [
        ("", "command = [\"bin/web\"]\n".to_owned()),
        ("", "service = \"web\"\n".to_owned()),
        ("/service", good.replace("web\"\n", "Web!\"\n")),
        ("/command", good.replace("[\"bin/web\"]", "\"bin/web\"")),
        ("/command", good.replace("[\"bin/web\"]", "[]")),
        ("", format!("{good}usr = \"www-data\"\n")),
        ("/listeners", format!("{good}[listeners]\nHTTP = \"127.0.0.1:80\"\n")),
        ("/readiness/kind", format!("{good}[readiness]\nkind = \"htttp\"\n")),
        ("/drain", format!("{good}[drain]\nsignals = \"SIGTERM\"\n")),
        ("/drain/deadline", format!("{good}[drain]\ndeadline = 30\n")),
        ("/drain/deadline", format!("{good}[drain]\ndeadline = \"30 seconds\"\n")),
        ("/limits/memory", format!("{good}[limits]\nmemory = \"512MB\"\n")),
        ("/rollout/batch", format!("{good}[rollout]\nbatch = 0\n")),
        ("/rollout/on_failure", format!("{good}[rollout]\non_failure = \"roll-back\"\n")),
    ] {
        let found = mistakes(&validator, &read(&manifest));
        let is_there = found.iter().any(|mistake| mistake.starts_with(&format!("{place}: ")));
        assert!(is_there, "not at {place:?}: {found:?}\n{manifest}");
        let here = Here::new();
        here.write("handover.toml", &manifest);
        here.run(&["check"]).expect(1);
    }
}
