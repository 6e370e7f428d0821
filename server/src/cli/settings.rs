//! `handover server --print-config`: what the server would go by, and who said so, as `handover config show` tells it.

use super::table::Table;
use crate::settings::{Setting, Settings};
use handover_model::{language::Absent, settings::SERVER};
use serde_json::json;

/// Prints every setting, one a line; with `as_json` as one value each.
pub(crate) fn print(settings: &Settings, as_json: bool) {
    let there = settings.file_is_there;
    let rows = settings.settings.iter().map(|setting| (setting, true)).chain([(&settings.file, there)]);
    let mut table = Table::new(&["setting", "value", "from", "used"]);
    for (setting, used) in rows {
        let Setting { key, value, source } = setting;
        if as_json {
            println!(
                "{}",
                json!({"setting": key, "value": value, "source": source.word(), "detail": source.detail(), "used": used})
            );
            continue;
        }
        let value = value.clone().unwrap_or_else(|| otherwise(key));
        let from = format!("{} {}", source.word(), source.detail()).trim_end().to_owned();
        let used = if used { "yes" } else { "no, it is not there" };
        table.row([(*key).to_owned(), value, from, used.to_owned()]);
    }
    if !as_json {
        table.print();
    }
}

/// What holds where nobody says anything and the server decides, in brackets.
fn otherwise(key: &str) -> String {
    let entry = SERVER.keys.entries().find(|entry| entry.name == key);
    match entry.map(|entry| entry.absent) {
        Some(Absent::Otherwise(words)) => format!("({})", words.replace(['`', '"'], "")),
        Some(Absent::Default(_) | Absent::Required(_)) | None => String::new(),
    }
}
