//! Why the fleet refuses a request: one variant per reason, each with a stable name for programs.

use super::{locks::LockScope, role::Role};
use handover_identity::{OperatorName, TokenId};
use handover_model::{DeploymentId, Duration, HostName, ReleaseRef, ServiceName, Timestamp, Version};
use handover_proto::status::{self, Reason};
use handover_rollout::{PlanError, ReplayError};
use tonic::Status;

/// A request that was refused; nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A field of the request is not valid.
    #[error("{0}")]
    Invalid(String),
    /// The manifest has mistakes: each with its place.
    #[error("the manifest has {} mistakes", .0.len())]
    Manifest(Vec<(String, String)>),
    /// The manifest names another service than the release.
    #[error("the manifest is of service {manifest}, the release of service {release}")]
    OtherService {
        /// What stands in the manifest.
        manifest: ServiceName,
        /// What stands in the request.
        release: ServiceName,
    },
    /// The version exists with other content.
    #[error(
        "release {0} exists already with other content: versions never change; push it under another version"
    )]
    ReleaseExists(ReleaseRef),
    /// No such release.
    #[error("there is no release {0}: `handover release list {service}` shows those that are there", service = .0.service)]
    NoRelease(ReleaseRef),
    /// The bundle of the release is not on the server.
    #[error("the bundle of release {0} is not on the server: push it again")]
    NoBundle(ReleaseRef),
    /// No such service.
    #[error("there is no service {0}: push a release of it first")]
    NoService(ServiceName),
    /// No such host.
    #[error("there is no host {0}: `handover hosts` lists those that are enrolled")]
    NoHost(HostName),
    /// The name is taken.
    #[error(
        "a host named {0} is enrolled already: to enrol it anew take its agent off the line and use a token made with `handover token create --host {0}`, or remove it first"
    )]
    HostExists(HostName),
    /// The host was removed, or its certificate was replaced.
    #[error(
        "host {0} is not enrolled with this certificate (it was removed, or enrolled anew elsewhere): enrol it again with a new token"
    )]
    HostRemoved(HostName),
    /// The host does something, and `force` was not given.
    #[error("host {host} {why}: remove it with --force to do it all the same")]
    HostBusy {
        /// Which host.
        host: HostName,
        /// What it does.
        why: String,
    },
    /// No such token.
    #[error("the join token is not known here: it was revoked, or made by another server")]
    TokenUnknown,
    /// The token is past its time.
    #[error("the join token has expired: make a new one with `handover token create`")]
    TokenExpired,
    /// The token was used.
    #[error(
        "the join token was used already, by host {0}: a token enrols one host; make a new one with `handover token create`"
    )]
    TokenUsed(HostName),
    /// The token is for another host.
    #[error("the join token is for host {0} only")]
    TokenOtherHost(HostName),
    /// No token of that id.
    #[error("there is no token {0}")]
    NoToken(TokenId),
    /// A deployment of the service goes on.
    #[error(
        "deployment {deployment} of service {service} (to {version}, by {by}) is going on: wait for it, or end it with `handover abort {service}`, which rolls it back"
    )]
    DeploymentInProgress {
        /// The service.
        service: ServiceName,
        /// The deployment that goes on.
        deployment: DeploymentId,
        /// Where it goes.
        version: Version,
        /// Who began it.
        by: String,
    },
    /// There is nothing to go back to.
    #[error("service {service} cannot be rolled back: {why}")]
    NoPreviousRelease {
        /// The service.
        service: ServiceName,
        /// Why not.
        why: String,
    },
    /// Nothing new is deployed at the moment.
    #[error("{scope} is frozen by {by}: {reason}; {}", match until {
        Some(until) => format!("the freeze f{number} ends at {}", moment(*until)),
        None => format!("the freeze f{number} ends when somebody ends it"),
    })]
    Frozen {
        /// What is frozen.
        scope: LockScope,
        /// Number of the freeze.
        number: u64,
        /// By whom.
        by: String,
        /// Why.
        reason: String,
        /// When it ends.
        until: Option<Timestamp>,
        /// The command that deploys all the same. Without room to grow: it would make every error of the server larger.
        command: Box<str>,
    },
    /// The release has to be rehearsed before it is deployed.
    #[error(
        "{release} has to be rehearsed before it is deployed (its manifest says so), from the current release {from} and back: {why}"
    )]
    RehearsalRequired {
        /// What should have been deployed.
        release: ReleaseRef,
        /// The current release.
        from: Version,
        /// What is known of rehearsals of this pair.
        why: String,
        /// The command that deploys all the same.
        command: Box<str>,
    },
    /// A point of its preflight stops the deployment.
    #[error("{release} does not pass its preflight: {what}")]
    PreflightFailed {
        /// What should have been deployed.
        release: ReleaseRef,
        /// The points that stop it.
        what: Box<str>,
        /// The command that deploys all the same.
        command: Box<str>,
    },
    /// A database's schema, or somebody who reads it, is in the way.
    #[error("{why}")]
    Schema {
        /// In words.
        why: Box<str>,
        /// What to do.
        hint: Box<str>,
    },
    /// No such freeze.
    #[error("there is no freeze f{0}; `handover freeze` lists all")]
    NoFreeze(u64),
    /// The request id was used for something else.
    #[error(
        "request {request} was used for deployment {deployment}, which is another one: take a new request id"
    )]
    RequestReused {
        /// The id.
        request: String,
        /// What it was used for.
        deployment: DeploymentId,
    },
    /// No plan can be made.
    #[error("{why}")]
    NoPlan {
        /// The kind of reason.
        reason: Reason,
        /// In words.
        why: String,
    },
    /// No such deployment.
    #[error("there is no deployment {0}")]
    NoDeployment(String),
    /// The deployment has ended.
    #[error("deployment {deployment} has ended: {how}")]
    DeploymentEnded {
        /// Which.
        deployment: DeploymentId,
        /// How, and what can be done instead.
        how: String,
    },
    /// It cannot be done to the deployment where it is.
    #[error("{0}")]
    NotNow(String),
    /// Somebody else holds a lock.
    #[error("{scope} is locked by {owner}: {reason}; the lock ends in {} ({})", seconds(*left), moment(*until))]
    Locked {
        /// What is locked.
        scope: LockScope,
        /// By whom.
        owner: String,
        /// Why.
        reason: String,
        /// When the lock ends.
        until: Timestamp,
        /// How long that is.
        left: Duration,
        /// The command that takes it over.
        command: String,
    },
    /// The request id was used for something else than a deployment.
    #[error("request {request} was used for {what:?}, which is another one: take a new request id")]
    RequestUsed {
        /// The id.
        request: String,
        /// What it was used for.
        what: String,
    },
    /// The agent asks for a bundle that its target does not name.
    #[error("bundle {digest} is not in the target of host {host}")]
    NotYourHost {
        /// Who asked.
        host: HostName,
        /// For what.
        digest: String,
    },
    /// The operator's certificates were revoked.
    #[error("the certificates of operator {name} were revoked by {by}")]
    Revoked {
        /// Whose.
        name: OperatorName,
        /// Who did it.
        by: String,
    },
    /// A certificate of the fleet's CA that the server has not given to this operator.
    #[error("this certificate of operator {0} is not one that the server knows")]
    CertificateUnknown(OperatorName),
    /// The role, or the services that it is limited to, do not allow it.
    #[error("{who} may not do this: {why}")]
    NotAllowed {
        /// Who asked.
        who: String,
        /// What it would need.
        why: String,
    },
    /// No such operator.
    #[error("there is no operator {0}: `handover operator list` shows all")]
    NoOperator(OperatorName),
    /// The operator is there, and is another one.
    #[error(
        "operator {name} exists already as {role}, with other rights than these: `handover operator set {name}` changes them, and without --role and --service it gets one more certificate"
    )]
    OperatorExists {
        /// Its name.
        name: OperatorName,
        /// Its role.
        role: Role,
    },
    /// The operator is revoked.
    #[error("operator {0} was revoked: `handover operator create {0}` makes it anew, with a new certificate")]
    OperatorRevoked(OperatorName),
    /// A bound was reached.
    #[error("{0}")]
    TooMany(String),
    /// A newer session of the same agent.
    #[error("a newer session of host {0} took over")]
    SessionReplaced(HostName),
    /// The identity has its session in another place.
    #[error(
        "another agent that says it is host {host} has its session open, from {from}: if this machine or its agent's state is a copy, give it a name of its own (`handover-agent join` with a new token); if the host was just rebooted, the former session ends within 20 s and this agent is let in by itself"
    )]
    IdentityInUse {
        /// The host.
        host: HostName,
        /// Where the open session comes from.
        from: String,
    },
    /// The certificate was replaced, and the host was seen with the newer one.
    #[error(
        "host {0} has renewed this certificate and was seen with the newer one: this machine or its agent's state is a copy, or an old backup; enrol it anew with `handover token create` and `handover-agent join`"
    )]
    FormerCertificate(HostName),
    /// The agent has no session.
    #[error("host {0} has no session of this agent: a certificate is renewed while the session is open")]
    NoSession(HostName),
    /// The server is stopping.
    #[error("the server is stopping: try again in a moment")]
    Stopping,
    /// The store does not take changes; the server stops.
    #[error("the store does not take changes: {0}; the server stops, nothing of this request is done")]
    Store(String),
    /// The server cannot go on.
    #[error("the server failed inside: {0}")]
    Internal(String),
}

