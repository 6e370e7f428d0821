//! Mistakes in a manifest for programs, and those that a server found.

use handover_model::config::{Mistake, WrongFile, end, printable, shown, source};
use handover_proto::status::{Reason, Refusal};
use serde_json::{Value, json};
use std::{fmt::Write as _, path::Path};

/// As JSON: one object, its mistakes in the order of the text. Columns count characters; ends are exclusive.
pub(super) fn as_json(file: &WrongFile) -> Value {
    let mistake = |error: &Mistake| {
        let (end_line, end_column) = end(&file.text, error);
        json!({
            "line": error.line, "column": error.column, "end_line": end_line, "end_column": end_column,
            "key": error.key, "message": error.message, "hint": error.hint,
            "source": source(&file.text, error).map(printable),
        })
    };
    json!({
        "file": file.path.display().to_string(), "valid": false,
        "mistakes": file.mistakes.all().iter().map(mistake).collect::<Vec<_>>(),
    })
}

/// What a server found in a manifest that this command took for good: a server of another version.
pub(super) fn of_refusal(refusal: &Refusal, path: &Path, text: &str) -> Option<String> {
    if refusal.reason != Reason::InvalidManifest || refusal.violations.is_empty() {
        return None;
    }
    let mut told = String::new();
    for violation in &refusal.violations {
        match Mistake::from_violation(&violation.field, &violation.description, text) {
            Some(error) => told.push_str(&shown(path, text, &error)),
            None => {
                let _ = writeln!(told, "{}", printable(&violation.description));
            }
        }
    }
    Some(told.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use handover_model::config::Manifest;

    #[test]
    fn json_has_the_end_of_each_place() {
        let text = "service = \"web\"\ncommand = [\"a\"]\nusr = \"b\"\nhosts = [\n1]\n";
        let mistakes = Manifest::parse(text).expect_err("a wrong manifest was taken");
        let json = as_json(&WrongFile { path: "a/handover.toml".into(), text: text.to_owned(), mistakes });
        assert_eq!(json["valid"], false);
        assert_eq!(json["file"], "a/handover.toml");
        let place = |n: usize| {
            let mistake = &json["mistakes"][n];
            ["line", "column", "end_line", "end_column"].map(|key| mistake[key].as_u64().unwrap())
        };
        assert_eq!(place(0), [3, 1, 3, 4]);
        assert_eq!(place(1), [4, 9, 5, 3]);
        assert_eq!(json["mistakes"][0]["hint"], "did you mean \"user\"?");
        assert_eq!(json["mistakes"][0]["source"], "usr = \"b\"");
    }

    #[test]
    fn a_servers_refusal_is_shown_with_the_lines_of_the_file() {
        let text = "service = \"web\"\ncommand = [\"a\"]\n[drain]\nsignal = \"SIGTERM\"\n";
        let refusal = Refusal::new(Reason::InvalidManifest, "the manifest has 2 mistakes")
            .violation("handover.toml:4:10: drain.signal", "is not what it was\ntry another")
            .violation("", "and 3 more");
        let shown = of_refusal(&refusal, Path::new("x.toml"), text).unwrap();
        assert_eq!(
            shown,
            "x.toml:4:10: drain.signal: is not what it was\n  4 | signal = \"SIGTERM\"\n    |          ^^^^^^^^^ try another\nand 3 more"
        );
        assert_eq!(of_refusal(&Refusal::new(Reason::Busy, "busy"), Path::new("x"), text), None);
    }
}
