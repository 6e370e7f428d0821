use super::*;
use std::{fs, os::unix::fs::PermissionsExt};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn now() -> Timestamp {
    crate::wall_clock()
}

fn fleet() -> FleetName {
    "prod".parse().unwrap()
}

fn ca() -> (tempfile::TempDir, Ca) {
    let folder = tempfile::tempdir().unwrap();
    let ca = Ca::open(&folder.path().join("ca"), &fleet(), now()).unwrap();
    (folder, ca)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Writes a certificate made from `params` and the key beside it.
fn given(
    folder: &Path,
    params: &CertificateParams,
    key: &KeyPair,
) -> (std::path::PathBuf, std::path::PathBuf) {
    let (certificate, key_path) = (folder.join("given.pem"), folder.join("given-key.pem"));
    fs::write(&certificate, params.self_signed(key.inner()).unwrap().pem()).unwrap();
    key.save(&key_path).unwrap();
    (certificate, key_path)
}

fn ca_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

#[test]
fn the_ca_is_made_once_and_kept_private() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("state").join("ca");
    let first = Ca::open(&directory, &fleet(), now()).unwrap();
    let again = Ca::open(&directory, &fleet(), now()).unwrap();
    assert_eq!(first.fingerprint(), again.fingerprint());
    assert_eq!(mode(&directory), 0o700);
    assert_eq!(mode(&directory.join("ca-key.pem")), 0o600);
    assert_eq!(mode(&directory.join("ca.pem")), 0o644);
    let parsed = certificate::parse(first.certificate()).unwrap();
    let constraints = parsed.basic_constraints().unwrap().unwrap().value;
    assert!(constraints.ca && constraints.path_len_constraint == Some(0));
    let years = first.expires().since(now()).as_secs() / (365 * 24 * 3600);
    assert_eq!(years, 10);
}

#[test]
fn a_first_start_that_was_interrupted_is_made_good() {
    let folder = tempfile::tempdir().unwrap();
    KeyPair::generate().unwrap().save(&folder.path().join("ca-key.pem")).unwrap();
    assert!(Ca::open(folder.path(), &fleet(), now()).is_ok(), "a key without a certificate was never used");
    fs::remove_file(folder.path().join("ca-key.pem")).unwrap();
    let error = Ca::open(folder.path(), &fleet(), now()).unwrap_err();
    assert!(matches!(error, CaError::KeyMissing { .. }), "{error}");
}

#[test]
fn a_ca_whose_key_others_can_read_or_of_another_fleet_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(Ca::open(folder.path(), &fleet(), now()).unwrap());
    let error = Ca::open(folder.path(), &"test".parse().unwrap(), now()).unwrap_err();
    assert!(matches!(error, CaError::OtherFleet { .. }), "{error}");
    fs::set_permissions(folder.path().join("ca-key.pem"), PermissionsExt::from_mode(0o644)).unwrap();
    let error = Ca::open(folder.path(), &fleet(), now()).unwrap_err();
    assert!(matches!(error, CaError::File(FileError::Readable { mode: 0o644, .. })), "{error}");
}

#[test]
fn a_given_ca_is_taken_only_when_it_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap();
    let load = |params: &CertificateParams| {
        let (certificate, key) = given(folder.path(), params, &key);
        Ca::load(&certificate, &key, &fleet(), now())
    };
    assert!(load(&ca_params()).is_ok());
    assert!(matches!(load(&CertificateParams::default()), Err(CaError::NotACa(_))));
    let mut cannot_sign = ca_params();
    cannot_sign.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    assert!(matches!(load(&cannot_sign), Err(CaError::NotACa(_))));
    let mut expired = ca_params();
    expired.not_after = rcgen::date_time_ymd(2001, 1, 1);
    assert!(matches!(load(&expired), Err(CaError::NotValidNow { expired: true, .. })));
    let mut early = ca_params();
    early.not_before = rcgen::date_time_ymd(4000, 1, 1);
    assert!(matches!(load(&early), Err(CaError::NotValidNow { expired: false, .. })));
}

#[test]
fn a_given_pair_that_does_not_match_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = given(folder.path(), &ca_params(), &KeyPair::generate().unwrap());
    KeyPair::generate().unwrap().save(&key).unwrap();
    let error = Ca::load(&certificate, &key, &fleet(), now()).unwrap_err();
    assert!(matches!(error, CaError::Mismatch { .. }), "{error}");
    let twice = fs::read_to_string(&certificate).unwrap().repeat(2);
    fs::write(&certificate, twice).unwrap();
    let error = Ca::load(&certificate, &key, &fleet(), now()).unwrap_err();
    assert!(matches!(error, CaError::NotOneCertificate { found: 2, .. }), "{error}");
}

