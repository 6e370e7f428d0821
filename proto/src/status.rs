//! Refusals on the wire: `google.rpc.Status` with an `ErrorInfo` whose reason is stable, so that programs need not
//! read messages, and with words and a hint for people.
//!
//! A status travels in HTTP/2 headers, and peers drop a response whose headers pass 16 KiB: everything in it is cut.

use std::{collections::HashMap, fmt};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

/// The domain of every reason.
pub const DOMAIN: &str = "handover.v1";
/// Longest message, in bytes. It is sent twice, and once percent-encoded.
const MAX_MESSAGE_BYTES: usize = 1500;
/// Longest hint, in bytes.
const MAX_HINT_BYTES: usize = 500;
/// Longest description of one field's violation, in bytes; its field's path gets a third of it.
const MAX_VIOLATION_BYTES: usize = 300;
/// All violations together, in bytes.
const MAX_VIOLATIONS_BYTES: usize = 3000;
/// Key of the hint in the metadata.
const HINT: &str = "hint";

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $code:ident;)*) => {
        /// Why a request was refused. The names on the wire are stable: programs may rest on them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[$doc])* $variant,)*
        }

        impl Reason {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The gRPC code that goes with it.
            #[must_use]
            pub const fn code(self) -> Code {
                match self { $(Self::$variant => Code::$code,)* }
            }
        }
    };
}

reasons! {
    /// A field of the request is not valid.
    InvalidRequest = "INVALID_REQUEST", InvalidArgument;
    /// The manifest has mistakes; the violations list them all.
    InvalidManifest = "INVALID_MANIFEST", InvalidArgument;
    /// There is no service of this name.
    UnknownService = "UNKNOWN_SERVICE", NotFound;
    /// The service has no release of this version.
    UnknownRelease = "UNKNOWN_RELEASE", NotFound;
    /// There is no host of this name.
    UnknownHost = "UNKNOWN_HOST", NotFound;
    /// There is no deployment of this number, or the service has none.
    UnknownDeployment = "UNKNOWN_DEPLOYMENT", NotFound;
    /// There is no token of this id.
    UnknownToken = "UNKNOWN_TOKEN", NotFound;
    /// The version is taken by a release with other content.
    ReleaseExists = "RELEASE_EXISTS", AlreadyExists;
    /// Another deployment of the service goes on.
    DeploymentInProgress = "DEPLOYMENT_IN_PROGRESS", FailedPrecondition;
    /// The deployment has ended already.
    DeploymentEnded = "DEPLOYMENT_ENDED", FailedPrecondition;
    /// It cannot be done to the deployment where it is.
    NotNow = "NOT_NOW", FailedPrecondition;
    /// Nothing new is deployed at the moment.
    Frozen = "FROZEN", FailedPrecondition;
    /// The release has to be rehearsed before.
    RehearsalRequired = "REHEARSAL_REQUIRED", FailedPrecondition;
    /// A point of the release's preflight stops its deployment.
    PreflightFailed = "PREFLIGHT_FAILED", FailedPrecondition;
    /// A database's schema, or somebody who reads it, is in the way.
    SchemaRefused = "SCHEMA_REFUSED", FailedPrecondition;
    /// There is no freeze of this number.
    UnknownFreeze = "UNKNOWN_FREEZE", NotFound;
    /// Another operator holds a lock.
    Locked = "LOCKED", FailedPrecondition;
    /// Every host has what was asked for already.
    NothingToDo = "NOTHING_TO_DO", FailedPrecondition;
    /// No host matches the service's labels, or all are cordoned.
    NoHosts = "NO_HOSTS", FailedPrecondition;
    /// The plan cannot be made.
    PlanRefused = "PLAN_REFUSED", FailedPrecondition;
    /// There is nothing to roll back to.
    NoPreviousRelease = "NO_PREVIOUS_RELEASE", FailedPrecondition;
    /// The join token is not known: mistyped, revoked or from another server.
    TokenInvalid = "TOKEN_INVALID", Unauthenticated;
    /// The join token has expired.
    TokenExpired = "TOKEN_EXPIRED", Unauthenticated;
    /// The join token was used before.
    TokenUsed = "TOKEN_USED", Unauthenticated;
    /// The join token is for another host.
    TokenForOtherHost = "TOKEN_FOR_OTHER_HOST", PermissionDenied;
    /// A host of this name is enrolled already.
    HostExists = "HOST_EXISTS", AlreadyExists;
    /// The host was removed from the fleet.
    HostRemoved = "HOST_REMOVED", PermissionDenied;
    /// The host is online or a deployment touches it.
    HostBusy = "HOST_BUSY", FailedPrecondition;
    /// An agent spoke for another host than its own.
    NotYourHost = "NOT_YOUR_HOST", PermissionDenied;
    /// The connection carries no client certificate.
    NoCertificate = "NO_CERTIFICATE", Unauthenticated;
    /// This identity may not do this.
    NotAuthorised = "NOT_AUTHORISED", PermissionDenied;
    /// The operator's certificates were revoked.
    Revoked = "REVOKED", PermissionDenied;
    /// The server did not sign this operator's certificate, or has replaced the operator since.
    CertificateUnknown = "CERTIFICATE_UNKNOWN", Unauthenticated;
    /// The certificate came to its end while the connection was open.
    CertificateExpired = "CERTIFICATE_EXPIRED", Unauthenticated;
    /// The operator's role or services were changed while the call went on: make it again.
    RoleChanged = "ROLE_CHANGED", Unavailable;
    /// There is no operator of this name.
    UnknownOperator = "UNKNOWN_OPERATOR", NotFound;
    /// The operator exists with another role or other services.
    OperatorExists = "OPERATOR_EXISTS", AlreadyExists;
    /// The operator was revoked and cannot be changed any more.
    OperatorRevoked = "OPERATOR_REVOKED", FailedPrecondition;
    /// The versions are more than one minor release apart.
    VersionSkew = "VERSION_SKEW", FailedPrecondition;
    /// The bundle is not what it declares, or holds what no bundle may hold.
    BundleRefused = "BUNDLE_REFUSED", InvalidArgument;
    /// The bundle has not been uploaded, or not completely.
    BundleMissing = "BUNDLE_MISSING", FailedPrecondition;
    /// The upload does not go on where the server's part ends.
    WrongOffset = "WRONG_OFFSET", OutOfRange;
    /// Larger than the server takes.
    TooLarge = "TOO_LARGE", ResourceExhausted;
    /// A bound on a number of things was reached.
    TooMany = "TOO_MANY", ResourceExhausted;
    /// The request id names another request already.
    RequestIdReused = "REQUEST_ID_REUSED", AlreadyExists;
    /// The server's disk is full.
    DiskFull = "DISK_FULL", ResourceExhausted;
    /// The store does not take changes.
    StoreUnavailable = "STORE_UNAVAILABLE", Unavailable;
    /// Somebody else is at the same thing, or the server has too much to do: try again.
    Busy = "BUSY", Unavailable;
    /// A newer session of the same agent took this one's place.
    SessionReplaced = "SESSION_REPLACED", Aborted;
    /// Another agent with the same identity has its session open: one of the two is a copy.
    IdentityInUse = "IDENTITY_IN_USE", FailedPrecondition;
    /// The message makes no sense at this place of the stream.
    Protocol = "PROTOCOL", InvalidArgument;
    /// The server is going down.
    ShuttingDown = "SHUTTING_DOWN", Unavailable;
    /// A mistake of the server's own.
    Internal = "INTERNAL", Internal;
    /// Only read, never sent: the peer is newer and gave a reason that this version does not know.
    Unrecognised = "UNRECOGNISED", Unknown;
}

