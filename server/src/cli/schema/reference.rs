//! The tables of keys as the reference in `docs/configuration.md`.

use handover_model::{
    config::{Absent, Entry, LANGUAGE, Shape, Table},
    settings::{self, Variable, flag, variable},
};
use std::fmt::Write as _;

const HEAD: &str = "\
# Configuration, key by key

Four files: the manifest of each service, `handover.toml`, here; [`server.toml`](#the-server-servertoml) of the server;
[`agent.toml`](#the-agent-agenttoml) of each host; [`NAME.toml`](#a-database-nametoml) of each database that a host may migrate. In all of them every mistake is told at once, with its line and what was
probably meant. How the command line finds its server is told by `handover config show`.

A release is a folder with a `handover.toml`, or pushed with `handover release push --manifest FILE`. It is TOML, UTF-8,
at most 64 KiB. Unknown keys are mistakes. `handover check` finds all mistakes at once; `handover init` writes a first
one; `handover schema` prints a JSON Schema for editors.

This page is made by `handover schema --reference`. Do not edit it: change the tables in `model/src/manifest/keys` and
`model/src/settings`.

**Texts with placeholders**, where a key says so: `{host.name}`, `{host.address}` and `{label.KEY}` stand for the values of
the host that the release runs on. `{{` stands for one brace. A host that lacks the label refuses the release and says so.

**Durations** are strings of a whole number and one of `ms`, `s`, `m`, `h`: `\"200ms\"`. **Sizes** are a number of bytes, or a
string of a whole number and one of `B`, `KiB`, `MiB`, `GiB`, `TiB`: `\"512MiB\"`. **Percentages** are strings: `\"25%\"`.
";

const SERVER: &str = "
## The server: `server.toml`

What `handover server` goes by. It reads `/etc/handover/server.toml` where that is there, or the file of `--config FILE` or
`HANDOVER_SERVER_CONFIG`, which must be there. TOML, UTF-8, at most 64 KiB; the server's user must be able to read it.
Unknown keys are mistakes, and a file with a mistake keeps the server from starting: exit code 1.

Each key can be said by a flag and by an environment variable as well. A flag comes before the variable, that before the
file, and that before the default. `handover server --print-config` (with `--json` for programs) prints every setting and
where it comes from, the file with its line, and starts nothing; it also finds the mistakes of a file before a restart.

A setting that is changed in the file holds from the next start of the server: `systemctl restart handover-server`. That
disturbs no service. The unit that comes with Handover gives `--data` and `--unix` as flags and `HANDOVER_ADMIN_GROUP=handover`
in the environment, so in the file these three say nothing there; its comments tell how to change them.

`handover server restore` and `fsck` look for `data` in the same way.

";
const AGENT: &str = "
## The agent: `agent.toml`

What `handover-agent` goes by. `handover-agent join` writes `/etc/handover/agent.toml`, or the file of `--config FILE` or
`HANDOVER_AGENT_CONFIG`. TOML, UTF-8, at most 64 KiB. Unknown keys are mistakes, and a file with a mistake keeps the agent
from starting: exit code 1; what runs goes on. A setting that is changed holds from the next start of the agent:
`systemctl restart handover-agent`, which disturbs no instance.

";

const DATABASE: &str = "
## A database: `NAME.toml`

What an agent goes by that migrates the database NAME of `[schema]`: docs/schema.md. It reads `/etc/handover/databases/NAME.toml`,
or the file in the folder that `databases` of `agent.toml` names, each time it migrates. TOML, UTF-8, at most 64 KiB. Unknown
keys are mistakes, and a file with a mistake fails the migration before anything is applied.

";

/// The whole page.
pub(super) fn markdown() -> String {
    let mut page = HEAD.to_owned();
    for table in LANGUAGE.all() {
        section(&mut page, table);
    }
    page.push_str(SERVER);
    said_thrice(&mut page, settings::SERVER.keys);
    page.push_str("\n### Environment of the server\n\nBesides the variables above:\n\n");
    environment(&mut page, settings::server::VARIABLES);
    page.push_str(AGENT);
    keys(&mut page, settings::AGENT.keys);
    page.push_str("\n### Environment of the agent\n\nNothing of it reaches an instance.\n\n");
    environment(&mut page, settings::agent::VARIABLES);
    page.push_str(DATABASE);
    keys(&mut page, settings::DATABASE.keys);
    page
}

/// Keys that have a flag and a variable each.
fn said_thrice(page: &mut String, table: &Table) {
    page.push_str(
        "| key | flag | environment | value | default | meaning |\n| --- | --- | --- | --- | --- | --- |\n",
    );
    for entry in table.entries() {
        let _ = writeln!(
            page,
            "| `{}` | `{}` | `{}` | {} | {} | {} |",
            entry.name,
            flag(entry.name),
            variable(entry.name),
            value(&entry),
            default(entry.absent),
            entry.meaning
        );
    }
    words(page, table);
}

fn environment(page: &mut String, variables: &[Variable]) {
    page.push_str("| variable | meaning |\n| --- | --- |\n");
    for Variable { name, meaning } in variables {
        let _ = writeln!(page, "| `{name}` | {meaning} |");
    }
}

fn section(page: &mut String, table: &Table) {
    let title =
        if table.name.is_empty() { "The top of the file".to_owned() } else { format!("`[{}]`", table.name) };
    let _ = writeln!(page, "\n## {title}\n\n{}\n", table.meaning);
    keys(page, table);
}

fn keys(page: &mut String, table: &Table) {
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
    words(page, table);
}

/// What each word means, of keys that take words.
fn words(page: &mut String, table: &Table) {
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
        Shape::Members(_, member, _) | Shape::List(member, _) => has_placeholders(member),
        Shape::Either(shapes) => shapes.iter().any(has_placeholders),
        Shape::Duration(..)
        | Shape::Integer(..)
        | Shape::Size(..)
        | Shape::Percent(..)
        | Shape::Fraction(..)
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
