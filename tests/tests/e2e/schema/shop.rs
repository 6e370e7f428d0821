//! A fleet with a database: a PostgreSQL of its own, which the first host may migrate.

use handover_schema_testing::Postgres;
use handover_tests::{
    fleet::{Fleet, Sample, UP},
    process::{Running, wait_until},
};
use serde_json::Value;
use sqlx::{Connection as _, Executor as _, PgConnection};
use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

/// A fleet whose first host knows the database `shop`.
pub(super) struct Shop {
    pub(super) fleet: Fleet,
    pub(super) database: Postgres,
    runtime: tokio::runtime::Runtime,
}

/// Migrations of a release: phase, file's name, text.
pub(super) type Files<'a> = &'a [(&'a str, &'a str, &'a str)];

impl Shop {
    /// `None` where PostgreSQL is missing.
    pub(super) fn with_hosts(hosts: usize, what: &str) -> Option<Self> {
        let database = Postgres::start(what)?;
        let shop = Self {
            fleet: Fleet::of(hosts),
            database,
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
        };
        shop.describe(0);
        Some(shop)
    }

    /// Lets a host migrate the database.
    pub(super) fn describe(&self, host: usize) {
        self.describe_with(host, "");
    }

    /// As [`describe`](Self::describe), with more lines.
    pub(super) fn describe_with(&self, host: usize, lines: &str) {
        let folder = self.fleet.agents[host].databases();
        fs::create_dir_all(&folder).unwrap();
        let text = format!("url = {:?}\n{lines}", self.database.address("postgres"));
        fs::write(folder.join("shop.toml"), text).unwrap();
    }

    /// Pushes a release that reads these versions of the schema, with these migrations.
    pub(super) fn push(&self, sample: Sample, reads: &str, files: Files<'_>) {
        self.push_with(sample, reads, files, "");
    }

    /// As [`push`](Self::push), with more lines in `[schema]`.
    pub(super) fn push_with(&self, sample: Sample, reads: &str, files: Files<'_>, lines: &str) {
        let version = sample.version.clone();
        let folder = self.fleet.path(format!("release-{version}"));
        let more = format!("{}\n{}", sample.more, schema(reads, files, lines));
        sample.more(&more).write(&folder);
        write(&folder, files);
        let push = ["release", "push", folder.to_str().unwrap(), "--version", &version];
        self.fleet.cli().run(push).expect(0);
    }

    /// A release of the shop itself, with code of this shape.
    pub(super) fn shop(&self, version: &str, columns: &str) -> Sample {
        let sockets = self.database.sockets();
        Sample::new(version)
            .program("shop")
            .flag(&format!("--columns {columns} --database {}", sockets.display()))
    }

    /// A command that goes on beside the test.
    pub(super) fn begin(&self, name: &str, words: &[&str]) -> Running {
        Running::start_command(self.fleet.folder.path(), name, self.fleet.cli().command(words))
    }

    /// The deployment that goes on; null where none does.
    pub(super) fn course(&self) -> Value {
        self.fleet.cli().run(["status", "web", "--json"]).expect(0).last()["course"].clone()
    }

    /// Waits until the deployment that goes on shows something.
    #[track_caller]
    pub(super) fn until(&self, what: &str, holds: impl Fn(&Value) -> bool) {
        wait_until(UP, what, || holds(&self.course()));
    }

    /// A session that has run this, and stays: what it locks is locked until it is let go.
    pub(super) fn session(&self, sql: &str) -> PgConnection {
        self.runtime.block_on(async {
            let mut session = self.database.connect().await;
            session.execute(sql).await.unwrap();
            session
        })
    }

    /// Ends a session in an orderly way.
    pub(super) fn let_go(&self, session: PgConnection) {
        self.runtime.block_on(session.close()).unwrap();
    }

    /// Rows with a number and a text.
    pub(super) fn rows(&self, sql: &str) -> Vec<(i64, Option<String>)> {
        self.runtime.block_on(async {
            let mut session = self.database.connect().await;
            let rows = sqlx::query_as(sql).fetch_all(&mut session).await;
            rows.unwrap_or_else(|error| panic!("{sql}: {error}"))
        })
    }

    pub(super) fn number(&self, sql: &str) -> i64 {
        self.runtime.block_on(self.database.number(sql))
    }

    /// What was applied, in order: `42 expand email`.
    pub(super) fn applied(&self) -> Vec<String> {
        let sql = "SELECT coalesce(string_agg(version || ' ' || phase || ' ' || name, ',' ORDER BY version), '') FROM handover_migrations WHERE state = 'applied'";
        let text = self.runtime.block_on(self.database.text(sql));
        text.split(',').filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    /// The schema as the server says it is.
    pub(super) fn status(&self) -> Value {
        self.fleet.cli().run(["migrate", "status", "web", "--json"]).last()
    }
}

fn schema(reads: &str, files: Files<'_>, lines: &str) -> String {
    let mut phases: Vec<&str> = files.iter().map(|(phase, ..)| *phase).collect();
    phases.dedup();
    let folders: String = phases.iter().map(|phase| format!("{phase} = \"migrations/{phase}\"\n")).collect();
    format!("[schema]\ndatabase = \"shop\"\nreads = \"{reads}\"\n{folders}{lines}\n")
}

fn write(folder: &Path, files: Files<'_>) {
    for (phase, name, text) in files {
        let folder = folder.join("migrations").join(phase);
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        if name.ends_with(".run") {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
}
