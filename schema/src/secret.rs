//! The password of a database: read from a file of the host, shown nowhere.

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::file::read_ordinary;

/// More than any password has.
const MOST: u64 = 4096;

/// A password. It is neither printed nor compared; only the driver gets it.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Writes it where only somebody who needs it may read it, without a line's end.
    pub fn write_to(&self, to: &mut impl io::Write) -> io::Result<()> {
        to.write_all(self.0.as_bytes())
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(..)")
    }
}

/// Where a database's password comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PasswordSource {
    /// There is none: the database knows its user by the socket, or by a certificate.
    None,
    /// A file that only its owner may read.
    File(PathBuf),
    /// A credential that systemd gave to this service (`LoadCredential=`), by its name.
    Credential(String),
}

/// Why a password cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot read the database's password from {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others may read it.
    #[error("{} is readable by others (mode {mode:04o}): chmod 0600, then again", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It belongs to somebody else.
    #[error("{} belongs to user {owner}, who is neither root nor this process's: whoever owns it may change it", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// It is empty, or no text of one line.
    #[error("{} holds no password: one line of text is expected", path.display())]
    NoText {
        /// The file.
        path: PathBuf,
    },
    /// systemd gave none of that name.
    #[error(
        "there is no credential {name:?}: $CREDENTIALS_DIRECTORY is not set, or the name is none (LoadCredential={name}:/path in the unit gives it)"
    )]
    NoCredential {
        /// Its name.
        name: String,
    },
}

impl PasswordSource {
    /// Reads the password. `credentials` is `$CREDENTIALS_DIRECTORY`.
    pub fn read(&self, credentials: Option<&Path>) -> Result<Option<Secret>, SecretError> {
        match self {
            Self::None => Ok(None),
            Self::File(path) => secret_of(path).map(Some),
            Self::Credential(name) => {
                let plain = !name.is_empty() && !name.contains('/') && name != "." && name != "..";
                let Some(folder) = credentials.filter(|_| plain) else {
                    return Err(SecretError::NoCredential { name: name.clone() });
                };
                secret_of(&folder.join(name)).map(Some)
            }
        }
    }
}

fn secret_of(path: &Path) -> Result<Secret, SecretError> {
    let (metadata, content) =
        read_ordinary(path, MOST).map_err(|source| SecretError::Read { path: path.to_owned(), source })?;
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(SecretError::Open { path: path.to_owned(), mode });
    }
    let owner = metadata.uid();
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return Err(SecretError::Foreign { path: path.to_owned(), owner });
    }
    let no_text = || SecretError::NoText { path: path.to_owned() };
    let text = String::from_utf8(content).map_err(|_| no_text())?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    if line.is_empty() || line.chars().any(char::is_control) {
        return Err(no_text());
    }
    Ok(Secret(line.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn file(folder: &Path, name: &str, content: &[u8], mode: u32) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn a_password_comes_from_a_file_that_only_its_owner_reads() {
        let folder = tempfile::tempdir().unwrap();
        let good = file(folder.path(), "good", b"pass word\n", 0o600);
        assert_eq!(PasswordSource::File(good.clone()).read(None).unwrap().unwrap().expose(), "pass word");
        let open = file(folder.path(), "open", b"x", 0o640);
        assert!(matches!(PasswordSource::File(open).read(None), Err(SecretError::Open { mode: 0o640, .. })));
        for (name, content) in [("empty", &b"\n"[..]), ("lines", b"a\nb\n"), ("bytes", b"\xff")] {
            let path = file(folder.path(), name, content, 0o600);
            assert!(
                matches!(PasswordSource::File(path).read(None), Err(SecretError::NoText { .. })),
                "{name}"
            );
        }
        let large = file(folder.path(), "large", &[b'a'; 5000], 0o600);
        assert!(matches!(PasswordSource::File(large).read(None), Err(SecretError::Read { .. })));
        let link = folder.path().join("link");
        symlink(good, &link).unwrap();
        assert!(matches!(PasswordSource::File(link).read(None), Err(SecretError::Read { .. })));
    }

    #[test]
    fn a_credential_is_found_by_name_and_never_outside_of_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        file(folder.path(), "db", b"s3cret", 0o400);
        let named =
            |name: &str, folder: Option<&Path>| PasswordSource::Credential(name.to_owned()).read(folder);
        assert_eq!(named("db", Some(folder.path())).unwrap().unwrap().expose(), "s3cret");
        for name in ["", "..", "../db", "/etc/shadow"] {
            assert!(
                matches!(named(name, Some(folder.path())), Err(SecretError::NoCredential { .. })),
                "{name}"
            );
        }
        assert!(matches!(named("db", None), Err(SecretError::NoCredential { .. })));
    }

    #[test]
    fn a_secret_is_not_printed() {
        assert_eq!(format!("{:?}", Secret("s3cret".to_owned())), "Secret(..)");
    }
}
