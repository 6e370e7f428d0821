//! Lines that are kept up to date in place. No alternate screen: what stood there last stays in the scrollback.

use super::tree::Look;
use console::Term;
use std::{env, io::Write as _};

/// Lines that were drawn and will be drawn over.
#[derive(Debug)]
pub(super) struct Screen {
    term: Term,
    drawn: usize,
    colour: bool,
    unicode: bool,
}

impl Screen {
    /// Standard output, where it is a terminal that can move its cursor; `None` elsewhere: plain lines are for that.
    pub(super) fn open() -> Option<Self> {
        let term = Term::stdout();
        let dumb = env::var("TERM").map_or(true, |term| term.is_empty() || term == "dumb");
        if !term.is_term() || dumb {
            return None;
        }
        let colour =
            env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && console::colors_enabled();
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .iter()
            .find_map(|name| env::var(name).ok().filter(|v| !v.is_empty()));
        let unicode = locale.is_some_and(|locale| {
            let locale = locale.to_lowercase();
            locale.contains("utf-8") || locale.contains("utf8")
        });
        Some(Self { term, drawn: 0, colour, unicode })
    }

    /// How a tree has to look here.
    pub(super) fn look(&self, now: u64) -> Look {
        let (height, width) = self.term.size();
        Look {
            // The last column is left free: some terminals break the line there.
            width: usize::from(width).saturating_sub(1).max(20),
            // The last line is the cursor's.
            height: usize::from(height).saturating_sub(1).max(3),
            now,
            colour: self.colour,
            unicode: self.unicode,
        }
    }

    /// Draws over what was drawn before, in one write, so that nothing flickers.
    pub(super) fn draw(&mut self, lines: &[String]) {
        let text = over(self.drawn, lines);
        self.drawn = lines.len();
        // A terminal that went away shows nothing; the command goes on.
        let _ = self.term.write_all(text.as_bytes()).and_then(|()| self.term.flush());
    }

    /// What comes next stands below, not over it.
    pub(super) fn leave(&mut self) {
        self.drawn = 0;
    }
}

/// The lines, written over so many that were drawn before.
fn over(drawn: usize, lines: &[String]) -> String {
    let mut text = if drawn == 0 { String::new() } else { format!("\x1b[{drawn}A\r") };
    for line in lines {
        text.push_str("\x1b[2K");
        text.push_str(line);
        text.push('\n');
    }
    text.push_str("\x1b[J");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_drawn_is_drawn_over_and_what_is_too_much_is_cleared() {
        assert_eq!(over(0, &["a".to_owned()]), "\x1b[2Ka\n\x1b[J");
        assert_eq!(over(3, &["a".to_owned(), "b".to_owned()]), "\x1b[3A\r\x1b[2Ka\n\x1b[2Kb\n\x1b[J");
    }
}
