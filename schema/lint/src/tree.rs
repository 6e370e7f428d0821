//! Reading squawk's syntax tree: what rules ask it again and again.

use squawk_syntax::{
    SyntaxElement, SyntaxKind, SyntaxNode, SyntaxToken,
    ast::{self, AstNode as _},
};

/// The tokens of a node that say something: no spaces, no comments.
pub(crate) fn tokens(node: &SyntaxNode) -> impl Iterator<Item = SyntaxToken> + use<> {
    node.descendants_with_tokens().filter_map(SyntaxElement::into_token).filter(says)
}

/// Whether a token is more than space or comment.
pub(crate) fn says(token: &SyntaxToken) -> bool {
    !matches!(token.kind(), SyntaxKind::WHITESPACE | SyntaxKind::COMMENT)
}

/// A node as SQL in one line, without comments.
pub(crate) fn plain(node: &SyntaxNode) -> String {
    line(node, |_| true, None)
}

/// The same with a text after one of its tokens.
pub(crate) fn plain_with(node: &SyntaxNode, insert: (&SyntaxToken, &str)) -> String {
    line(node, |_| true, Some(insert))
}

/// The same from a place on.
pub(crate) fn plain_from(node: &SyntaxNode, start: usize) -> String {
    line(node, |token| usize::from(token.text_range().start()) >= start, None)
}

fn line(
    node: &SyntaxNode,
    takes: impl Fn(&SyntaxToken) -> bool,
    insert: Option<(&SyntaxToken, &str)>,
) -> String {
    let mut line = String::new();
    for token in node.descendants_with_tokens().filter_map(SyntaxElement::into_token).filter(takes) {
        if says(&token) {
            line.push_str(token.text());
        } else if !line.is_empty() && !line.ends_with(' ') {
            line.push(' ');
        }
        if let Some((after, text)) = insert
            && *after == token
        {
            line.push_str(text);
        }
    }
    line.truncate(line.trim_end().len());
    line
}

/// A node as SQL in one line, without a part of it.
pub(crate) fn plain_without(node: &SyntaxNode, part: &SyntaxNode) -> String {
    let (all, part) = (plain(node), plain(part));
    // The part is a clause at the end of the node or of one of its actions, so the last one is meant.
    match all.rfind(&part) {
        Some(at) => {
            let rest = all[at + part.len()..].to_owned();
            format!("{}{rest}", all[..at].trim_end())
        }
        None => all,
    }
}

/// The first token of a kind in a node.
pub(crate) fn token(node: &SyntaxNode, kind: SyntaxKind) -> Option<SyntaxToken> {
    tokens(node).find(|token| token.kind() == kind)
}

/// Whether a node of a kind stands anywhere in a node.
pub(crate) fn has_inside(node: &SyntaxNode, kind: SyntaxKind) -> bool {
    node.descendants().any(|inner| inner.kind() == kind)
}

/// The conditions that all have to hold: `a AND (b AND c)` taken apart.
pub(crate) fn conjuncts(expr: ast::Expr) -> Vec<ast::Expr> {
    let mut open = vec![expr];
    let mut all = Vec::new();
    while let Some(expr) = open.pop() {
        match &expr {
            ast::Expr::ParenExpr(paren) if paren.expr().is_some() => open.extend(paren.expr()),
            ast::Expr::BinExpr(both) if operator(both) == "and" => {
                open.extend(both.lhs());
                open.extend(both.rhs());
            }
            _ => all.push(expr),
        }
    }
    all
}

/// The operator of an expression with two sides, in small letters: everything between them.
pub(crate) fn operator(both: &ast::BinExpr) -> String {
    let sides = (both.lhs(), both.rhs());
    let (Some(left), Some(right)) = sides else { return String::new() };
    let (from, to) = (left.syntax().text_range().end(), right.syntax().text_range().start());
    let words: Vec<String> = tokens(both.syntax())
        .filter(|token| token.text_range().start() >= from && token.text_range().end() <= to)
        .map(|token| token.text().to_ascii_lowercase())
        .collect();
    words.concat()
}

/// Whether an expression is a value that was written down: a literal, a parameter, a cast of one.
pub(crate) fn is_value(expr: &ast::Expr) -> bool {
    match expr {
        ast::Expr::Literal(_) => true,
        ast::Expr::CastExpr(cast) => {
            cast.literal().is_some() || cast.expr().is_some_and(|expr| is_value(&expr))
        }
        ast::Expr::PrefixExpr(prefix) => prefix.expr().is_some_and(|expr| is_value(&expr)),
        ast::Expr::ParenExpr(paren) => paren.expr().is_some_and(|expr| is_value(&expr)),
        ast::Expr::BinExpr(both) => {
            both.lhs().is_some_and(|expr| is_value(&expr)) && both.rhs().is_some_and(|expr| is_value(&expr))
        }
        ast::Expr::NameRef(name) => name.syntax().text().to_string().starts_with('$'),
        _ => false,
    }
}

/// The column that an expression names, `id` or `users.id`, as PostgreSQL folds it.
pub(crate) fn column(expr: &ast::Expr) -> Option<String> {
    match expr {
        ast::Expr::NameRef(name) if !is_value(expr) => Some(ast::normalize_name_node(name.syntax())),
        ast::Expr::FieldExpr(field) => {
            let last = tokens(field.syntax()).last()?;
            Some(unquoted(last.text()))
        }
        ast::Expr::ParenExpr(paren) => column(&paren.expr()?),
        _ => None,
    }
}

/// A name as it is written, folded.
pub(crate) fn unquoted(text: &str) -> String {
    match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None => text.to_ascii_lowercase(),
    }
}
