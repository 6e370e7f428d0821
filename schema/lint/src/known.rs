//! What the linter knows at a statement from those before it: in this file, and in the files before it.

use crate::{
    migration::{Code, ColumnOf, Context, Migration, SchemaPhase},
    name::{Name, one_word},
    tree,
};
use squawk_syntax::ast::{self, AstNode as _, Stmt};
use std::collections::{BTreeMap, BTreeSet};

/// What the statements so far have made and learnt, over all files.
#[derive(Debug)]
pub(crate) struct Known {
    phase: Option<SchemaPhase>,
    /// Tables, views and everything else made in this phase: no release uses them yet.
    made: BTreeSet<Name>,
    /// Columns added in this phase.
    columns: BTreeSet<ColumnOf>,
    /// Constraints and indexes made in this release.
    constraints: BTreeMap<Name, Constraint>,
    indexes: BTreeSet<Name>,
    types: BTreeMap<ColumnOf, String>,
    /// Whether the file was there before the code was: others use what it made.
    is_past: bool,
}

#[derive(Clone, Debug)]
struct Constraint {
    table: Name,
    /// The columns that it says are not NULL.
    not_null: Vec<String>,
    is_check: bool,
    validated: bool,
}

impl Known {
    pub(crate) fn new(context: &Context) -> Self {
        Self {
            phase: None,
            made: context.made.clone(),
            columns: BTreeSet::new(),
            constraints: BTreeMap::new(),
            indexes: BTreeSet::new(),
            types: context.types.clone(),
            is_past: false,
        }
    }

    /// The files of a phase begin: what was made in the one before it is in use by now.
    pub(crate) fn enter(&mut self, phase: SchemaPhase) {
        if self.phase.is_some_and(|before| before != phase) {
            self.made.clear();
            self.columns.clear();
        }
        self.phase = Some(phase);
        self.is_past = false;
    }

    /// A file begins. Those of earlier releases may stay, and what they made is in use by now: by their numbers they are below
    /// what the code works with.
    pub(crate) fn open(&mut self, migration: &Migration<'_>, code: Option<&Code>) {
        let is_past = code.is_some_and(|code| migration.version < code.reads.first());
        if self.is_past && !is_past {
            self.made.clear();
            self.columns.clear();
        }
        self.is_past = is_past;
    }

    /// Whether no release uses it yet.
    pub(crate) fn is_new(&self, name: &Name) -> bool {
        self.made.contains(name)
    }

    /// Whether no release uses the column yet.
    pub(crate) fn is_new_column(&self, table: &Name, column: &str) -> bool {
        self.is_new(table) || self.columns.contains(&(table.clone(), column.to_owned()))
    }

    /// Whether an index was made in this release.
    pub(crate) fn has_index(&self, name: &Name) -> bool {
        self.indexes.contains(name)
    }

    /// Whether a constraint of a table was made in this release.
    pub(crate) fn has_constraint(&self, table: &Name, name: &str) -> bool {
        self.constraint(table, name).is_some()
    }

    /// Whether a validated check says that a column is never NULL.
    pub(crate) fn never_null(&self, table: &Name, column: &str) -> bool {
        let says = |constraint: &Constraint| constraint.not_null.iter().any(|one| one == column);
        self.of(table).any(|constraint| constraint.validated && says(constraint))
    }

    /// Whether a validated check of a table is known.
    pub(crate) fn has_validated_check(&self, table: &Name) -> bool {
        self.of(table).any(|constraint| constraint.validated && constraint.is_check)
    }

    /// The type of a column, as SQL.
    pub(crate) fn type_of(&self, table: &Name, column: &str) -> Option<&str> {
        self.types.get(&(table.clone(), column.to_owned())).map(String::as_str)
    }

    fn of<'k>(&'k self, table: &'k Name) -> impl Iterator<Item = &'k Constraint> {
        self.constraints.values().filter(move |constraint| constraint.table == *table)
    }

