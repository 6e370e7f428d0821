//! What a file takes away by its name, whatever uses it: columns, tables, schemas.
//!
//! It is never less than what PostgreSQL takes away, as far as that stands in the statement. Where a name may mean something
//! else than it says, it is everything.

use crate::{
    migration::ColumnOf,
    name::{Name, one_word},
    tree,
};
use handover_model::ColumnPattern;
use squawk_syntax::{
    SyntaxKind, SyntaxNode,
    ast::{self, AlterTableAction as Action, AstNode, Stmt},
};
use std::collections::BTreeSet;

/// What the statements of a file so far have taken away, and what they have made.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    taken: Vec<Taken>,
    /// Views that were dropped and whose name another relation has since: the end of a rename by way of a view.
    given: BTreeSet<Name>,
    /// Relations and columns that this very file made: nobody uses them yet.
    made: BTreeSet<Name>,
    columns: BTreeSet<ColumnOf>,
    /// Whether a name without a schema may be of another than `public`.
    strays: bool,
}

#[derive(Debug)]
struct Taken {
    what: ColumnPattern,
    /// The view whose columns they are.
    view: Option<Name>,
}

impl Ledger {
    /// Takes in what a statement does.
    pub(crate) fn learn(&mut self, stmt: &Stmt) {
        let node = stmt.syntax();
        // SET, set_config(), ALTER ROLE ... SET: whichever way it is said.
        self.strays |= node.text().to_string().to_ascii_lowercase().contains("search_path");
        match stmt {
            Stmt::CreateTable(it) if it.if_not_exists().is_none() => self.make(it.table_name()),
            Stmt::CreateTableAs(it) if it.if_not_exists().is_none() => self.make(it.table_name()),
            Stmt::CreateForeignTable(it) if it.if_not_exists().is_none() => self.make(it.table_name()),
            Stmt::CreateMaterializedView(it) if it.if_not_exists().is_none() => self.make(it.view()),
            Stmt::CreateView(it) if it.or_replace().is_none() => self.make(it.view()),
            Stmt::DropTable(_) | Stmt::DropForeignTable(_) | Stmt::DropSequence(_) => {
                for dropped in dropped(node) {
                    self.take_table(&Name::of(&dropped));
                }
            }
            Stmt::DropView(_) | Stmt::DropMaterializedView(_) => {
                for dropped in dropped(node) {
                    let view = Name::of(&dropped);
                    if !self.made.remove(&view) {
                        self.take(of_table(&view), Some(view));
                    }
                }
            }
            Stmt::DropSchema(_) => {
                for dropped in dropped(node) {
                    self.take(ColumnPattern::of_schema(&one_word(&dropped)), None);
                }
            }
            Stmt::DropOwned(_) | Stmt::DropDatabase(_) => self.take(ColumnPattern::ALL, None),
            Stmt::AlterSchema(it) => {
                let renames = matches!(it.action(), Some(ast::AlterSchemaAction::SchemaRenameTo(_)));
                if let Some(schema) = it.schema_ref().filter(|_| renames) {
                    self.take(ColumnPattern::of_schema(&one_word(schema.syntax())), None);
                }
            }
            Stmt::AlterTable(it) => {
                if let Some(table) = it.table_relation_name().map(|table| Name::of(table.syntax())) {
                    it.actions().for_each(|action| self.alter(&table, &action));
                    self.moves(&table, node);
                }
            }
            Stmt::AlterForeignTable(it) => {
                if let Some(table) = it.table_relation_name().map(|table| Name::of(table.syntax())) {
                    it.actions().for_each(|action| self.alter(&table, &action));
                    self.moves(&table, node);
                }
            }
            Stmt::AlterView(it) => {
                let Some(view) = it.view_ref().map(|view| Name::of(view.syntax())) else { return };
                match it.action() {
                    Some(ast::AlterViewAction::RenameColumn(rename)) => self.rename_column(&view, &rename),
                    Some(ast::AlterViewAction::ViewRenameTo(to)) => self.rename(&view, to.view()),
                    _ => self.moves(&view, node),
                }
            }
            Stmt::AlterMaterializedView(it) => {
                let Some(view) = it.view_ref().map(|view| Name::of(view.syntax())) else { return };
                for action in it.action() {
                    match &action {
                        ast::AlterMaterializedViewAction::RenameColumn(rename) => {
                            self.rename_column(&view, rename);
                        }
                        ast::AlterMaterializedViewAction::ViewRenameTo(to) => self.rename(&view, to.view()),
                        ast::AlterMaterializedViewAction::AlterTableAction(action) => {
                            self.alter(&view, action);
                        }
                        _ => {}
                    }
                }
                self.moves(&view, node);
            }
            _ => {}
        }
    }

