//! What a file takes away by its name, whatever uses it: columns, tables, schemas.
//!
//! It is never less than what PostgreSQL takes away, as far as that stands in the statements. Where a name may mean something
//! else than it says, it is everything.

use crate::{
    migration::ColumnOf,
    name::{Name, is_qualified, one_word},
    tree,
};
use handover_model::ColumnPattern;
use squawk_syntax::{
    SyntaxKind, SyntaxNode,
    ast::{self, AlterTableAction as Action, AstNode, Persistence, Stmt},
};
use std::collections::BTreeSet;

/// What the statements of a file have taken away, and what they have made.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    taken: Vec<Taken>,
    /// Dropped views whose name a table has now, as it was before the file: the end of a rename by way of a view.
    back: BTreeSet<Name>,
    /// Relations and columns that this very file made: nobody uses them yet.
    made: BTreeSet<Name>,
    columns: BTreeSet<ColumnOf>,
    /// Whether a name without a schema may be of another than `public`.
    strays: bool,
    /// The statements, counted from 0, that take something away by such a name.
    strayed: BTreeSet<usize>,
    statement: usize,
}

#[derive(Debug)]
struct Taken {
    what: ColumnPattern,
    /// Of which relation; `None` where it is more than one.
    relation: Option<Name>,
    is_view: bool,
}

/// A relation as a statement names it.
struct Relation {
    name: Name,
    /// Whether its schema stands there.
    qualified: bool,
}

impl Relation {
    fn of(node: &SyntaxNode) -> Self {
        Self { name: Name::of(node), qualified: is_qualified(node) }
    }
}

