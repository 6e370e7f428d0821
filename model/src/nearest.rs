//! What somebody most likely meant.

/// The known word that `text` is most likely meant to be, if any is near: upper and lower case aside, a few
/// characters away (Levenshtein), or with something left out in front (`TERM` for `SIGTERM`).
#[must_use]
pub fn nearest<'w>(text: &str, words: &[&'w str]) -> Option<&'w str> {
    const LONGEST: usize = 64;
    if text.is_empty() || text.len() > LONGEST {
        return None;
    }
    let text = text.to_lowercase();
    let lower: Vec<String> = words.iter().map(|word| word.to_lowercase()).collect();
    let scored = lower.iter().zip(words).map(|(lower, word)| (distance(&text, lower), *word));
    if let Some((distance, word)) = scored.min_by_key(|(distance, _)| *distance)
        && distance <= 1 + word.len() / 4
        && distance < word.len()
    {
        return Some(word);
    }
    let ends = lower.iter().position(|word| text.len() >= 3 && word.ends_with(&text));
    ends.and_then(|at| words.get(at).copied())
}

/// How many characters must be put in, taken out or replaced to make `a` of `b`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_only_where_it_is_near() {
        let words = ["listeners", "liveness", "limits", "logs", "to"];
        assert_eq!(nearest("listener", &words), Some("listeners"));
        assert_eq!(nearest("log", &words), Some("logs"));
        assert_eq!(nearest("LIMITS", &words), Some("limits"));
        assert_eq!(nearest("database", &words), None);
        assert_eq!(nearest("", &words), None);
        assert_eq!(nearest("x", &["a"]), None, "nothing in common");
        assert_eq!(nearest(&"a".repeat(10_000), &words), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn a_signal_without_its_beginning_is_known() {
        let signals = ["SIGTERM", "SIGINT", "SIGUSR1"];
        assert_eq!(nearest("TERM", &signals), Some("SIGTERM"));
        assert_eq!(nearest("usr1", &signals), Some("SIGUSR1"));
        assert_eq!(nearest("sigtrem", &signals), Some("SIGTERM"));
    }
}