    /// What is not there after the file that was there before it.
    pub(crate) fn gone(self) -> impl Iterator<Item = ColumnPattern> {
        let Self { taken, given, .. } = self;
        let is_back = move |taken: &Taken| taken.view.as_ref().is_some_and(|view| given.contains(view));
        taken.into_iter().filter(move |taken| !is_back(taken)).map(|taken| taken.what)
    }

    fn alter(&mut self, table: &Name, action: &Action) {
        match action {
            Action::AddColumn(it) if it.if_not_exists().is_none() => {
                self.columns.extend(it.column_name().map(|column| (table.clone(), column.text())));
            }
            Action::DropColumn(it) => {
                if let Some(column) = it.column_name_ref() {
                    self.take_column(table, Name::of(column.syntax()).name());
                }
            }
            Action::RenameColumn(it) => self.rename_column(table, it),
            Action::TableRenameTo(it) => self.rename(table, it.table_name()),
            Action::SplitPartition(it) => {
                if let Some(split) = it.table_name_ref() {
                    self.take_table(&Name::of(split.syntax()));
                }
            }
            Action::MergePartitions(it) => {
                let merged = it.table_name_ref_list();
                let names = merged.iter().flat_map(|list| list.syntax().children());
                names.map(|name| Name::of(&name)).for_each(|name| self.take_table(&name));
            }
            _ => {}
        }
    }

    fn make<N: AstNode>(&mut self, name: Option<N>) {
        self.made.extend(name.map(|name| Name::of(name.syntax())));
    }

    fn rename_column(&mut self, table: &Name, it: &ast::RenameColumn) {
        if let Some(old) = it.column_name_ref() {
            self.take_column(table, Name::of(old.syntax()).name());
        }
    }

    /// A relation has another name, in the schema that it is in.
    fn rename<N: AstNode>(&mut self, old: &Name, new: Option<N>) {
        self.take_table(old);
        self.given.extend(new.map(|new| Name::new(old.schema(), Name::of(new.syntax()).name())));
    }

    /// A relation has its name in another schema, where the statement says so.
    fn moves(&mut self, old: &Name, node: &SyntaxNode) {
        let set = node.children().find(|child| child.kind() == SyntaxKind::SET_SCHEMA);
        let schema = set.and_then(|set| set.children().last()).map(|schema| tree::plain(&schema));
        if let Some(schema) = schema {
            self.take_table(old);
            self.given.insert(Name::new(Some(&tree::unquoted(&schema)), old.name()));
        }
    }

    fn take_table(&mut self, table: &Name) {
        if !self.made.remove(table) {
            self.take(of_table(table), None);
        }
    }

    fn take_column(&mut self, table: &Name, column: &str) {
        let is_new = self.made.contains(table) || self.columns.remove(&(table.clone(), column.to_owned()));
        if !is_new {
            self.take(of_column(table, column), None);
        }
    }

    fn take(&mut self, what: ColumnPattern, view: Option<Name>) {
        let what = if self.strays && what.is_public() { ColumnPattern::ALL } else { what };
        self.taken.push(Taken { what, view });
    }
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