/// A moment, the same on every machine that reads it.
pub(super) fn moment(at: Timestamp) -> String {
    let parsed = i64::try_from(at.unix_millis())
        .ok()
        .and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
    parsed.map_or_else(|| at.unix_millis().to_string(), |at| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// How long something is, in the two largest units.
pub(super) fn seconds(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        seconds => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

impl Refusal {
    /// The stable name of the reason.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Invalid(_) | Self::RequestReused { .. } | Self::RequestUsed { .. } => {
                Reason::InvalidRequest
            }
            Self::Manifest(_) | Self::OtherService { .. } => Reason::InvalidManifest,
            Self::ReleaseExists(_) => Reason::ReleaseExists,
            Self::NoRelease(_) => Reason::UnknownRelease,
            Self::NoBundle(_) => Reason::BundleMissing,
            Self::NoService(_) => Reason::UnknownService,
            Self::NoHost(_) => Reason::UnknownHost,
            Self::HostExists(_) => Reason::HostExists,
            Self::HostRemoved(_) => Reason::HostRemoved,
            Self::HostBusy { .. } => Reason::HostBusy,
            Self::TokenUnknown => Reason::TokenInvalid,
            Self::TokenExpired => Reason::TokenExpired,
            Self::TokenUsed(_) => Reason::TokenUsed,
            Self::TokenOtherHost(_) => Reason::TokenForOtherHost,
            Self::NoToken(_) => Reason::UnknownToken,
            Self::DeploymentInProgress { .. } => Reason::DeploymentInProgress,
            Self::NoPreviousRelease { .. } => Reason::NoPreviousRelease,
            Self::NoPlan { reason, .. } => *reason,
            Self::NoDeployment(_) => Reason::UnknownDeployment,
            Self::DeploymentEnded { .. } => Reason::DeploymentEnded,
            Self::NotNow(_) => Reason::NotNow,
            Self::Locked { .. } => Reason::Locked,
            Self::Frozen { .. } => Reason::Frozen,
            Self::RehearsalRequired { .. } => Reason::RehearsalRequired,
            Self::PreflightFailed { .. } => Reason::PreflightFailed,
            Self::Schema { .. } => Reason::SchemaRefused,
            Self::NoFreeze(_) => Reason::UnknownFreeze,
            Self::NotYourHost { .. } => Reason::NotYourHost,
            Self::Revoked { .. } => Reason::Revoked,
            Self::CertificateUnknown(_) => Reason::CertificateUnknown,
            Self::NotAllowed { .. } => Reason::NotAuthorised,
            Self::NoOperator(_) => Reason::UnknownOperator,
            Self::OperatorExists { .. } => Reason::OperatorExists,
            Self::OperatorRevoked(_) => Reason::OperatorRevoked,
            Self::TooMany(_) => Reason::TooMany,
            Self::SessionReplaced(_) => Reason::SessionReplaced,
            Self::IdentityInUse { .. } | Self::FormerCertificate(_) => Reason::IdentityInUse,
            Self::NoSession(_) => Reason::Protocol,
            Self::Stopping => Reason::ShuttingDown,
            Self::Store(_) => Reason::StoreUnavailable,
            Self::Internal(_) => Reason::Internal,
        }
    }

    /// No plan, in the engine's words.
    #[must_use]
    pub fn no_plan(error: &PlanError) -> Self {
        let reason = match error {
            PlanError::NoHosts { .. } | PlanError::NotChosen { .. } => Reason::NoHosts,
            PlanError::NothingToDo { .. } => Reason::NothingToDo,
            PlanError::ForeignRelease { .. }
            | PlanError::Empty { .. }
            | PlanError::Mixed { .. }
            | PlanError::NoneInFlight
            | PlanError::Twice { .. }
            | PlanError::RetiresTooEarly { .. }
            | PlanError::ReturnsInPart { .. }
            | PlanError::Unfinished { .. } => Reason::PlanRefused,
        };
        Self::NoPlan { reason, why: error.to_string() }
    }

    /// A plan that the engine does not begin.
    #[must_use]
    pub fn not_begun(error: &ReplayError) -> Self {
        match error {
            ReplayError::Plan { source, .. } => Self::no_plan(source),
            other => Self::NoPlan { reason: Reason::PlanRefused, why: other.to_string() },
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let mut answer = status::Refusal::new(refusal.reason(), refusal.to_string());
        match &refusal {
            Refusal::Manifest(mistakes) => {
                for (place, mistake) in mistakes {
                    answer = answer.violation(place, mistake);
                }
            }
            Refusal::DeploymentInProgress { deployment, .. } | Refusal::RequestReused { deployment, .. } => {
                answer = answer.fact("deployment", deployment.number().to_string());
            }
            Refusal::Frozen { by, command, .. } => {
                answer = answer.hint(format!(
                    "`{command}` does it all the same, and stands in the audit; first ask {by}. A rollback always goes"
                ));
            }
            Refusal::RehearsalRequired { release: ReleaseRef { service, version }, command, .. } => {
                answer = answer.hint(format!(
                    "`handover rehearse {service} --release {version}` rehearses it on one host; `{command}` deploys it all the same, and stands in the audit. A rollback always goes"
                ));
            }
            Refusal::PreflightFailed { release: ReleaseRef { service, version }, command, .. } => {
                answer = answer.hint(format!(
                    "`handover preflight {service} --release {version}` tells all of it; `{command}` deploys it all the same, and stands in the audit. A rollback always goes"
                ));
            }
            Refusal::Schema { hint, .. } => answer = answer.hint(hint.to_string()),
            Refusal::Locked { owner, until, command, .. } => {
                answer = answer
                    .hint(format!("`{command}` does it all the same and takes the lock; first ask {owner}"))
                    .fact("owner", owner)
                    .fact("until", until.unix_millis().to_string());
            }
            Refusal::Revoked { .. } | Refusal::CertificateUnknown(_) => {
                answer = answer.hint("ask an admin for a new certificate: `handover operator create`");
            }
            Refusal::NotAllowed { .. } => {
                answer = answer.hint("an admin changes what an operator may do: `handover operator set`");
            }
            _ => {}
        }
        answer.into()
    }
}
