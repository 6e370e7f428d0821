//! What a command printed, without what is another thing on each run.

use handover_tests::fleet::Fleet;
use regex::Regex;
use std::{
    path::Path,
    process::{Command, Stdio},
};

/// Runs commands, and writes down what they were and what became of them.
pub(crate) struct Told {
    /// What is another thing on each run, and what stands for it.
    names: Vec<(String, String)>,
    /// Whether moments, spans and processes are of this run.
    times: bool,
    text: String,
}

impl Told {
    /// Of commands that tell of nothing that runs.
    pub(crate) fn new() -> Self {
        Self { names: Vec::new(), times: false, text: String::new() }
    }

    /// With what is this fleet's own.
    pub(crate) fn of(fleet: &Fleet) -> Self {
        let mut told = Self { times: true, ..Self::new() }.with(fleet.folder.path(), "[folder]");
        told = told.with(fleet.server.address(), "[server]");
        for (agent, letter) in fleet.agents.iter().zip('a'..) {
            told = told.with(&agent.host, &format!("host-{letter}"));
            told = told.with(agent.address.to_string(), &format!("[address-{letter}]"));
        }
        told
    }

    /// With something that is told as something else.
    pub(crate) fn with(mut self, name: impl AsRef<Path>, stands_for: &str) -> Self {
        self.names.push((name.as_ref().to_str().unwrap().to_owned(), stands_for.to_owned()));
        // What holds another name comes before it.
        self.names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        self
    }

    /// Runs it to its end and adds what it printed; gives what that was.
    pub(crate) fn run(&mut self, mut command: Command) -> String {
        let program = Path::new(command.get_program()).file_name().unwrap().to_str().unwrap().to_owned();
        let words: Vec<String> = command.get_args().map(|word| quoted(word.to_str().unwrap())).collect();
        let output = command.stdin(Stdio::null()).output().unwrap();
        let printed = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let (out, err) = (printed(&output.stdout), printed(&output.stderr));
        let code = output.status.code().unwrap_or(-1);
        let told = format!("$ {program} {}\n{out}{err}(exit code {code})\n\n", words.join(" "));
        self.text.push_str(&self.named(&told));
        format!("{out}{err}")
    }

    fn named(&self, text: &str) -> String {
        let named = self
            .names
            .iter()
            .fold(text.to_owned(), |text, (name, stands_for)| text.replace(name, stands_for));
        if self.times { without_times(&named) } else { named }
    }

    /// Everything that was told.
    pub(crate) fn text(self) -> String {
        self.text
    }
}

fn quoted(word: &str) -> String {
    if word.is_empty() || word.contains([' ', '"', '\'']) { format!("{word:?}") } else { word.to_owned() }
}

/// The text with words for moments, spans, processes and digests, and with two spaces between the columns of tables:
/// how wide they are is a matter of the longest host, process or span.
fn without_times(text: &str) -> String {
    let words = [
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?", "[moment]"),
        (r"\b\d\d:\d\d:\d\d\b", "[time]"),
        (r"\b(\d+d\d\dh|\d+h\d\dm|\d+m\d\ds|\d+(\.\d)?m?s)\b", "[span]"),
        (r"\b[0-9a-f]{64}\b", "[digest]"),
        (r"\b[0-9a-f]{12,16}\b", "[id]"),
        // Behind the share.
        (r"( %\s+)\d{2,}\b", "${1}[pid]"),
    ];
    let text = words.iter().fold(text.to_owned(), |text, (pattern, word)| {
        Regex::new(pattern).unwrap().replace_all(&text, *word).into_owned()
    });
    let gap = Regex::new(r"(\S) {2,}").unwrap();
    // A caret stands under what it means.
    let narrow = |line: &str| {
        if line.contains('|') { line.to_owned() } else { gap.replace_all(line, "$1  ").into_owned() }
    };
    text.split('\n').map(narrow).collect::<Vec<_>>().join("\n")
}

/// Compares with this test's snapshot; the file has no more in its name than what the snapshot is called.
macro_rules! is_as_agreed {
    ($name:expr, $text:expr) => {
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!($name, $text);
        });
    };
}
pub(crate) use is_as_agreed;

#[test]
fn times_numbers_and_columns_have_words() {
    assert_eq!(
        without_times(
            "web-1    ready  100 %    20099  at 10:00:01, 2.5s ago, 1m05s left, until 2026-01-02 03:04:05\n"
        ),
        "web-1  ready  100 %  [pid]  at [time], [span] ago, [span] left, until [moment]\n"
    );
}
