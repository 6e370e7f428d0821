//! The table of keys as the reference in `docs/configuration.md`.

use handover_model::config::{Absent, Entry, LANGUAGE, Shape, Table};
use std::fmt::Write as _;

const HEAD: &str = "\
# The manifest, key by key

A release is a folder with a `handover.toml`, or pushed with `handover release push --manifest FILE`. It is TOML, UTF-8,
at most 64 KiB. Unknown keys are mistakes. `handover check` finds all mistakes at once; `handover init` writes a first
one; `handover schema` prints a JSON Schema for editors.

This page is made by `handover schema --reference`. Do not edit it: change the table in `model/src/manifest/keys`.

**Texts with placeholders**, where a key says so: `{host.name}`, `{host.address}` and `{label.KEY}` stand for the values of
the host that the release runs on. `{{` stands for one brace. A host that lacks the label refuses the release and says so.

**Durations** are strings of a whole number and one of `ms`, `s`, `m`, `h`: `\"200ms\"`. **Sizes** are a number of bytes, or a
string of a whole number and one of `B`, `KiB`, `MiB`, `GiB`, `TiB`: `\"512MiB\"`. **Percentages** are strings: `\"25%\"`.
";

/// The whole page.
pub(super) fn markdown() -> String {
    let mut page = HEAD.to_owned();
    for table in LANGUAGE.all() {
        section(&mut page, table);
    }
    page
}

fn section(page: &mut String, table: &Table) {
    let title =
        if table.name.is_empty() { "The top of the file".to_owned() } else { format!("`[{}]`", table.name) };
    let _ = writeln!(page, "\n## {title}\n\n{}\n", table.meaning);
    page.push_str("| key | value | default | meaning |\n| --- | --- | --- | --- |\n");
    for entry in table.entries() {
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} |",
            entry.name,
            value(&entry),
            default(entry.absent),
            meaning(table, &entry)
        );
    }
    let words: Vec<Entry> = table.entries().filter(|entry| matches!(entry.shape, Shape::Words(_))).collect();
    for entry in &words {
        let Shape::Words(words) = &entry.shape else { continue };
        let _ = writeln!(page, "\n`{}`:\n", entry.name);
        for (word, meaning) in words {
            let _ = writeln!(page, "- `\"{word}\"`: {meaning}");
        }
    }
}

fn value(entry: &Entry) -> String {
    if let Shape::Words(_) = entry.shape {
        return "one of the words below".to_owned();
    }
    let suffix = if has_placeholders(&entry.shape) { "; with placeholders" } else { "" };
    format!("{}{suffix}", entry.shape)
}

fn has_placeholders(shape: &Shape) -> bool {
    match shape {
        Shape::Text(text) | Shape::Texts(text, _) => text.placeholders,
        Shape::Members(_, member, _) => has_placeholders(member),
        Shape::Either(shapes) => shapes.iter().any(has_placeholders),
        Shape::Duration(..)
        | Shape::Integer(..)
        | Shape::Size(..)
        | Shape::Percent(..)
        | Shape::Words(_)
        | Shape::Range(..)
        | Shape::Table(_) => false,
    }
}

fn default(absent: Absent) -> String {
    match absent {
        Absent::Required(example) => format!("required, like `{example}`"),
        Absent::Default(default) => format!("`{default}`"),
        Absent::Otherwise(words) => words.to_owned(),
    }
}

/// The meaning, with the kinds that have the key where not all do.
fn meaning(table: &Table, entry: &Entry) -> String {
    let kinds = table.kinds();
    let with: Vec<String> = kinds
        .iter()
        .filter(|(_, keys)| keys.contains(&entry.name))
        .map(|(kind, _)| format!("`{kind}`"))
        .collect();
    match with.as_slice() {
        [] => entry.meaning.to_owned(),
        with => format!("{} Only with kind {}.", entry.meaning, with.join(", ")),
    }
}
