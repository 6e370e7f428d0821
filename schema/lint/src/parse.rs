//! squawk's parser behind bounds: whatever stands in a file, the answer is a tree, mistakes with their places, or that
//! it was not read.
//!
//! The parser and its tree are recursive, so both are used on a stack of their own whose size the bounds are made for:
//! [`MOST_WEIGHT`] bounds how deep the parser can go, by the tokens; [`MOST_DEPTH`] how deep the tree is that comes out.

use crate::statement::Cut;
use squawk_parser::{EntryPoint, LexedStr, StrStep};
use squawk_syntax::{
    SourceFile, SyntaxKind, SyntaxNode,
    ast::{self, AstNode as _},
};
use std::{ops::Range, panic, thread};

/// Longest file that is read, in bytes.
pub const MOST_BYTES: usize = 1 << 20;
pub use handover_script::MOST_STATEMENTS;
/// Most tokens of a statement that may lie inside each other. Each can cost the parser a few frames.
pub const MOST_WEIGHT: usize = 5_000;
/// Most levels of a statement's tree.
pub const MOST_DEPTH: usize = 2_000;

/// What the bounds need, several times over: it is only addresses until it is used.
const STACK: usize = 256 << 20;

/// A mistake in a statement, at bytes of the statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Misread {
    pub(crate) message: String,
    pub(crate) range: Range<usize>,
}

/// What became of a statement.
pub(crate) enum Parsed {
    /// It was read, as far as it makes sense.
    Read {
        /// What it is; `None` where not even that can be told.
        stmt: Option<ast::Stmt>,
        /// What does not make sense in it.
        misread: Vec<Misread>,
    },
    /// It is nested too deep to be read.
    TooDeep,
}

/// Does something where there is room for the parser; `None` where no thread could be had, or it panicked.
pub(crate) fn with_room<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    thread::scope(|scope| {
        let name = "lint".to_owned();
        let thread = thread::Builder::new().name(name).stack_size(STACK).spawn_scoped(scope, work);
        thread.ok()?.join().ok()
    })
}

/// Reads one statement.
pub(crate) fn parse(text: &str, cut: &Cut) -> Parsed {
    if cut.weight > MOST_WEIGHT {
        return Parsed::TooDeep;
    }
    let text = &text[cut.range.clone()];
    // The parser asserts that it gets on; on some text that is far from SQL it does not.
    match panic::catch_unwind(|| read(text)) {
        Ok(parsed) => parsed,
        Err(_) => Parsed::Read {
            stmt: None,
            misread: vec![Misread { message: "the parser gave up".to_owned(), range: 0..text.len() }],
        },
    }
}

fn read(text: &str) -> Parsed {
    let lexed = LexedStr::new(text);
    let output = EntryPoint::SourceFile.parse(&lexed.to_input());
    let mut misread: Vec<Misread> = Vec::new();
    let (mut depth, mut deepest) = (0_usize, 0);
    lexed.intersperse_trivia(&output, &mut |step| match step {
        StrStep::Enter { .. } => {
            depth += 1;
            deepest = deepest.max(depth);
        }
        StrStep::Exit => depth = depth.saturating_sub(1),
        StrStep::Error { msg, pos } => misread.push(Misread { message: msg.to_owned(), range: pos..pos }),
        StrStep::Token { .. } => {}
    });
    if deepest > MOST_DEPTH {
        return Parsed::TooDeep;
    }
    let bytes = |at: u32| usize::try_from(at).unwrap_or(usize::MAX);
    misread.extend(lexed.errors().map(|(range, message)| Misread {
        message: message.to_owned(),
        range: bytes(range.start)..bytes(range.end),
    }));
    let parse = SourceFile::parse(text);
    let root = parse.syntax_node();
    // What the parser lets through and PostgreSQL does not. It reads bodies of functions, too, which have no bounds.
    if misread.is_empty() && !has_body(&root) {
        misread.extend(parse.errors().into_iter().map(|error| Misread {
            message: error.message().to_owned(),
            range: error.range().start().into()..error.range().end().into(),
        }));
    }
    let mut stmts = root.children().filter_map(ast::Stmt::cast);
    let stmt = stmts.next();
    if let Some(second) = stmts.next().filter(|_| misread.is_empty()) {
        // It was cut as one: a body whose end was not found has swallowed what stands behind it.
        let range = second.syntax().text_range();
        misread.push(Misread {
            message: "another statement begins within this one".to_owned(),
            range: range.start().into()..range.end().into(),
        });
    }
    if stmt.is_none() && misread.is_empty() {
        misread.push(Misread { message: "this is no statement".to_owned(), range: 0..text.len() });
    }
    Parsed::Read { stmt, misread }
}

fn has_body(root: &SyntaxNode) -> bool {
    root.descendants()
        .any(|node| matches!(node.kind(), SyntaxKind::CREATE_FUNCTION | SyntaxKind::CREATE_PROCEDURE))
}
