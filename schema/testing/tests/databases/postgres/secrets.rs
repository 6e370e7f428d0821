//! Passwords and TLS.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use handover_schema::{PasswordSource, SchemaPhase, Target, status};
use handover_schema_testing::{Postgres, Release, Setup};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use crate::fixture::{apply, limits, said};

const SECRET: &str = "s3cret-p4ssw0rd";

fn password_file(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("password");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

#[tokio::test]
async fn a_password_comes_from_its_file_only_and_is_in_nothing_that_is_printed() {
    let access = "local all postgres trust\nlocal all all scram-sha-256\n";
    let setup = Setup { access: Some(access.to_owned()), ..Setup::default() };
    let Some(postgres) = Postgres::start_with("passwords", &setup) else { return };
    postgres
        .run(&format!("CREATE ROLE app LOGIN PASSWORD '{SECRET}'; GRANT ALL ON SCHEMA public TO app"))
        .await;
    let folder = tempfile::tempdir().unwrap();
    let path = password_file(folder.path(), SECRET);
    let release =
        Release::new(&[("expand/1_a.sql", "CREATE TABLE a (n int);"), ("expand/2_b.sql", "SELECT nothing;")]);
    let address = postgres.address("app");
    let target = Target {
        address: address.parse().unwrap(),
        password: PasswordSource::File(path.clone()),
        credentials: None,
        schema: None,
    };
    let mut printed = format!("{target:?}");
    let (done, told) = apply(&target, &release, SchemaPhase::Expand, &limits()).await;
    let error = done.unwrap_err();
    assert!(error.chain().contains("42703"), "{}", error.chain());
    printed.push_str(&format!("{error:?} {} {:?}", error.chain(), told.all()));
    printed.push_str(&format!("{:?}", status(&target, "shop", &limits()).await.unwrap()));

    // The whole process, with a logger that prints whatever anybody logs; and a password in the environment, which is not taken.
    let run = |options: &[String]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_migrate-once"));
        command
            .arg(&address)
            .arg(release.path())
            .arg("expand")
            .args(options)
            .env("PGPASSWORD", SECRET)
            .env("RUST_LOG", "trace");
        let done = command.output().unwrap();
        format!("{} {}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))
    };
    let with = run(&[format!("password-file={}", path.display())]);
    assert!(with.contains("42703") && with.contains("everything is logged"), "{with}");
    let without = run(&[]);
    assert!(without.contains("password authentication failed for user \"app\" (28P01)"), "{without}");
    printed.push_str(&with);
    printed.push_str(&without);

    password_file(folder.path(), "wr0ng-p4ss");
    let error = apply(&target, &release, SchemaPhase::Expand, &limits()).await.0.unwrap_err();
    assert!(error.chain().starts_with("cannot reach postgres as app at "), "{}", error.chain());
    printed.push_str(&format!("{error:?} {}", error.chain()));
    for secret in [SECRET, "wr0ng-p4ss"] {
        assert!(!printed.contains(secret), "{printed}");
    }
    assert!(!postgres.log().contains("wr0ng-p4ss"));
}

/// An authority, and a certificate of its for `name`.
pub(crate) fn certificate(name: &str) -> (String, String, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    (authority.pem(), certificate.pem(), key.serialize_pem())
}

#[tokio::test]
async fn over_tcp_the_server_has_to_be_the_one_that_was_asked_for() {
    let folder = TempDir::new().unwrap();
    let authority_file = |name: &str, pem: &str| {
        let path = folder.path().join(name);
        fs::write(&path, pem).unwrap();
        path
    };
    let release = Release::new(&[("expand/1_a.sql", "CREATE TABLE IF NOT EXISTS a (n int);")]);
    let (other, _, _) = certificate("127.0.0.1");
    let other = authority_file("other", &other);
    for (name, full) in [("127.0.0.1", true), ("elsewhere.example", false)] {
        let (authority, certificate, key) = certificate(name);
        let authority = authority_file(name, &authority);
        let setup = Setup {
            settings: vec!["ssl = on".to_owned()],
            access: Some("local all all trust\nhostssl all all 127.0.0.1/32 trust\n".to_owned()),
            tcp: true,
            files: vec![("server.crt".to_owned(), certificate), ("server.key".to_owned(), key)],
        };
        let Some(postgres) = Postgres::start_with("TLS", &setup) else { return };
        let apply = async |options: String| {
            let address = format!("postgres://postgres@127.0.0.1:{}/postgres?{options}", postgres.port());
            let target = Target {
                address: address.parse().unwrap(),
                password: PasswordSource::None,
                credentials: None,
                schema: None,
            };
            apply(&target, &release, SchemaPhase::Expand, &limits()).await.0
        };
        let by_default = apply(format!("sslrootcert={}", authority.display())).await;
        if full {
            by_default.unwrap();
            let encrypted = "SELECT count(*) FROM pg_stat_ssl WHERE ssl AND pid <> pg_backend_pid()";
            assert_eq!(postgres.number(encrypted).await, 0, "sessions end");
        } else {
            let error = said(by_default);
            assert!(
                error.starts_with("cannot reach") && error.contains("certificate not valid for name"),
                "{error}"
            );
        }
        let wrong = said(apply(format!("sslrootcert={}", other.display())).await);
        assert!(
            wrong.starts_with("cannot reach") && wrong.contains("TLS: invalid peer certificate"),
            "{wrong}"
        );
        let unencrypted = said(apply("sslmode=disable".to_owned()).await);
        assert!(unencrypted.contains("no encryption (28000)"), "{unencrypted}");
    }
}
