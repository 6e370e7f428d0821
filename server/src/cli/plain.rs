//! Text that came from outside, safe to print: it must not move an operator's cursor or hide what stands beside it.

/// The text with control characters and what is no UTF-8 written out: `\u{1b}`, `\xff`. A tab becomes a space.
pub(super) fn plain(bytes: &[u8]) -> String {
    let mut plain = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\t' => plain.push(' '),
                // Overrides of the writing direction, and what is not seen at all, can turn a line into another one.
                '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}' => plain.extend(character.escape_unicode()),
                control if control.is_control() => plain.extend(control.escape_default()),
                other => plain.push(other),
            }
        }
        for byte in chunk.invalid() {
            plain.push_str(&format!("\\x{byte:02x}"));
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        for (text, expected) in [
            (b"\x1b[31mred\x1b]0;title\x07".as_slice(), "\\u{1b}[31mred\\u{1b}]0;title\\u{7}"),
            (b"a\tb\r\n", "a b\\r\\n"),
            (b"\xc2\x9b31m \xff\xfe", "\\u{9b}31m \\xff\\xfe"),
            ("safe\u{202e}evil\u{200b}".as_bytes(), "safe\\u{202e}evil\\u{200b}"),
            ("grüße 🦀".as_bytes(), "grüße 🦀"),
        ] {
            assert_eq!(plain(text), expected);
        }
    }
}