    fn constraint(&self, table: &Name, name: &str) -> Option<&Constraint> {
        self.constraints.get(&key(table, name))
    }

    /// Takes in what a statement does.
    pub(crate) fn learn(&mut self, stmt: &Stmt) {
        match stmt {
            Stmt::CreateTable(it) => {
                let Some(name) = it.table_name().map(|name| Name::of(name.syntax())) else { return };
                for arg in it.table_arg_list().iter().flat_map(ast::TableArgList::args) {
                    if let ast::TableArg::Column(column) = arg
                        && let (Some(column), Some(ty)) = (column.name(), column.ty())
                    {
                        self.types.insert((name.clone(), column.text()), tree::plain(ty.syntax()));
                    }
                }
                self.made.insert(name);
            }
            Stmt::CreateTableAs(it) => self.make(it.table_name()),
            Stmt::CreateView(it) => self.make(it.view().filter(|_| it.or_replace().is_none())),
            Stmt::CreateMaterializedView(it) => self.make(it.view()),
            Stmt::CreateSequence(it) => self.make(it.sequence()),
            Stmt::CreateType(it) => self.make(it.type_name()),
            Stmt::CreateDomain(it) => self.make(it.domain()),
            Stmt::CreateFunction(it) => self.make(it.name().filter(|_| it.or_replace().is_none())),
            Stmt::CreateTrigger(it) => self.make(it.trigger().filter(|_| it.or_replace().is_none())),
            Stmt::CreatePolicy(it) => self.make(it.policy()),
            Stmt::CreateExtension(it) => self.make(it.extension()),
            Stmt::CreateSchema(it) => self.made.extend(it.schema_name().map(|name| Name::of(&name))),
            Stmt::CreateIndex(it) => {
                let table = it.table_relation_name().map(|table| Name::of(table.syntax()));
                if let (Some(table), Some(index)) = (table, it.index()) {
                    let index = Name::of(index.syntax());
                    self.indexes.insert(Name::new(table.schema(), index.name()));
                }
            }
            Stmt::AlterTable(it) => {
                let Some(table) = it.table_relation_name().map(|table| Name::of(table.syntax())) else {
                    return;
                };
                for action in it.actions() {
                    self.learn_action(&table, &action);
                }
            }
            Stmt::DropTable(it) => {
                for table in it.table_name_refs() {
                    self.made.remove(&Name::of(table.syntax()));
                }
            }
            _ => {}
        }
    }

    fn make<N: ast::AstNode>(&mut self, name: Option<N>) {
        self.made.extend(name.map(|name| Name::of(name.syntax())));
    }

    fn learn_action(&mut self, table: &Name, action: &ast::AlterTableAction) {
        use ast::AlterTableAction as Action;
        match action {
            Action::AddColumn(it) => {
                let Some(column) = it.column_name() else { return };
                let column = (table.clone(), column.text());
                if let Some(ty) = it.ty() {
                    self.types.insert(column.clone(), tree::plain(ty.syntax()));
                }
                self.columns.insert(column);
            }
            Action::AddConstraint(it) => {
                let Some(constraint) = it.constraint() else { return };
                let Some(name) = constraint.constraint_name() else { return };
                let (is_check, not_null) = match &constraint {
                    ast::Constraint::CheckConstraint(check) => {
                        (true, check.expr().map(never_null_in).unwrap_or_default())
                    }
                    _ => (false, Vec::new()),
                };
                let validated = !constraint.is_not_valid();
                let made = Constraint { table: table.clone(), not_null, is_check, validated };
                self.constraints.insert(key(table, &one_word(name.syntax())), made);
            }
            Action::ValidateConstraint(it) => {
                let Some(name) = it.constraint_name_ref() else { return };
                let name = Name::of(name.syntax());
                if let Some(constraint) = self.constraints.get_mut(&key(table, name.name())) {
                    constraint.validated = true;
                }
            }
            Action::DropConstraint(it) => {
                if let Some(name) = it.constraint_name_ref() {
                    self.constraints.remove(&key(table, Name::of(name.syntax()).name()));
                }
            }
            _ => {}
        }
    }
}

