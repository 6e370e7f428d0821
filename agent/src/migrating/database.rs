//! How a database is reached: `NAME.toml` in the folder of databases, read anew for each attempt, so that an operator can
//! mend it without starting the agent again.

use handover_daemon::FileError;
use handover_model::{
    config::Mistakes,
    language::Reading,
    settings::{self, database as keys},
};
use handover_schema::{Address, PasswordSource, Target};
use std::{
    io,
    path::{Path, PathBuf},
};

/// Why a database cannot be reached from this host.
#[derive(Debug, thiserror::Error)]
pub(super) enum DatabaseError {
    /// It is not described here.
    #[error(
        "this host does not know database {name}: describe it in {} (docs/schema.md), or let another host migrate it with `hosts` in [schema]",
        path.display()
    )]
    Unknown {
        /// Which.
        name: String,
        /// Where it should be described.
        path: PathBuf,
    },
    /// Its file cannot be read.
    #[error("the description of a database cannot be read")]
    Read(#[source] FileError),
    /// Its file is not what it should be. Where and why is told, and never the line itself: this goes to the log and to the
    /// server, and a password that was written into the file by mistake would go with it.
    #[error("{} has mistakes: {mistakes}", path.display())]
    Wrong {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        mistakes: Mistakes,
    },
}

/// The database of that name, as the folder describes it.
pub(super) fn described(folder: &Path, name: &str) -> Result<Target, DatabaseError> {
    let path = folder.join(format!("{name}.toml"));
    let most = settings::DATABASE.most;
    let bytes = handover_daemon::read_bounded(&path, most).map_err(|error| match error {
        FileError::System { path, source } if source.kind() == io::ErrorKind::NotFound => {
            DatabaseError::Unknown { name: name.to_owned(), path }
        }
        error => DatabaseError::Read(error),
    })?;
    parse(&bytes).map_err(|mistakes| DatabaseError::Wrong { path, mistakes })
}

fn parse(bytes: &[u8]) -> Result<Target, Mistakes> {
    Reading::of(bytes, &settings::DATABASE, |file| {
        let url = file.required(&keys::URL, str::parse::<Address>);
        let password_file = file.text(&keys::PASSWORD_FILE, absolute);
        let credential = file.text(&keys::CREDENTIAL, credential);
        let tables = file.text(&keys::TABLES, identifier);
        let password = match (password_file, credential) {
            (Some(path), _) => PasswordSource::File(path.value),
            (None, Some(name)) => PasswordSource::Credential(name.value),
            (None, None) => PasswordSource::None,
        };
        Some(Target {
            address: url?.value,
            password,
            credentials: std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from),
            schema: tables.map(|tables| tables.value),
        })
    })
}

/// As [`settings::absolute`], without the text: somebody may have written the password there.
fn absolute(text: &str) -> Result<PathBuf, &'static str> {
    settings::absolute(text).map_err(|_| "is no absolute path of a file that holds the password")
}

fn credential(text: &str) -> Result<String, &'static str> {
    match (1..=255).contains(&text.len()) && !text.contains(['/', '\0']) {
        true => Ok(text.to_owned()),
        false => Err("is no credential's name: expected 1 to 255 characters without \"/\""),
    }
}

fn identifier(text: &str) -> Result<String, &'static str> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let first = text.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
    match (1..=63).contains(&text.len()) && first && text.bytes().all(good) {
        true => Ok(text.to_owned()),
        false => Err("is no name: expected 1 to 63 letters, digits and \"_\", not beginning with a digit"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_described_by_a_file_of_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let unknown = described(folder.path(), "shop").unwrap_err().to_string();
        assert!(unknown.starts_with("this host does not know database shop: describe it in "), "{unknown}");
        let write = |text: &str| std::fs::write(folder.path().join("shop.toml"), text).unwrap();
        write("url = \"postgres://shop@localhost/shop?host=/run/postgresql\"\ntables = \"shop\"\n");
        let target = described(folder.path(), "shop").unwrap();
        assert_eq!(target.address.to_string(), "shop as shop at /run/postgresql");
        assert_eq!((target.password, target.schema.as_deref()), (PasswordSource::None, Some("shop")));
        write("url = \"sqlite:///srv/shop.db\"\npassword_file = \"/etc/shop\"\n");
        assert_eq!(
            described(folder.path(), "shop").unwrap().password,
            PasswordSource::File("/etc/shop".into())
        );
    }

    #[test]
    fn mistakes_are_told_with_their_place_and_without_a_password() {
        let mistakes = |text: &str| parse(text.as_bytes()).unwrap_err().to_string();
        let folder = tempfile::tempdir().unwrap();
        for (text, place) in [
            ("url = \"postgres://shop:hunter2@db/shop\"\n", "line 1"),
            ("url = \"sqlite:///a\"\npassword = \"hunter2\"\n", "line 2"),
            ("url = \"sqlite:///a\"\npassword_file = \"hunter2\"\n", "line 2"),
            ("url = \"sqlite:///a\"\ncredential = \"hunter2/\"\n", "line 2"),
            ("url = \"sqlite:///a\"\ntables = \"hunter-2\"\n", "line 2"),
            ("url = \"sqlite:///a\"\npassword_file = hunter2\n", "line 2"),
            ("url = postgres://shop:hunter2@db/shop\n", "line 1"),
        ] {
            std::fs::write(folder.path().join("shop.toml"), text).unwrap();
            let told = handover_model::chain(&described(folder.path(), "shop").unwrap_err());
            assert!(told.contains(place) && !told.contains("hunter"), "{told}");
        }
        let secret = mistakes("url = \"postgres://shop:hunter2@db/shop\"\n");
        assert!(secret.contains("holds a password") && secret.starts_with("line 1"), "{secret}");
        assert!(mistakes("").contains("url: is missing"));
        let wrong = mistakes("url = \"sqlite:///a\"\ntables = \"1a\"\ncredential = \"a/b\"\n");
        assert!(wrong.contains("tables:") && wrong.contains("credential:"), "{wrong}");
    }
}