impl Reason {
    fn read(text: &str) -> Self {
        Self::ALL.iter().copied().find(|reason| reason.as_str() == text).unwrap_or(Self::Unrecognised)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A field that is not valid, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its path in the message, or a place in a file.
    pub field: String,
    /// What is wrong with it.
    pub description: String,
}

/// A refused request, as both sides see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why, for programs.
    pub reason: Reason,
    /// Why, for people.
    pub message: String,
    /// What to do; empty where there is nothing to say.
    pub hint: String,
    /// Fields that are not valid.
    pub violations: Vec<Violation>,
    /// Facts for programs: names and numbers by key.
    pub facts: HashMap<String, String>,
}

/// The status for a request that is refused. `hint` says what to do and may be empty.
#[must_use]
pub fn refuse(reason: Reason, message: impl Into<String>, hint: impl Into<String>) -> Status {
    Refusal::new(reason, message).hint(hint).into()
}

impl Refusal {
    /// A refusal without hint, violations or facts.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            hint: String::new(),
            violations: Vec::new(),
            facts: HashMap::new(),
        }
    }

    /// With what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// With a field that is not valid.
    #[must_use]
    pub fn violation(mut self, field: impl Into<String>, description: impl Into<String>) -> Self {
        self.violations.push(Violation { field: field.into(), description: description.into() });
        self
    }

    /// With a fact for programs. Keys are `[a-z_]`, and not `hint`.
    #[must_use]
    pub fn fact(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.facts.insert(key.into(), value.into());
        self
    }

    /// What a status says, where it is one of Handover's; `None` for what libraries, proxies and the network say.
    #[must_use]
    pub fn of(status: &Status) -> Option<Self> {
        let details = status.get_error_details();
        let info = details.error_info().filter(|info| info.domain == DOMAIN)?;
        let mut facts = info.metadata.clone();
        let hint = facts.remove(HINT).unwrap_or_default();
        let violations = details.bad_request().map(|request| &*request.field_violations).unwrap_or_default();
        Some(Self {
            reason: Reason::read(&info.reason),
            message: status.message().to_owned(),
            hint,
            violations: violations
                .iter()
                .map(|v| Violation { field: v.field.clone(), description: v.description.clone() })
                .collect(),
            facts,
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let Refusal { reason, message, hint, violations, facts } = refusal;
        let mut metadata = HashMap::new();
        let mut room = MAX_HINT_BYTES;
        for (key, value) in facts {
            let value = clip(&value, 200);
            if let Some(left) = room.checked_sub(key.len() + value.len()) {
                room = left;
                metadata.insert(key, value);
            }
        }
        if !hint.is_empty() {
            metadata.insert(HINT.to_owned(), clip(&hint, MAX_HINT_BYTES));
        }
        let mut details = ErrorDetails::with_error_info(reason.as_str(), DOMAIN, metadata);
        if !violations.is_empty() {
            details.set_bad_request(clip_violations(violations));
        }
        Self::with_error_details(reason.code(), clip(&message, MAX_MESSAGE_BYTES), details)
    }
}

impl From<crate::convert::ConvertError> for Refusal {
    fn from(error: crate::convert::ConvertError) -> Self {
        Self::new(Reason::InvalidRequest, error.to_string()).violation(error.field, error.reason)
    }
}

impl From<crate::convert::ConvertError> for Status {
    fn from(error: crate::convert::ConvertError) -> Self {
        Refusal::from(error).into()
    }
}

/// As many violations as there is room for; a last one says how many are missing.
fn clip_violations(violations: Vec<Violation>) -> Vec<FieldViolation> {
    let total = violations.len();
    let mut room = MAX_VIOLATIONS_BYTES;
    let mut taken = Vec::new();
    for Violation { field, description } in violations {
        let violation = FieldViolation::new(
            clip(&field, MAX_VIOLATION_BYTES / 3),
            clip(&description, MAX_VIOLATION_BYTES),
        );
        // 12: the encoding's own bytes for each.
        let Some(left) = room.checked_sub(violation.field.len() + violation.description.len() + 12) else {
            break;
        };
        room = left;
        taken.push(violation);
    }
    if taken.len() < total {
        taken.push(FieldViolation::new("", format!("and {} more", total - taken.len())));
    }
    taken
}

/// At most `most` bytes of `text`, cut between characters.
fn clip(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let mark = "...";
    let mut end = most - mark.len();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{mark}", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_refusal_survives_the_wire() {
        for reason in Reason::ALL.iter().copied() {
            let refusal = Refusal::new(reason, "service web has a deployment already")
                .hint("wait for d17, or `handover abort web`")
                .violation("service", "is busy")
                .fact("deployment", "17");
            let status = Status::from(refusal.clone());
            assert_eq!(status.code(), reason.code());
            let headers = status.into_http::<()>();
            let read = Status::from_header_map(headers.headers()).unwrap();
            assert_eq!(Refusal::of(&read), Some(refusal));
        }
    }

    #[test]
    fn what_handover_did_not_say_is_no_refusal() {
        assert_eq!(Refusal::of(&Status::unavailable("connection refused")), None);
        let foreign = ErrorDetails::with_error_info("BUSY", "proxy.example.org", HashMap::new());
        assert_eq!(Refusal::of(&Status::with_error_details(Code::Unavailable, "busy", foreign)), None);
    }

    #[test]
    fn a_reason_of_a_newer_server_still_gives_its_message_and_hint() {
        let details = ErrorDetails::with_error_info(
            "MOON_IN_WRONG_PHASE",
            DOMAIN,
            HashMap::from([(HINT.to_owned(), "wait".to_owned())]),
        );
        let read = Refusal::of(&Status::with_error_details(Code::FailedPrecondition, "no", details)).unwrap();
        assert_eq!((read.reason, &*read.message, &*read.hint), (Reason::Unrecognised, "no", "wait"));
    }

    #[test]
    fn reasons_are_distinct_and_in_screaming_snake() {
        let names: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
        for name in names {
            assert!(name.len() <= 63 && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'), "{name}");
        }
    }

    #[test]
    fn a_huge_refusal_fits_into_the_headers_that_peers_take() {
        let mut refusal =
            Refusal::new(Reason::InvalidManifest, "ä\n".repeat(10_000)).hint("ö".repeat(10_000));
        for n in 0..500 {
            refusal = refusal
                .violation("ü".repeat(1000), "line\n".repeat(1000))
                .fact(format!("k{n}"), "v".repeat(1000));
        }
        let response = Status::from(refusal).into_http::<()>();
        let size: usize = response.headers().iter().map(|(k, v)| k.as_str().len() + v.len() + 32).sum();
        assert!(size < 15 * 1024, "{size} bytes of headers");
        let read = Refusal::of(&Status::from_header_map(response.headers()).unwrap()).unwrap();
        assert!(
            read.violations.last().unwrap().description.starts_with("and 4"),
            "{:?}",
            read.violations.last()
        );
    }
}
