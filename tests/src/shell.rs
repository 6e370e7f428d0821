//! Shell commands as documents show them, taken apart far enough to know which program gets which words.
//!
//! Not a shell: it knows quotes, comments, lists, pipes and redirections, and expands nothing.

use std::{iter::Peekable, mem, str::Chars};

/// Words that stand before a program without being one.
const BEFORE: [&str; 8] = ["sudo", "until", "while", "if", "then", "do", "else", "!"];

/// A program and its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The program, without the folder that it lies in.
    pub program: String,
    /// What it is given.
    pub words: Vec<String>,
}

/// The lines of a script as a person types them: those that end in `\` with the ones that follow. Comments alone are none.
#[must_use]
pub fn typed(script: &str) -> Vec<String> {
    let mut typed = Vec::new();
    let mut line = String::new();
    for part in script.lines() {
        line.push_str(part);
        if part.ends_with('\\') {
            line.push('\n');
        } else if !line.trim().is_empty() && !line.trim_start().starts_with('#') {
            typed.push(mem::take(&mut line));
        } else {
            line.clear();
        }
    }
    typed
}

/// Every program that a script starts, those of pipes, lists and `$(...)` as well.
#[must_use]
pub fn commands(script: &str) -> Vec<Command> {
    let mut lexer = Lexer {
        rest: script.chars().peekable(),
        word: None,
        words: Vec::new(),
        found: Vec::new(),
        into_file: false,
    };
    lexer.run();
    lexer.found.into_iter().filter_map(command).collect()
}

fn command(words: Vec<String>) -> Option<Command> {
    let is_assignment = |word: &String| {
        word.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        })
    };
    let mut words =
        words.into_iter().skip_while(|word| is_assignment(word) || BEFORE.contains(&word.as_str()));
    let program = words.next()?;
    let program = program.rsplit('/').next().unwrap_or_default().to_owned();
    Some(Command { program, words: words.collect() })
}

struct Lexer<'a> {
    rest: Peekable<Chars<'a>>,
    word: Option<String>,
    words: Vec<String>,
    found: Vec<Vec<String>>,
    /// The next word is the file of a redirection.
    into_file: bool,
}

impl Lexer<'_> {
    fn run(&mut self) {
        while let Some(c) = self.rest.next() {
            match c {
                '\\' => match self.rest.next() {
                    Some('\n') | None => {}
                    Some(escaped) => self.push(escaped),
                },
                '\'' => self.quoted('\''),
                '"' => self.quoted('"'),
                '#' if self.word.is_none() => while self.rest.next_if(|c| *c != '\n').is_some() {},
                '>' | '<' => {
                    // The digits before it are a descriptor, no word.
                    if self.word.as_ref().is_some_and(|word| word.chars().all(|c| c.is_ascii_digit())) {
                        self.word = None;
                    }
                    self.end_word();
                    while self.rest.next_if(|c| matches!(c, '>' | '&')).is_some() {}
                    self.into_file = true;
                }
                '\n' | ';' | '&' | '|' | '(' | ')' => self.end_command(),
                c if c.is_whitespace() => self.end_word(),
                c => self.push(c),
            }
        }
        self.end_command();
    }

    fn push(&mut self, c: char) {
        self.word.get_or_insert_default().push(c);
    }

    fn quoted(&mut self, quote: char) {
        self.word.get_or_insert_default();
        while let Some(c) = self.rest.next() {
            match c {
                c if c == quote => return,
                '\\' if quote == '"' => {
                    if let Some(escaped) = self.rest.next() {
                        self.push(escaped);
                    }
                }
                c => self.push(c),
            }
        }
    }

    fn end_word(&mut self) {
        if let Some(word) = self.word.take()
            && !mem::take(&mut self.into_file)
        {
            self.words.push(word);
        }
    }

    fn end_command(&mut self) {
        self.end_word();
        self.into_file = false;
        if !self.words.is_empty() {
            self.found.push(mem::take(&mut self.words));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(script: &str) -> Vec<String> {
        commands(script).into_iter().map(|c| format!("{}: {}", c.program, c.words.join("|"))).collect()
    }

    #[test]
    fn each_program_is_found_with_its_words() {
        for (script, expected) in [
            (
                "handover deploy web --yes || echo \"exit code $?\"",
                vec!["handover: deploy|web|--yes", "echo: exit code $?"],
            ),
            ("until [ -S $S ]; do sleep 0.1; done", vec!["[: -S|$S|]", "sleep: 0.1", "done: "]),
            ("A=1 ./target/debug/load --x 'a b' 2>$home/log >&2 & load=$!", vec!["load: --x|a b"]),
            (
                "handover token create | handover-agent join \\\n    --name web-1  # once",
                vec!["handover: token|create", "handover-agent: join|--name|web-1"],
            ),
            ("home=$(mktemp -d)", vec!["mktemp: -d"]),
            ("# nothing", vec![]),
        ] {
            assert_eq!(told(script), expected, "{script}");
        }
    }

    #[test]
    fn what_is_typed_keeps_its_continued_lines() {
        assert_eq!(typed("a \\\n  b\n\n# c\nd\n"), ["a \\\n  b", "d"]);
    }
}
