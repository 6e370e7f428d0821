//! Which database, and how to reach it: a URL without a password.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use url::Url;

pub use handover_script::Kind;

/// What is checked of a server that is reached over TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Nothing is encrypted. Has to be asked for.
    Disable,
    /// The server's certificate is from a known authority, and for the name that was asked for.
    VerifyFull,
}

/// How a server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// A Unix socket: for PostgreSQL its folder, for MySQL the socket itself. The port is part of its name for PostgreSQL.
    Socket {
        path: PathBuf,
        port: u16,
    },
    Tcp {
        host: String,
        port: u16,
        tls: Tls,
        authorities: Option<PathBuf>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Server { user: String, database: String, way: Way },
    File(PathBuf),
}

/// Which database, and how to reach it. Holds no password; printing it is safe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub(crate) kind: Kind,
    pub(crate) place: Place,
    url: String,
}

impl Address {
    /// What kind of database it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The URL that it was read from.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::File(path) => write!(out, "{}", path.display()),
            Place::Server { user, database, way: Way::Socket { path, .. } } => {
                write!(out, "{database} as {user} at {}", path.display())
            }
            Place::Server { user, database, way: Way::Tcp { host, port, .. } } => {
                write!(out, "{database} as {user} at {host}:{port}")
            }
        }
    }
}

/// Why a text is no address of a database. Never quotes the text: it may hold what should not have been written there.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AddressError {
    /// It is no URL.
    #[error(
        "the database's address is no URL: write postgres://USER@HOST/DATABASE, mysql://USER@HOST/DATABASE or sqlite:///PATH"
    )]
    NoUrl,
    /// It is of a kind that is not known.
    #[error("a database of kind {0:?} is not known: postgres, mysql and sqlite are")]
    Kind(String),
    /// There is a password in it.
    #[error(
        "the database's address holds a password: take it out, and name a file or a credential that holds it"
    )]
    Password,
    /// Something is missing.
    #[error("the database's address names no {0}")]
    Missing(&'static str),
    /// An option is not known, or its value is none.
    #[error(
        "the option {0:?} of the database's address is not known there, or its value is none; options are host, socket, sslmode (verify-full, disable) and sslrootcert"
    )]
    Option(String),
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let url = Url::parse(text).map_err(|_| AddressError::NoUrl)?;
        let options: Vec<(String, String)> =
            url.query_pairs().map(|(key, value)| (key.into_owned(), value.into_owned())).collect();
        if url.password().is_some() || options.iter().any(|(key, _)| key == "password") {
            return Err(AddressError::Password);
        }
        let kind = match url.scheme() {
            "postgres" | "postgresql" => Kind::Postgres,
            "mysql" | "mariadb" => Kind::MySql,
            "sqlite" => Kind::Sqlite,
            other => return Err(AddressError::Kind(other.chars().take(40).collect())),
        };
        let path = decoded(url.path())?;
        let place = if kind == Kind::Sqlite {
            if let Some((key, _)) = options.first() {
                return Err(AddressError::Option(key.clone()));
            }
            if url.has_host() && url.host_str() != Some("") || path.len() < 2 {
                return Err(AddressError::Missing("absolute path: sqlite:///PATH"));
            }
            Place::File(PathBuf::from(path))
        } else {
            let database = path.trim_start_matches('/').to_owned();
            let user = decoded(url.username())?;
            if user.is_empty() {
                return Err(AddressError::Missing("user"));
            }
            if database.is_empty() {
                return Err(AddressError::Missing("database"));
            }
            Place::Server { user, database, way: way(kind, &url, options)? }
        };
        Ok(Self { kind, place, url: text.to_owned() })
    }
}

fn way(kind: Kind, url: &Url, options: Vec<(String, String)>) -> Result<Way, AddressError> {
    let port = url.port().unwrap_or(if kind == Kind::Postgres { 5432 } else { 3306 });
    let (mut socket, mut tls, mut authorities) = (None, Tls::VerifyFull, None);
    for (key, value) in options {
        match (kind, key.as_str()) {
            (Kind::Postgres, "host") | (Kind::MySql, "socket") if value.starts_with('/') => {
                socket = Some(value.into());
            }
            (_, "sslmode") => {
                tls = match value.as_str() {
                    "disable" => Tls::Disable,
                    "verify-full" => Tls::VerifyFull,
                    // The others let whoever stands in between read all of it.
                    _ => return Err(AddressError::Option(key)),
                };
            }
            (_, "sslrootcert") if value.starts_with('/') => authorities = Some(value.into()),
            _ => return Err(AddressError::Option(key.chars().take(40).collect())),
        }
    }
    if let Some(path) = socket {
        return Ok(Way::Socket { path, port });
    }
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(AddressError::Missing("host"))?;
    // The brackets are the URL's, not the address's.
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok(Way::Tcp { host: host.to_owned(), port, tls, authorities })
}

fn decoded(text: &str) -> Result<String, AddressError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits =
            [rest.next(), rest.next()].map(|digit| digit.and_then(|digit| char::from(digit).to_digit(16)));
        let [Some(high), Some(low)] = digits else { return Err(AddressError::NoUrl) };
        bytes.push(u8::try_from(high * 16 + low).map_err(|_| AddressError::NoUrl)?);
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0')).ok_or(AddressError::NoUrl)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<String, AddressError> {
        text.parse::<Address>().map(|address| address.to_string())
    }

    #[test]
    fn addresses_are_read() {
        assert_eq!(
            shown("postgres://shop@db.example:6432/orders"),
            Ok("orders as shop at db.example:6432".to_owned())
        );
        assert_eq!(shown("postgres://a%20b@x/o?host=/run/pg"), Ok("o as a b at /run/pg".to_owned()));
        assert_eq!(shown("mysql://shop@h/o?socket=/run/m.sock"), Ok("o as shop at /run/m.sock".to_owned()));
        assert_eq!(shown("sqlite:///var/lib/a%20b.db"), Ok("/var/lib/a b.db".to_owned()));
    }

    #[test]
    fn a_server_over_tcp_is_verified_unless_the_address_says_otherwise() {
        let tls = |text: &str| match text.parse::<Address>().map(|address| address.place) {
            Ok(Place::Server { way: Way::Tcp { tls, .. }, .. }) => Some(tls),
            _ => None,
        };
        assert_eq!(tls("postgres://u@127.0.0.1/d"), Some(Tls::VerifyFull));
        assert_eq!(tls("mysql://u@h/d?sslmode=disable"), Some(Tls::Disable));
        assert_eq!(tls("postgres://u@h/d?sslmode=prefer"), None);
        assert_eq!(tls("postgres://u@h/d?sslmode=require"), None);
        assert_eq!(tls("postgres://u@h/d?sslmode=verify-ca"), None);
    }

    #[test]
    fn an_address_with_a_password_is_refused_and_not_repeated() {
        for text in ["postgres://u:s3cret@h/d", "mysql://u@h/d?password=s3cret"] {
            assert_eq!(shown(text), Err(AddressError::Password), "{text}");
        }
        for text in [
            "s3cret",
            "x://u:@h:s3cret/d",
            "postgres://h/d",
            "postgres://u@h",
            "sqlite://s3cret",
            "postgres://u@h/d?foo=s3cret",
        ] {
            let error = shown(text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{text}: {error}");
        }
    }
}