#[test]
fn an_agents_certificate_names_it_and_nothing_else() {
    let (_folder, ca) = ca();
    let key = KeyPair::generate().unwrap();
    let issued = ca.sign_agent(&key.csr_pem().unwrap(), &"web-1".parse().unwrap(), DAY, now()).unwrap();
    assert_eq!(issued.facts.identity.to_string(), "spiffe://prod/agent/web-1");
    let chain = certificates(&issued.chain_pem);
    assert_eq!(chain.len(), 2);
    let leaf = certificate::parse(&chain[0]).unwrap();
    assert_eq!(leaf.subject_alternative_name().unwrap().unwrap().value.general_names.len(), 1);
    let usage = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth && !usage.any);
    assert!(!leaf.is_ca());
    assert_eq!(leaf.raw_serial().len(), 16);
    let backdated = now().since(issued.facts.not_before);
    assert!((300..360).contains(&backdated.as_secs()), "{backdated:?}");
}

#[test]
fn what_a_request_asks_for_is_ignored() {
    let (_folder, ca) = ca();
    let key = KeyPair::generate().unwrap();
    let mut greedy = ca_params();
    greedy.distinguished_name = common_name("handover-server");
    greedy.subject_alt_names = vec![
        uri("spiffe://prod/server").unwrap(),
        uri("spiffe://prod/operator/root").unwrap(),
        SanType::DnsName("handover-server".try_into().unwrap()),
    ];
    greedy.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::Any];
    let csr = greedy.serialize_request(key.inner()).unwrap().pem().unwrap();
    let issued = ca.sign_agent(&csr, &"web-1".parse().unwrap(), DAY, now()).unwrap();
    let chain = certificates(&issued.chain_pem);
    let leaf = certificate::parse(&chain[0]).unwrap();
    assert_eq!(certificate::uris(&leaf).unwrap(), ["spiffe://prod/agent/web-1"]);
    assert_eq!(leaf.subject_alternative_name().unwrap().unwrap().value.general_names.len(), 1);
    let usage = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(!leaf.is_ca() && !usage.server_auth && !usage.any);
    assert!(!leaf.subject().to_string().contains("server"));
}

#[test]
fn a_request_without_proof_or_sense_is_refused() {
    let (_folder, ca) = ca();
    let sign = |csr: &str| ca.sign_agent(csr, &"web-1".parse().unwrap(), DAY, now());
    let csr = KeyPair::generate().unwrap().csr_pem().unwrap();
    assert!(matches!(sign(""), Err(SignError::NotARequest)));
    assert!(matches!(sign(&ca.certificate_pem()), Err(SignError::NotARequest)));
    assert!(matches!(sign(&format!("{csr}{}", " ".repeat(MAX_CSR_BYTES))), Err(SignError::TooLong(_))));

    // Another key's name under the signature: the last bytes of a request are its signature.
    let mut der = CertificateSigningRequestDer::from_pem_slice(csr.as_bytes()).unwrap().to_vec();
    let last = der.len() - 1;
    der[last] ^= 1;
    let forged = pem(&der.into()).replace("CERTIFICATE", "CERTIFICATE REQUEST");
    assert!(matches!(sign(&forged), Err(SignError::Proof)));

    let other_kind = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let csr = CertificateParams::default().serialize_request(&other_kind).unwrap().pem().unwrap();
    assert!(matches!(sign(&csr), Err(SignError::KeyKind)));
}

#[test]
fn no_certificate_outlives_the_ca() {
    let (_folder, ca) = ca();
    let key = KeyPair::generate().unwrap().csr_pem().unwrap();
    let name = "alice".parse().unwrap();
    let late = Timestamp::from_unix_millis(ca.expires().unix_millis() - 3_600_000);
    let issued = ca.sign_operator(&key, &name, 30 * DAY, late).unwrap();
    assert_eq!(issued.facts.not_after, ca.expires());
    assert_eq!(issued.facts.identity.to_string(), "spiffe://prod/operator/alice");
    assert!(matches!(ca.sign_operator(&key, &name, DAY, ca.expires()), Err(SignError::CaExpired)));
}

#[test]
fn the_server_gets_a_new_key_each_time() {
    let (_folder, ca) = ca();
    let (one, two) = (ca.issue_server(DAY, now()).unwrap(), ca.issue_server(DAY, now()).unwrap());
    let key = |certificate: &ServerCertificate| {
        certificate::parse(&certificate.chain[0]).unwrap().public_key().raw.to_vec()
    };
    assert_ne!(key(&one), key(&two));
    assert_ne!(one.facts.serial, two.facts.serial);
    assert_eq!(one.facts.identity, Identity::Server { fleet: fleet() });
    let leaf = certificate::parse(&one.chain[0]).unwrap();
    let usage = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && !usage.client_auth);
    assert_eq!(one.chain[1], *ca.certificate());
}