/// Constraints have their names for themselves in each table.
fn key(table: &Name, constraint: &str) -> Name {
    Name::new(Some(&table.to_string()), constraint)
}

/// The columns of which a check says that they are not NULL.
pub(crate) fn never_null_in(check: ast::Expr) -> Vec<String> {
    let says = |expr: &ast::Expr| {
        let words: Vec<String> = tree::tokens(expr.syntax()).map(|token| token.text().to_owned()).collect();
        let [column, is, not, null] = words.as_slice() else { return None };
        let is_null_test = is.eq_ignore_ascii_case("is")
            && not.eq_ignore_ascii_case("not")
            && null.eq_ignore_ascii_case("null");
        is_null_test.then(|| tree::unquoted(column))
    };
    tree::conjuncts(check).iter().filter_map(says).collect()
}

/// What the transaction that a statement is in has done so far.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    /// Whether there is one: without, each statement is its own.
    pub(crate) open: bool,
    /// Tables in use that it has locked by changing them, in their order.
    pub(crate) locked: Vec<Name>,
    /// Constraints that it has added NOT VALID.
    pub(crate) not_valid: BTreeSet<(Name, String)>,
    /// Values that it has added to enums.
    pub(crate) enum_values: Vec<String>,
    /// What it has dropped.
    pub(crate) dropped: BTreeSet<Name>,
}

impl Transaction {
    /// Takes in what a statement does.
    pub(crate) fn learn(&mut self, stmt: &Stmt, known: &Known) {
        match stmt {
            Stmt::Begin(_) => *self = Self { open: true, ..Self::default() },
            Stmt::Commit(_) | Stmt::Rollback(_) => *self = Self::default(),
            _ if !self.open => {}
            Stmt::AlterTable(it) => {
                let Some(table) = it.table_relation_name().map(|table| Name::of(table.syntax())) else {
                    return;
                };
                for action in it.actions() {
                    if let ast::AlterTableAction::AddConstraint(it) = action
                        && let Some(constraint) = it.constraint()
                        && constraint.is_not_valid()
                        && let Some(name) = constraint.constraint_name()
                    {
                        self.not_valid.insert((table.clone(), one_word(name.syntax())));
                    }
                }
                if locks(it) {
                    self.lock(table, known);
                }
            }
            Stmt::CreateIndex(it) => {
                if let Some(table) = it.table_relation_name() {
                    self.lock(Name::of(table.syntax()), known);
                }
            }
            Stmt::CreateTrigger(it) => {
                if let Some(table) = it.on_relation() {
                    self.lock(Name::of(table.syntax()), known);
                }
            }
            Stmt::Truncate(it) => {
                if let Some(tables) = it.table_list() {
                    self.lock(Name::of(tables.syntax()), known);
                }
            }
            Stmt::AlterType(it) => {
                if let Some(ast::AlterTypeAction::AddValue(added)) = it.action() {
                    self.enum_values.extend(added.literal().map(|value| tree::plain(value.syntax())));
                }
            }
            Stmt::DropTable(it) => {
                self.dropped.extend(it.table_name_refs().map(|table| Name::of(table.syntax())));
            }
            Stmt::DropView(it) => {
                self.dropped.extend(it.view_refs().map(|view| Name::of(view.syntax())));
            }
            _ => {}
        }
    }

    fn lock(&mut self, table: Name, known: &Known) {
        if !known.is_new(&table) && !self.locked.contains(&table) {
            self.locked.push(table);
        }
    }
}

/// Whether an ALTER TABLE stops anybody: to validate a constraint does not.
pub(crate) fn locks(alter: &ast::AlterTable) -> bool {
    !alter.actions().all(|action| matches!(action, ast::AlterTableAction::ValidateConstraint(_)))
}
