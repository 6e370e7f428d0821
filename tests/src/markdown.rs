//! Documents in Markdown: what they tell people to type, to look up and to follow.

use crate::repository;
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use std::ops::Range;

/// A document of this repository.
#[derive(Clone, Debug, Default)]
pub struct Document {
    /// Its path beneath the repository's folder.
    pub path: String,
    /// Its headings, in order, without their signs.
    pub headings: Vec<String>,
    /// Its blocks of code.
    pub blocks: Vec<Block>,
    /// What stands between backticks.
    pub spans: Vec<Span>,
    /// Where its links lead.
    pub links: Vec<Span>,
}

/// A block of code.
#[derive(Clone, Debug)]
pub struct Block {
    /// The line of the document that it begins at.
    pub line: usize,
    /// The heading that it stands under.
    pub section: String,
    /// What stands behind the fence; `None` where the block is only indented.
    pub language: Option<String>,
    /// Its lines.
    pub text: String,
}

/// A piece of a line.
#[derive(Clone, Debug)]
pub struct Span {
    /// The line of the document.
    pub line: usize,
    /// What it says.
    pub text: String,
}

impl Document {
    /// Reads a document of the repository.
    #[track_caller]
    #[must_use]
    pub fn read(path: &str) -> Self {
        Self::parse(path, &repository::read(path))
    }

    /// Every document of the repository, in the order of their paths.
    #[must_use]
    pub fn all() -> Vec<Self> {
        repository::files().iter().filter(|path| path.ends_with(".md")).map(|path| Self::read(path)).collect()
    }

    fn parse(path: &str, text: &str) -> Self {
        let mut document = Self { path: path.to_owned(), ..Self::default() };
        let line = |range: &Range<usize>| 1 + text[..range.start].matches('\n').count();
        let mut heading = None::<String>;
        let mut block = None::<Block>;
        for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
            match event {
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => document.headings.extend(heading.take()),
                Event::Start(Tag::CodeBlock(kind)) => {
                    let language = match kind {
                        CodeBlockKind::Fenced(language) => Some(language.into_string()),
                        CodeBlockKind::Indented => None,
                    };
                    let section = document.headings.last().cloned().unwrap_or_default();
                    block = Some(Block { line: line(&range), section, language, text: String::new() });
                }
                Event::End(TagEnd::CodeBlock) => document.blocks.extend(block.take()),
                Event::Start(Tag::Link { dest_url, .. }) => {
                    document.links.push(Span { line: line(&range), text: dest_url.into_string() });
                }
                Event::Text(words) => {
                    if let Some(block) = &mut block {
                        block.text.push_str(&words);
                    } else if let Some(heading) = &mut heading {
                        heading.push_str(&words);
                    }
                }
                Event::Code(words) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&words);
                    }
                    document.spans.push(Span { line: line(&range), text: words.into_string() });
                }
                _ => {}
            }
        }
        document
    }

    /// The `sh` blocks of a section, one after the other.
    ///
    /// # Panics
    /// Where there is no such section, or nothing to type in it.
    #[track_caller]
    #[must_use]
    pub fn script(&self, section: &str) -> String {
        let blocks = self.blocks.iter().filter(|block| block.section == section);
        let blocks = blocks.filter(|block| block.language.as_deref() == Some("sh"));
        let script: String = blocks.map(|block| block.text.as_str()).collect();
        assert!(!script.is_empty(), "{} tells nothing to type in {section:?}", self.path);
        script
    }

    /// What a link to a heading is called: as the places that show Markdown make it of the heading's words.
    #[must_use]
    pub fn anchors(&self) -> Vec<String> {
        let anchor = |heading: &String| -> String {
            let kept = heading.to_lowercase();
            let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        };
        self.headings.iter().map(anchor).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_spans_links_and_headings_are_found_with_their_lines() {
        let text = "# A `b` c\n\nSee [it](x.md#y), `run\nthis`.\n\n## Do, now\n\n```sh\none\ntwo\n```\n\n    three\n\n\
                    | a |\n| --- |\n| `cell` |\n";
        let document = Document::parse("d.md", text);
        assert_eq!(document.headings, ["A b c", "Do, now"]);
        assert_eq!(document.anchors(), ["a-b-c", "do-now"]);
        let spans: Vec<(usize, &str)> = document.spans.iter().map(|s| (s.line, s.text.as_str())).collect();
        assert_eq!(spans, [(1, "b"), (3, "run this"), (17, "cell")]);
        assert_eq!((document.links[0].line, document.links[0].text.as_str()), (3, "x.md#y"));
        assert_eq!(document.script("Do, now"), "one\ntwo\n");
        assert_eq!(
            (document.blocks[1].language.as_ref(), document.blocks[1].text.as_str()),
            (None, "three\n")
        );
    }

    #[test]
    #[should_panic(expected = "tells nothing to type")]
    fn a_section_without_commands_is_no_script() {
        let _ = Document::parse("d.md", "# A\n\nwords\n").script("A");
    }
}
