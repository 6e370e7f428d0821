//! Where the Prometheus server is that the server asks.

use crate::language::quoted;
use std::{fmt, str::FromStr};

/// Longest address, in bytes.
const LONGEST: usize = 1024;

/// The address of a Prometheus server: `http://prometheus:9090`, perhaps with the path that it lies beneath.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrometheusUrl {
    text: String,
    tls: bool,
    host: String,
    port: u16,
    path: String,
}

impl PrometheusUrl {
    /// Whether it is asked over TLS.
    #[must_use]
    pub const fn tls(&self) -> bool {
        self.tls
    }

    /// Its name or address, IPv6 without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Name and port as the `Host` header has them.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("{host}:{}", self.port)
    }

    /// The path that its API lies beneath, without a slash at the end; empty where it lies at the top.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl FromStr for PrometheusUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let none = || {
            format!(
                "{} is no address of a Prometheus server: expected one like \"http://prometheus:9090\" or \"https://example.org/prometheus\"",
                quoted(text)
            )
        };
        let (tls, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err(none()),
        };
        if text.len() > LONGEST
            || !rest.bytes().all(|byte| byte.is_ascii_graphic())
            || rest.contains(['?', '#'])
        {
            return Err(none());
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(format!(
                "{} has a password in it, which everybody could read: a token stands in the file of prometheus_token_file",
                quoted(&format!("{}...", &text[..text.len() - rest.len()]))
            ));
        }
        let (host, port) = split(authority).ok_or_else(none)?;
        let port = match port {
            Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or_else(none)?,
            None if tls => 443,
            None => 80,
        };
        let path = path.trim_end_matches('/').to_owned();
        Ok(Self { text: text.to_owned(), tls, host: host.to_owned(), port, path })
    }
}

/// Host and port; a host in brackets is an IPv6 address.
fn split(authority: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        return match port {
            "" => Some((host, None)),
            port => Some((host, Some(port.strip_prefix(':')?))),
        };
    }
    let (host, port) = authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (!host.is_empty() && host.bytes().all(good)).then_some((host, port))
}

impl fmt::Display for PrometheusUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart() {
        let parts = |text: &str| {
            let url: PrometheusUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), text);
            (url.tls(), url.authority(), url.host().to_owned(), url.path().to_owned())
        };
        let of = |tls, authority: &str, host: &str, path: &str| {
            (tls, authority.to_owned(), host.to_owned(), path.to_owned())
        };
        assert_eq!(parts("http://prom:9090"), of(false, "prom:9090", "prom", ""));
        assert_eq!(parts("http://10.0.0.1/"), of(false, "10.0.0.1:80", "10.0.0.1", ""));
        assert_eq!(parts("https://example.org/a/b/"), of(true, "example.org:443", "example.org", "/a/b"));
        assert_eq!(parts("http://[::1]:9090/p"), of(false, "[::1]:9090", "::1", "/p"));
    }

    #[test]
    fn what_is_no_address_is_refused_and_a_password_is_not_told() {
        let bad = [
            "",
            "prom:9090",
            "ftp://prom",
            "http://",
            "http://:9090",
            "http://prom:0",
            "http://prom:70000",
            "http://a b",
            "http://prom?query=up",
            "http://prom/#x",
            "http://[::1",
            "http://[prom]:1",
            "http://::1",
        ];
        for bad in bad {
            assert!(bad.parse::<PrometheusUrl>().is_err(), "{bad} was taken");
        }
        let said = "https://me:secret@prom".parse::<PrometheusUrl>().unwrap_err();
        assert!(said.contains("prometheus_token_file") && !said.contains("secret"), "{said}");
    }
}
