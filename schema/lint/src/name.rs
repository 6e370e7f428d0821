//! Names as PostgreSQL folds them.

use crate::tree;
use handover_model::MAX_NAME_BYTES;
use serde::Serialize;
use squawk_syntax::{SyntaxKind, SyntaxNode, ast, quote::quote_ident};
use std::fmt;

/// The name of a table or of another object: `users`, `billing.invoices`. Objects of the schema `public` and those
/// without a schema have the same name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Name {
    schema: Option<String>,
    name: String,
}

impl Name {
    /// A name, given folded: without quotes, in the case in which the database keeps it.
    #[must_use]
    pub fn new(schema: Option<&str>, name: &str) -> Self {
        let schema = schema.filter(|schema| *schema != "public").map(str::to_owned);
        Self { schema, name: name.to_owned() }
    }

    /// The schema, unless it is `public` or none was written.
    #[must_use]
    pub fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    /// The name without its schema.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What a node of the tree names: the last two parts of a path, or the one word that it is.
    pub(crate) fn of(node: &SyntaxNode) -> Self {
        let parts: Vec<String> = node
            .descendants()
            .filter(|node| is_part(node.kind()))
            .map(|node| ast::normalize_name_node(&node))
            .collect();
        match parts.as_slice() {
            [] => Self::new(None, &one_word(node)),
            [name] => Self::new(None, name),
            [.., schema, name] => Self::new(Some(schema), name),
        }
    }
}

/// Whether a node names something with its schema.
pub(crate) fn is_qualified(node: &SyntaxNode) -> bool {
    node.descendants().filter(|node| is_part(node.kind())).nth(1).is_some()
}

fn is_part(kind: SyntaxKind) -> bool {
    matches!(kind, SyntaxKind::PATH_SEGMENT | SyntaxKind::PATH_SEGMENT_REF)
}

/// The one name that a node is.
pub(crate) fn one_word(node: &SyntaxNode) -> String {
    let mut tokens = tree::tokens(node);
    match (tokens.next().and_then(|token| token.parent()), tokens.next()) {
        (Some(name), None) => ast::normalize_name_node(&name),
        _ => tree::plain(node),
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "{}.", quote_ident(schema))?;
        }
        f.write_str(&quote_ident(&self.name))
    }
}

/// A new name made of parts, `users_email_idx`, quoted where it has to be and no longer than PostgreSQL keeps.
pub(crate) fn made_of(parts: &[&str]) -> String {
    let mut name = parts.join("_");
    if name.len() > MAX_NAME_BYTES {
        let end = (0..=MAX_NAME_BYTES).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0);
        name.truncate(end);
    }
    quote_ident(&name)
}