impl Ledger {
    /// What all statements of a file do, in their order; `None` is one that cannot be read.
    pub(crate) fn of<'s>(stmts: impl Iterator<Item = Option<&'s Stmt>>) -> Self {
        let mut ledger = Self::default();
        for (statement, stmt) in stmts.enumerate() {
            ledger.statement = statement;
            if let Some(stmt) = stmt {
                ledger.learn(stmt);
            }
        }
        ledger
    }

    /// Whether a statement, counted from 0, takes away what cannot be told.
    pub(crate) fn strayed(&self, statement: usize) -> bool {
        self.strayed.contains(&statement)
    }

    /// What is not there after the file that was there before it.
    pub(crate) fn gone(&self) -> impl Iterator<Item = ColumnPattern> {
        let is_back = |taken: &&Taken| {
            taken.is_view && taken.relation.as_ref().is_some_and(|view| self.back.contains(view))
        };
        self.taken.iter().filter(move |taken| !is_back(taken)).map(|taken| taken.what.clone())
    }

    /// Whether a view that is dropped is there again, as the table that it showed.
    pub(crate) fn is_back(&self, view: &Name) -> bool {
        self.back.contains(view)
    }

    fn learn(&mut self, stmt: &Stmt) {
        let node = stmt.syntax();
        if !self.strays && changes_path(stmt) {
            self.strays = true;
            self.made.clear();
            self.columns.clear();
        }
        match stmt {
            Stmt::CreateTable(it) if it.if_not_exists().is_none() => {
                self.make(it.persistence().as_ref(), it.table_name());
            }
            Stmt::CreateTableAs(it) if it.if_not_exists().is_none() => {
                self.make(it.persistence().as_ref(), it.table_name());
            }
            Stmt::CreateForeignTable(it) if it.if_not_exists().is_none() => self.make(None, it.table_name()),
            Stmt::CreateMaterializedView(it) if it.if_not_exists().is_none() => self.make(None, it.view()),
            Stmt::CreateView(it) if it.or_replace().is_none() => {
                self.make(it.persistence().as_ref(), it.view());
            }
            Stmt::DropTable(_) | Stmt::DropForeignTable(_) | Stmt::DropSequence(_) => {
                dropped(node).iter().for_each(|dropped| self.take_all(&Relation::of(dropped), false));
            }
            Stmt::DropView(_) | Stmt::DropMaterializedView(_) => {
                dropped(node).iter().for_each(|dropped| self.take_all(&Relation::of(dropped), true));
            }
            Stmt::DropSchema(_) => {
                for dropped in dropped(node) {
                    self.take(ColumnPattern::of_schema(&one_word(&dropped)));
                }
            }
            Stmt::DropOwned(_) | Stmt::DropDatabase(_) => self.take(ColumnPattern::ALL),
            Stmt::AlterSchema(it) => {
                let renames = matches!(it.action(), Some(ast::AlterSchemaAction::SchemaRenameTo(_)));
                if let Some(schema) = it.schema_ref().filter(|_| renames) {
                    self.take(ColumnPattern::of_schema(&one_word(schema.syntax())));
                }
            }
            Stmt::AlterTable(it) => {
                if let Some(table) = it.table_relation_name().map(|table| Relation::of(table.syntax())) {
                    self.alter(&table, &it.actions().collect::<Vec<_>>());
                    if let Some(new) = moved(&table.name, node) {
                        self.rename_table(&table, &new);
                    }
                }
            }
            Stmt::AlterForeignTable(it) => {
                if let Some(table) = it.table_relation_name().map(|table| Relation::of(table.syntax())) {
                    self.alter(&table, &it.actions().collect::<Vec<_>>());
                    self.take_moved(&table, node);
                }
            }
            Stmt::AlterView(it) => {
                let Some(view) = it.view_ref().map(|view| Relation::of(view.syntax())) else { return };
                match it.action() {
                    Some(ast::AlterViewAction::RenameColumn(rename)) => self.rename_column(&view, &rename),
                    Some(ast::AlterViewAction::ViewRenameTo(_)) => self.take_all(&view, false),
                    _ => self.take_moved(&view, node),
                }
            }
            Stmt::AlterMaterializedView(it) => {
                let Some(view) = it.view_ref().map(|view| Relation::of(view.syntax())) else { return };
                for action in it.action() {
                    match &action {
                        ast::AlterMaterializedViewAction::RenameColumn(rename) => {
                            self.rename_column(&view, rename);
                        }
                        ast::AlterMaterializedViewAction::ViewRenameTo(_) => self.take_all(&view, false),
                        ast::AlterMaterializedViewAction::AlterTableAction(action) => {
                            self.alter(&view, std::slice::from_ref(action));
                        }
                        _ => {}
                    }
                }
                self.take_moved(&view, node);
            }
            _ => {}
        }
    }

    /// PostgreSQL drops before it adds, in whichever order they stand.
    fn alter(&mut self, table: &Relation, actions: &[Action]) {
        for action in actions {
            match action {
                Action::DropColumn(it) => {
                    if let Some(column) = it.column_name_ref() {
                        self.take_column(table, Name::of(column.syntax()).name());
                    }
                }
                Action::RenameColumn(it) => self.rename_column(table, it),
                Action::TableRenameTo(it) => {
                    let new = it.table_name().map(|new| Name::of(new.syntax()));
                    match new.map(|new| Name::new(table.name.schema(), new.name())) {
                        Some(new) => self.rename_table(table, &new),
                        None => self.take_all(table, false),
                    }
                }
                Action::SplitPartition(it) => {
                    if let Some(split) = it.table_name_ref() {
                        self.take_all(&Relation::of(split.syntax()), false);
                    }
                }
                Action::MergePartitions(it) => {
                    let merged = it.table_name_ref_list();
                    let names = merged.iter().flat_map(|list| list.syntax().children());
                    names.for_each(|name| self.take_all(&Relation::of(&name), false));
                }
                _ => {}
            }
        }
        if self.strays {
            return;
        }
        for action in actions {
            if let Action::AddColumn(it) = action
                && it.if_not_exists().is_none()
            {
                self.columns.extend(it.column_name().map(|column| (table.name.clone(), column.text())));
            }
        }
    }

    /// A relation is made. A temporary one is another than that of the same name which everybody uses.
    fn make<N: AstNode>(&mut self, persistence: Option<&Persistence>, name: Option<N>) {
        if !self.strays && !matches!(persistence, Some(Persistence::Temp(_))) {
            self.made.extend(name.map(|name| Name::of(name.syntax())));
        }
    }

    fn rename_column(&mut self, table: &Relation, it: &ast::RenameColumn) {
        if let Some(old) = it.column_name_ref() {
            self.take_column(table, Name::of(old.syntax()).name());
        }
    }

    /// A table has another name. Where a view that is dropped had that, and the table has all that it had before the file, whoever
    /// used the view finds the table.
    fn rename_table(&mut self, table: &Relation, new: &Name) {
        let is_touched = self.made.contains(&table.name)
            || self.taken.iter().any(|taken| taken.relation.as_ref() == Some(&table.name));
        let was_view = self.taken.iter().any(|taken| taken.is_view && taken.relation.as_ref() == Some(new));
        if was_view && !is_touched && !self.strays {
            self.back.insert(new.clone());
        }
        self.take_all(table, false);
    }

    /// A relation that is no table is moved to another schema, where the statement says so.
    fn take_moved(&mut self, relation: &Relation, node: &SyntaxNode) {
        if moved(&relation.name, node).is_some() {
            self.take_all(relation, false);
        }
    }

    fn take_all(&mut self, relation: &Relation, is_view: bool) {
        if !self.made.remove(&relation.name) {
            self.take_of(relation, of_table(&relation.name), is_view);
        }
    }

    fn take_column(&mut self, table: &Relation, column: &str) {
        let is_new =
            self.made.contains(&table.name) || self.columns.remove(&(table.name.clone(), column.to_owned()));
        if !is_new {
            self.take_of(table, of_column(&table.name, column), false);
        }
        // What a view that has become this table showed is not all there any more.
        self.back.remove(&table.name);
    }

    fn take_of(&mut self, relation: &Relation, what: ColumnPattern, is_view: bool) {
        let strayed = self.strays && !relation.qualified;
        if strayed {
            self.strayed.insert(self.statement);
        }
        let what = if strayed { ColumnPattern::ALL } else { what };
        self.taken.push(Taken { what, relation: Some(relation.name.clone()), is_view });
    }

    fn take(&mut self, what: ColumnPattern) {
        self.taken.push(Taken { what, relation: None, is_view: false });
    }
}

