//! `handover migrate lint`.

use crate::program::Here;
use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::symlink},
    path::Path,
};

const MANIFEST: &str = "service = \"shop\"\ncommand = [\"bin/shop\"]\n[schema]\ndatabase = \"shop\"\nreads = \"1..=4\"\nexpand = \"m/expand\"\nbackfill = \"m/backfill\"\n";
const ADD: &str = "ALTER TABLE customers ADD COLUMN mail text;\n";
const FILL: &str = "-- handover: batch table=customers key=id size=500
UPDATE customers SET mail = email WHERE id BETWEEN :first AND :last AND mail IS NULL;\n";

#[test]
fn migrations_that_break_nothing_pass() {
    let here = Here::new();
    here.write("handover.toml", MANIFEST).write("m/expand/0001_mail.sql", ADD);
    here.write("m/backfill/0002_mail.sql", FILL);
    let ended = here.run(&["migrate", "lint"]).expect(0);
    assert_eq!(ended.stdout, "2 files of migrations: nothing found\n");
}

#[test]
fn what_would_break_a_live_system_is_told_with_its_place_and_the_safe_steps() {
    let here = Here::new();
    here.write("handover.toml", MANIFEST);
    here.write("m/expand/0001_mail.sql", "ALTER TABLE customers RENAME COLUMN email TO mail;\n");
    here.write("m/backfill/0002_mail.sql", FILL);
    let ended = here.run(&["migrate", "lint", "."]).expect(1);
    for part in ["m/expand/0001_mail.sql:1:", "^^^", "why:", "safe steps:", "ADD COLUMN mail"] {
        assert!(ended.stdout.contains(part), "{part} is not in\n{}", ended.stdout);
    }
    let json = here.run(&["migrate", "lint", "--json"]).expect(1).json();
    assert_eq!((&json["passes"], &json["files"]), (&false.into(), &2.into()));
    assert!(json["report"]["findings"][0]["steps"].as_array().is_some_and(|steps| steps.len() > 2), "{json}");
}

#[test]
fn a_contract_that_takes_away_what_the_release_says_it_uses_is_told_with_its_place() {
    let here = Here::new();
    let uses = "contract = \"m/contract\"\nuses = [\"customers.mail\", \"customers.email\"]\n";
    here.write("handover.toml", format!("{}{uses}", MANIFEST.replace("backfill = \"m/backfill\"\n", "")));
    here.write("m/expand/0001_mail.sql", ADD);
    here.write("m/contract/0003_email.sql", "ALTER TABLE customers\n  DROP COLUMN email;\n");
    let told = here.run(&["migrate", "lint"]).expect(1).stdout;
    for part in [
        "m/contract/0003_email.sql:2:3: drop-column: drops column email of customers, and the release says that its code uses customers.email",
        "  2 |   DROP COLUMN email;\n    |   ^^^^^^^^^^^^^^^^^",
    ] {
        assert!(told.contains(part), "{part} is not in\n{told}");
    }
    let json = here.run(&["migrate", "lint", "--json"]).expect(1).json();
    assert_eq!(json["report"]["gone"], serde_json::json!([{"version": 3, "what": "customers.email"}]));
}

#[test]
fn what_is_not_looked_at_is_said() {
    let here = Here::new();
    let mysql = MANIFEST.replace("database = \"shop\"", "database = \"shop\"\nkind = \"mysql\"");
    here.write("handover.toml", &mysql)
        .write("m/expand/0001_mail.sql", ADD)
        .write("m/backfill/0002_a.sql", FILL);
    let ended = here.run(&["migrate", "lint"]).expect(0);
    assert_eq!(ended.stdout, "not looked at: the linter knows PostgreSQL, and this is MySQL\n");
    let json = here.run(&["migrate", "lint", "--json"]).expect(0).json();
    let why = "the linter knows PostgreSQL, and this is MySQL";
    assert_eq!(json, serde_json::json!({"linted": false, "passes": null, "files": 2, "why": why}));
    let none = Here::new();
    none.write("handover.toml", "service = \"web\"\ncommand = [\"bin/web\"]\n");
    assert!(none.run(&["migrate", "lint"]).expect(0).stdout.contains("declares no schema"));
    let json = none.run(&["migrate", "lint", "--json"]).expect(0).json();
    assert_eq!((&json["linted"], &json["files"]), (&false.into(), &serde_json::Value::Null));
    assert!(json["why"].as_str().is_some_and(|why| why.contains("declares no schema")), "{json}");
}

#[test]
fn a_folder_that_is_not_there_and_a_name_that_says_nothing_are_mistakes() {
    let here = Here::new();
    here.write("handover.toml", MANIFEST).write("m/expand/readme.txt", "");
    let named = here.run(&["migrate", "lint"]).expect(1).stderr;
    assert!(named.contains("is not named NUMBER_NAME.sql"), "{named}");
    let missing = Here::new();
    missing.write("handover.toml", MANIFEST).write("m/expand/0001_mail.sql", ADD);
    let missing = missing.run(&["migrate", "lint"]).expect(1).stderr;
    assert!(missing.contains("m/backfill"), "{missing}");
}

#[test]
fn what_a_host_would_not_apply_is_refused_by_name() {
    type Spoil = fn(&Path);
    let spoiled: [(&str, Spoil); 6] = [
        ("\"m/expand/0003_c.sql\" is a link: ", |folder| {
            symlink("0001_a.sql", folder.join("0003_c.sql")).unwrap();
        }),
        ("\"m/expand/0003_c.sql\" is a folder: ", |folder| {
            fs::create_dir(folder.join("0003_c.sql")).unwrap();
        }),
        ("0003_\u{fffd}.sql\" is a file whose name is no UTF-8: ", |folder| {
            fs::write(folder.join(OsStr::from_bytes(b"0003_\xff.sql")), ADD).unwrap();
        }),
        ("m/expand/0003_c.sql:2: has bytes that are no UTF-8", |folder| {
            fs::write(folder.join("0003_c.sql"), b"SELECT\n'\xff'").unwrap();
        }),
        ("m/expand/0001_a.sql and m/backfill/0001_b.sql have the same number", |folder| {
            fs::write(folder.with_file_name("backfill").join("0001_b.sql"), FILL).unwrap();
        }),
        ("m/backfill: is a link, and a bundle has migrations in a folder", |folder| {
            fs::remove_dir_all(folder.with_file_name("backfill")).unwrap();
            symlink("expand", folder.with_file_name("backfill")).unwrap();
        }),
    ];
    for (told, spoil) in spoiled {
        let here = Here::new();
        here.write("handover.toml", MANIFEST).write("m/expand/0001_a.sql", ADD);
        here.write("m/backfill/0002_b.sql", FILL);
        spoil(&here.path("m/expand"));
        let refused = here.run(&["migrate", "lint"]).expect(1).stderr;
        assert!(refused.contains(told), "{told:?} is not in {refused}");
    }
}
