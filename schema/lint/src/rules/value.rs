//! Defaults: which are the same for all rows, so that a column gets one without the table being rewritten.

use crate::name::Name;
use squawk_syntax::ast::{self, AstNode as _};

/// Functions that give the same value throughout a statement, of those that people use in defaults. PostgreSQL's
/// catalogue (`pg_proc.provolatile`) calls these stable or immutable.
const STABLE: [&str; 46] = [
    "abs",
    "array_append",
    "array_fill",
    "btrim",
    "ceil",
    "concat",
    "concat_ws",
    "current_database",
    "current_schema",
    "current_setting",
    "date",
    "date_part",
    "date_trunc",
    "decode",
    "encode",
    "floor",
    "format",
    "inet_client_addr",
    "json_build_array",
    "json_build_object",
    "jsonb_build_array",
    "jsonb_build_object",
    "left",
    "length",
    "lower",
    "make_date",
    "make_interval",
    "make_time",
    "make_timestamp",
    "make_timestamptz",
    "md5",
    "now",
    "pg_backend_pid",
    "repeat",
    "replace",
    "right",
    "round",
    "statement_timestamp",
    "timezone",
    "to_char",
    "to_date",
    "to_json",
    "to_jsonb",
    "to_timestamp",
    "transaction_timestamp",
    "upper",
];

/// Functions that give another value for each row.
const VOLATILE: [&str; 12] = [
    "clock_timestamp",
    "gen_random_bytes",
    "gen_random_uuid",
    "nextval",
    "random",
    "timeofday",
    "uuid_generate_v1",
    "uuid_generate_v1mc",
    "uuid_generate_v4",
    "uuidv4",
    "uuidv7",
    "random_normal",
];

/// What the linter can tell of a default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Default {
    /// The same for all rows.
    Same,
    /// Another one for each row: this function's.
    Differs(String),
    /// It calls something that is not known.
    Unknown(String),
}

impl Default {
    pub(crate) fn of(expr: &ast::Expr) -> Self {
        let mut worst = Self::Same;
        // Whatever is built of constants and operators is the same for all rows, unless something in it is called.
        for call in expr.syntax().descendants().filter_map(ast::CallExpr::cast) {
            let Some(called) = call.expr() else { continue };
            let name = Name::of(called.syntax());
            let name = name.name().rsplit('.').next().unwrap_or_default().to_owned();
            if VOLATILE.contains(&name.as_str()) {
                return Self::Differs(name);
            }
            if !STABLE.contains(&name.as_str()) {
                worst = Self::Unknown(name);
            }
        }
        worst
    }
}
