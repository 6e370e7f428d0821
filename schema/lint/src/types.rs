//! Types of columns: which changes of one leave the rows as they are.

/// A type as PostgreSQL knows it, with what stands in its brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Type {
    pub(crate) name: String,
    pub(crate) numbers: Vec<u32>,
}

impl Type {
    /// A type as it is written in SQL.
    pub(crate) fn parse(text: &str) -> Self {
        let lower = text.to_ascii_lowercase().replace('"', "");
        let (before, rest) = lower.split_once('(').unwrap_or((&lower, ""));
        let (inside, after) = rest.split_once(')').unwrap_or(("", ""));
        let name = format!("{before} {after}");
        let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
        let name = name.strip_prefix("pg_catalog.").unwrap_or(&name);
        let name = match name {
            "character varying" | "char varying" | "national character varying" | "nchar varying" => {
                "varchar"
            }
            "character" | "bpchar" | "national character" | "national char" | "nchar" => "char",
            "int" | "int4" | "integer" => "integer",
            "int2" | "smallint" => "smallint",
            "int8" | "bigint" => "bigint",
            "decimal" | "dec" | "numeric" => "numeric",
            "timestamp without time zone" => "timestamp",
            "timestamp with time zone" => "timestamptz",
            "time without time zone" => "time",
            "time with time zone" => "timetz",
            "bit varying" => "varbit",
            other => other,
        };
        let numbers = inside.split(',').filter_map(|number| number.trim().parse().ok()).collect();
        Self { name: name.to_owned(), numbers }
    }

    /// Whether each value of this type is one of the other, kept by the same bytes: PostgreSQL then changes only the
    /// catalogue. Its documentation of ALTER TABLE and the source of its casts say so.
    pub(crate) fn widens_to(&self, new: &Self) -> bool {
        let (old, to) = (self.name.as_str(), new.name.as_str());
        let no_limit = new.numbers.is_empty();
        match (old, to) {
            _ if self == new => true,
            ("varchar", "text") | ("cidr", "inet") => true,
            ("text", "varchar") => no_limit,
            ("varchar", "varchar")
            | ("varbit", "varbit")
            | ("timestamp", "timestamp")
            | ("timestamptz", "timestamptz")
            | ("time", "time")
            | ("timetz", "timetz")
            | ("interval", "interval") => {
                no_limit || matches!((&*self.numbers, &*new.numbers), ([old], [new]) if new >= old)
            }
            ("numeric", "numeric") => {
                no_limit
                    || match (&*self.numbers, &*new.numbers) {
                        ([digits, scale], [more, same]) => more >= digits && same == scale,
                        ([digits], [more]) => more >= digits,
                        _ => false,
                    }
            }
            _ => false,
        }
    }

    /// Whether it numbers itself.
    pub(crate) fn is_serial(&self) -> bool {
        matches!(
            self.name.as_str(),
            "serial" | "serial2" | "serial4" | "serial8" | "bigserial" | "smallserial"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::Type;

    fn widens(old: &str, new: &str) -> bool {
        Type::parse(old).widens_to(&Type::parse(new))
    }

    #[test]
    fn a_wider_type_of_the_same_bytes_leaves_the_rows_as_they_are() {
        for (old, new) in [
            ("varchar(10)", "character varying(20)"),
            ("varchar(10)", "varchar"),
            ("varchar(10)", "text"),
            ("text", "varchar"),
            ("numeric(10, 2)", "decimal(12,2)"),
            ("numeric(10,2)", "numeric"),
            ("cidr", "inet"),
            ("timestamp(3) with time zone", "timestamptz(6)"),
            ("timestamptz(3)", "timestamptz"),
            ("interval(3)", "interval"),
            ("int", "int4"),
        ] {
            assert!(widens(old, new), "{old} -> {new}");
        }
    }

    #[test]
    fn a_narrower_or_another_type_rewrites_or_checks_the_rows() {
        for (old, new) in [
            ("varchar(20)", "varchar(10)"),
            ("varchar", "varchar(10)"),
            ("text", "varchar(10)"),
            ("numeric(10,2)", "numeric(12,3)"),
            ("numeric", "numeric(10,2)"),
            ("int", "bigint"),
            ("timestamp", "timestamptz"),
            ("inet", "cidr"),
            ("char(5)", "text"),
            ("text", "jsonb"),
        ] {
            assert!(!widens(old, new), "{old} -> {new}");
        }
    }
}