/// Whether from a statement on names without a schema may be of another: SET `search_path`, SET SCHEMA, `set_config()`. What a
/// function, a role or a database has set for itself is not set here.
fn changes_path(stmt: &Stmt) -> bool {
    let node = stmt.syntax();
    match stmt {
        Stmt::AlterDatabase(_)
        | Stmt::AlterFunction(_)
        | Stmt::AlterProcedure(_)
        | Stmt::AlterRole(_)
        | Stmt::AlterRoutine(_)
        | Stmt::AlterSystem(_)
        | Stmt::AlterUser(_)
        | Stmt::CreateFunction(_)
        | Stmt::CreateProcedure(_) => false,
        Stmt::Set(_) if node.descendants().any(|node| node.kind() == SyntaxKind::SET_SCHEMA_VALUE) => true,
        _ => node.text().to_string().to_ascii_lowercase().contains("search_path"),
    }
}

/// The name that a relation has in the schema to which a statement moves it.
fn moved(old: &Name, node: &SyntaxNode) -> Option<Name> {
    let set = node.children().find(|child| child.kind() == SyntaxKind::SET_SCHEMA)?;
    let schema = tree::plain(&set.children().last()?);
    Some(Name::new(Some(&tree::unquoted(&schema)), old.name()))
}

/// All columns of a table or a view.
pub(crate) fn of_table(table: &Name) -> ColumnPattern {
    ColumnPattern::of_table(table.schema(), table.name())
}

/// One of them.
pub(crate) fn of_column(table: &Name, column: &str) -> ColumnPattern {
    ColumnPattern::column(table.schema(), table.name(), column)
}

/// The nodes that name what a DROP drops.
pub(crate) fn dropped(node: &SyntaxNode) -> Vec<SyntaxNode> {
    let other = |kind| matches!(kind, SyntaxKind::IF_EXISTS | SyntaxKind::CASCADE | SyntaxKind::RESTRICT);
    node.children().filter(|child| !other(child.kind())).collect()
}
