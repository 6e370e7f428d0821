//! One thing that happened.

use handover_model::{DeploymentId, HostName, InstanceId, ReleaseRef, ServiceName, Timestamp, Version};

/// Longest text of an event, in characters.
const MOST_TEXT: usize = 300;

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal;)*) => {
        /// What kind of thing happened. The names are stable: programs may rest on them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum EventKind {
            $($(#[$doc])* $variant,)*
        }

        impl EventKind {
            /// The name on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

kinds! {
    /// A release was pushed.
    ReleasePushed = "release_pushed";
    /// A deployment began.
    DeploymentCreated = "deployment_created";
    /// The next stage of a deployment began.
    StageEntered = "stage_entered";
    /// A host failed in a deployment.
    HostFailed = "host_failed";
    /// A deployment waits for a person.
    DeploymentPaused = "deployment_paused";
    /// An operator let a paused deployment go on.
    DeploymentResumed = "deployment_resumed";
    /// A deployment waits to be promoted.
    DeploymentHeld = "deployment_held";
    /// An operator let a release go on that waited to be promoted.
    DeploymentPromoted = "deployment_promoted";
    /// Migrations of a release were applied.
    SchemaMigrated = "schema_migrated";
    /// An operator gave a host another attempt.
    HostRetried = "host_retried";
    /// A deployment is taken back.
    RollbackStarted = "rollback_started";
    /// A deployment ended well.
    DeploymentSucceeded = "deployment_succeeded";
    /// A deployment was taken back, and every host is where it was.
    DeploymentRolledBack = "deployment_rolled_back";
    /// A deployment ended, and some hosts are not where they should be.
    DeploymentNeedsPerson = "deployment_needs_person";
    /// A host joined the fleet, or got a new certificate.
    HostEnrolled = "host_enrolled";
    /// A host's session began.
    HostConnected = "host_connected";
    /// A host's session ended.
    HostDisconnected = "host_disconnected";
    /// A host was taken out of the fleet.
    HostRemoved = "host_removed";
    /// A host has a new certificate, by proof of the former one.
    CertificateRenewed = "certificate_renewed";
    /// A host's identity was seen in two places: a copy of it was refused.
    HostCopied = "host_copied";
    /// A host will not work on its target.
    TargetRefused = "target_refused";
    /// An instance is ready.
    InstanceReady = "instance_ready";
    /// An instance fails its liveness probes.
    InstanceUnhealthy = "instance_unhealthy";
    /// An instance ended by itself, or never got ready: it is tried again.
    InstanceFailed = "instance_failed";
    /// An instance is not tried again.
    InstanceGaveUp = "instance_gave_up";
}

/// One thing that happened. What is not known or does not apply is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What.
    pub kind: EventKind,
    /// When, on the server's clock.
    pub at: Timestamp,
    /// To which service.
    pub service: Option<ServiceName>,
    /// Of which release.
    pub version: Option<Version>,
    /// In which deployment.
    pub deployment: Option<DeploymentId>,
    /// On which host.
    pub host: Option<HostName>,
    /// To which instance.
    pub instance: Option<InstanceId>,
    /// Who did it; empty where nobody did.
    pub by: String,
    /// Why, or more of it, for people; empty where there is nothing to say.
    pub text: String,
}

impl Event {
    /// Of this kind, at this moment, about nothing yet.
    #[must_use]
    pub const fn new(kind: EventKind, at: Timestamp) -> Self {
        Self {
            kind,
            at,
            service: None,
            version: None,
            deployment: None,
            host: None,
            instance: None,
            by: String::new(),
            text: String::new(),
        }
    }

    /// About a release.
    #[must_use]
    pub fn release(mut self, release: &ReleaseRef) -> Self {
        self.service = Some(release.service.clone());
        self.version = Some(release.version.clone());
        self
    }

    /// About a deployment.
    #[must_use]
    pub const fn deployment(mut self, deployment: DeploymentId) -> Self {
        self.deployment = Some(deployment);
        self
    }

    /// About a host.
    #[must_use]
    pub fn host(mut self, host: &HostName) -> Self {
        self.host = Some(host.clone());
        self
    }

    /// About an instance.
    #[must_use]
    pub fn instance(mut self, instance: &InstanceId) -> Self {
        self.instance = Some(instance.clone());
        self
    }

    /// Done by somebody.
    #[must_use]
    pub fn by(mut self, by: &str) -> Self {
        self.by = by.chars().take(MOST_TEXT).collect();
        self
    }

    /// With words; what is too long is cut.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        self.text = text.chars().take(MOST_TEXT).collect();
        self
    }
}
