use super::*;
use proptest::prelude::*;

fn token() -> JoinToken {
    JoinToken::generate(Digest::of(b"ca"), "deploy.example.org:7443".parse().unwrap()).unwrap()
}

fn any_token() -> impl Strategy<Value = JoinToken> {
    let host = prop_oneof![
        "[a-z]{1,20}(\\.[a-z]{1,20}){0,3}",
        Just("10.1.2.3".to_owned()),
        Just("[fd00::7]".to_owned())
    ];
    (any::<[u8; ID]>(), any::<[u8; SECRET]>(), any::<[u8; 32]>(), host, 1..=u16::MAX).prop_map(
        |(id, secret, fingerprint, host, port)| JoinToken {
            claim: TokenClaim { id: TokenId(id), secret: TokenSecret(secret) },
            ca_fingerprint: Digest::from_bytes(fingerprint),
            server: format!("{host}:{port}").parse().unwrap(),
        },
    )
}

proptest! {
    #[test]
    fn a_token_survives_being_written_and_read(token in any_token()) {
        let read: JoinToken = token.expose().parse().unwrap();
        prop_assert_eq!(read.claim.id, token.claim.id);
        prop_assert_eq!(read.claim.secret.0, token.claim.secret.0);
        prop_assert_eq!(read.ca_fingerprint, token.ca_fingerprint);
        prop_assert_eq!(read.server, token.server);
    }

    #[test]
    fn a_changed_character_is_recognised(token in any_token(), at in any::<prop::sample::Index>(), to in "[A-Za-z0-9_-]") {
        let text = token.expose();
        let at = PREFIX.len() + at.index(text.len() - PREFIX.len());
        prop_assume!(text[at..=at] != to);
        let typo = format!("{}{to}{}", &text[..at], &text[at + 1..]);
        prop_assert!(typo.parse::<JoinToken>().is_err());
    }

    #[test]
    fn a_token_without_its_end_is_refused(token in any_token(), keep in any::<prop::sample::Index>()) {
        let text = token.expose();
        let keep = keep.index(text.len());
        prop_assert!(text[..keep].parse::<JoinToken>().is_err());
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in ".{0,300}") {
        let _ = text.parse::<JoinToken>();
        let _ = format!("hv1.{text}").parse::<JoinToken>();
        let _ = text.parse::<TokenClaim>();
    }

    #[test]
    fn a_claim_survives_the_wire(token in any_token()) {
        let claim: TokenClaim = token.claim.expose().parse().unwrap();
        prop_assert_eq!(claim.id, token.claim.id);
        prop_assert!(secret_matches(&token.claim.secret.digest(), &claim.secret));
    }
}

#[test]
fn each_mistake_gets_its_own_error() {
    let text = token().expose();
    let read = |text: &str| text.parse::<JoinToken>().unwrap_err();
    assert_eq!(read(""), TokenError::NotAToken);
    assert_eq!(read("s3cr3t"), TokenError::NotAToken);
    assert_eq!(read("eyJhbGciOi.x.y"), TokenError::NotAToken);
    assert_eq!(read("hv1."), TokenError::TooShort);
    assert_eq!(read(&text[..30]), TokenError::TooShort);
    assert_eq!(read(&text[..text.len() - 1]), TokenError::TooShort);
    assert_eq!(read(&text[..text.len() - 4]), TokenError::TooShort);
    assert_eq!(read(&format!("{text}{}", &text[4..])), TokenError::TooLong);
    assert_eq!(read(&format!("{text}AAAA")), TokenError::TooLong);
    assert_eq!(read(&format!("hv2.{}", &text[4..])), TokenError::OtherVersion("hv2".into()));
    assert_eq!(
        read(&format!("{}!{}", &text[..9], &text[10..])),
        TokenError::Character { position: 10, character: '!' }
    );
    let other = if &text[20..21] == "A" { "B" } else { "A" };
    assert_eq!(read(&format!("{}{other}{}", &text[..20], &text[21..])), TokenError::Checksum);
}

#[test]
fn white_space_of_terminals_and_mails_does_no_harm() {
    let token = token();
    let text = token.expose();
    let wrapped = format!("  {}\r\n\t{}\n", &text[..40], &text[40..]);
    assert_eq!(wrapped.parse::<JoinToken>().unwrap().claim.id, token.claim.id);
}

#[test]
fn only_the_right_secret_matches_and_none_is_printed() {
    let (one, other) = (token(), token());
    assert!(secret_matches(&one.claim.secret.digest(), &one.claim.secret));
    assert!(!secret_matches(&one.claim.secret.digest(), &other.claim.secret));
    let secret = hex(&one.claim.secret.0);
    assert!(!format!("{one:?}").contains(&secret));
}
