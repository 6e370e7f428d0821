//! Command lines as Procfiles, units and scripts have them.

/// A command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// As it was written, without assignments in front.
    pub(super) text: String,
    /// Assignments in front of the program.
    pub(super) environment: Vec<(String, String)>,
    /// Its words, as far as they are plain.
    pub(super) words: Vec<String>,
    /// It needs a shell: variables, pipes, several commands.
    pub(super) shell: bool,
}

impl Line {
    /// Reads a command line; `None` where there is no program in it.
    pub(super) fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        let (mut words, shell) = split(text);
        let mut rest = text;
        let mut environment = Vec::new();
        while let Some((name, value)) = words.first().and_then(|word| assignment(word)) {
            // What a quoted value hides cannot be cut off the text with certainty: then it stays, for the shell.
            let Some(after) = rest.strip_prefix(words[0].as_str()) else { break };
            rest = after.trim_start();
            environment.push((name.to_owned(), value.to_owned()));
            words.remove(0);
        }
        (!words.is_empty()).then(|| {
            let shell = shell || assignment(&words[0]).is_some();
            Self { text: rest.to_owned(), environment, words, shell }
        })
    }

    /// What execve(2) is given.
    pub(super) fn command(&self) -> Vec<String> {
        if self.shell {
            // exec, so that the program itself gets the drain signal; a second command needs the shell to stay.
            let several = self.text.contains([';', '|', '&', '\n']) || assignment(&self.words[0]).is_some();
            let exec = if several || self.text.starts_with("exec ") { "" } else { "exec " };
            return vec!["/bin/sh".to_owned(), "-c".to_owned(), format!("{exec}{}", self.text)];
        }
        let mut words = self.words.clone();
        words[0] = program(&words[0]);
        words
    }
}

/// A program without a folder is one of the host's.
pub(super) fn program(name: &str) -> String {
    if name.contains('/') {
        return name.strip_prefix("./").unwrap_or(name).to_owned();
    }
    let local = format!("/usr/local/bin/{name}");
    if std::path::Path::new(&local).is_file() { local } else { format!("/usr/bin/{name}") }
}

fn assignment(word: &str) -> Option<(&str, &str)> {
    let (name, value) = word.split_once('=')?;
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let named = !name.is_empty() && name.chars().all(good) && !name.starts_with(|c: char| c.is_ascii_digit());
    named.then_some((name, value))
}

/// The words with quotes and backslashes resolved, and whether something in it is for a shell.
pub(super) fn split(text: &str) -> (Vec<String>, bool) {
    let (mut words, mut word, mut quote, mut shell) = (Vec::new(), None::<String>, None, false);
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        let for_shell = match quote {
            None => matches!(c, '$' | '`' | '|' | '&' | ';' | '<' | '>' | '(' | ')' | '*' | '?' | '~' | '\n'),
            Some('"') => matches!(c, '$' | '`'),
            Some(_) => false,
        };
        shell |= for_shell;
        match (quote, c) {
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (Some(open), c) if c == open => quote = None,
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(characters.next()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    (words, shell || quote.is_some())
}

/// The port that a command line names, if any.
pub(super) fn port(words: &[String]) -> Option<u16> {
    const FLAGS: [&str; 13] = [
        "-p",
        "-b",
        "-l",
        "--port",
        "--bind",
        "--listen",
        "--addr",
        "-addr",
        "--address",
        "-listen",
        "-port",
        "--http-port",
        "--http",
    ];
    let port =
        |text: &str| text.rsplit(':').next().and_then(|port| port.parse().ok()).filter(|port| *port > 0);
    for (at, word) in words.iter().enumerate() {
        let value = match word.split_once('=') {
            Some((flag, value)) if FLAGS.contains(&flag) => Some(value),
            _ if FLAGS.contains(&word.as_str()) => words.get(at + 1).map(String::as_str),
            _ if word.parse::<std::net::SocketAddr>().is_ok() || word.starts_with(':') => Some(word.as_str()),
            _ => None,
        };
        if let Some(port) = value.and_then(port) {
            return Some(port);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        split(text).0
    }

    #[test]
    fn quotes_and_backslashes_are_resolved() {
        assert_eq!(words(r#"a 'b c' "d \"e" f\ g ''"#), ["a", "b c", "d \"e", "f g", ""]);
        assert!(!split("node 'a$b'").1, "single quotes hide it");
        for shell in ["a $B", "a | b", "a && b", "a > b", "\"$HOME\"", "a 'open"] {
            assert!(split(shell).1, "{shell}");
        }
    }

    #[test]
    fn assignments_in_front_are_environment() {
        let line = Line::read("A=1 B='x y' bin/web --flag C=3").unwrap();
        assert_eq!(line.environment[0], ("A".to_owned(), "1".to_owned()));
        assert!(line.words.contains(&"C=3".to_owned()));
        // The quoted one stays for a shell, which knows what to do with it.
        assert_eq!(line.command(), ["/bin/sh", "-c", "B='x y' bin/web --flag C=3"]);
        assert_eq!(Line::read("A=1"), None);
        assert_eq!(Line::read("  "), None);
    }

    #[test]
    fn a_shell_makes_way_for_the_program_where_it_can() {
        let command = |text: &str| Line::read(text).unwrap().command();
        assert_eq!(command("bin/web -p $PORT"), ["/bin/sh", "-c", "exec bin/web -p $PORT"]);
        assert_eq!(command("a && b"), ["/bin/sh", "-c", "a && b"]);
        assert_eq!(command("./bin/web 'a b'"), ["bin/web", "a b"]);
        assert!(command("node x.js")[0].ends_with("/bin/node"));
    }

    #[test]
    fn a_port_is_found_behind_its_flag() {
        for (line, expected) in [
            ("web --port 3000", Some(3000)),
            ("web --port=3000", Some(3000)),
            ("gunicorn -b 0.0.0.0:8000 app", Some(8000)),
            ("web -listen :9090", Some(9090)),
            ("manage.py runserver 127.0.0.1:8001", Some(8001)),
            ("web [::]:81", Some(81)),
            ("web --port 0", None),
            ("web --port 99999", None),
            ("web --retries 5", None),
        ] {
            assert_eq!(port(&words(line)), expected, "{line}");
        }
    }
}
