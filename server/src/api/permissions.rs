//! Who may call what: one table. A call that does not stand in it is refused, whoever makes it.
//!
//! A new call of the protocol gets a row here (a test fails until it has one); its handler gets at the fleet only through
//! the [`Permit`](super::permit::Permit) that fits the row's scope.

use crate::fleet::Role;

/// Whom a call is open to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Everybody who reaches the server; the call checks a join token by itself.
    Anyone,
    /// Agents, each for itself.
    Agent,
    /// Operators with at least this role, within this scope.
    Operator(Role, Scope),
    /// Admins on the server's own machine, over the Unix socket: what is given out can speak for the fleet.
    Local,
}

/// What a call is about, and with that what an operator's limit to services means for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The fleet as a whole: a limit to services means nothing.
    Fleet,
    /// One service, which the message names itself or by a deployment's number: it must be one of the operator's.
    Service,
    /// A list, or what has a list in it: cut down to the operator's services. A service that the message names must be
    /// one of them.
    Filtered,
}

/// What a call leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Reads,
    /// Something, so that it stands in the audit, done or refused.
    Changes,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The call as its path in HTTP: `/package.Service/Method`.
    pub path: &'static str,
    /// Whom it is open to.
    pub permission: Permission,
    /// What it leaves behind.
    pub kind: Kind,
}

impl Rule {
    /// The row of this call.
    #[must_use]
    pub fn of(path: &str) -> Option<&'static Self> {
        TABLE.iter().find(|rule| rule.path == path)
    }

    /// The call's name, without its package and service.
    #[must_use]
    pub fn method(&self) -> &'static str {
        self.path.rsplit('/').next().unwrap_or(self.path)
    }
}

macro_rules! operators {
    ($method:literal, $role:ident, $scope:ident, $kind:ident) => {
        Rule {
            path: concat!("/handover.v1.OperatorService/", $method),
            permission: Permission::Operator(Role::$role, Scope::$scope),
            kind: Kind::$kind,
        }
    };
}

/// Every call of the protocol. A test compares it with the protocol's descriptor.
pub const TABLE: &[Rule] = &[
    Rule { path: "/handover.v1.EnrolmentService/Enrol", permission: Permission::Anyone, kind: Kind::Changes },
    Rule { path: "/handover.v1.AgentService/Session", permission: Permission::Agent, kind: Kind::Reads },
    Rule { path: "/handover.v1.AgentService/FetchBundle", permission: Permission::Agent, kind: Kind::Reads },
    Rule { path: "/handover.v1.AgentService/SendLogs", permission: Permission::Agent, kind: Kind::Reads },
    Rule { path: "/handover.v1.AgentService/SendOutcome", permission: Permission::Agent, kind: Kind::Reads },
    Rule { path: "/handover.v1.AgentService/Renew", permission: Permission::Agent, kind: Kind::Changes },
    operators!("GetServer", Viewer, Fleet, Reads),
    // A copy of everything leaves the server: told like a change.
    Rule { path: "/handover.v1.OperatorService/Backup", permission: Permission::Local, kind: Kind::Changes },
    operators!("CreateToken", Admin, Fleet, Changes),
    operators!("ListTokens", Admin, Fleet, Reads),
    operators!("RevokeToken", Admin, Fleet, Changes),
    operators!("SignOperator", Admin, Fleet, Changes),
    operators!("ListOperators", Admin, Fleet, Reads),
    operators!("UpdateOperator", Admin, Fleet, Changes),
    operators!("RevokeOperator", Admin, Fleet, Changes),
    operators!("ListAudit", Admin, Fleet, Reads),
    operators!("VerifyAudit", Admin, Fleet, Reads),
    operators!("ListHosts", Viewer, Filtered, Reads),
    operators!("GetHost", Viewer, Filtered, Reads),
    operators!("UpdateHost", Admin, Fleet, Changes),
    operators!("RemoveHost", Admin, Fleet, Changes),
    // A bundle is of no service until a release names it; who may make that is asked then.
    operators!("GetUpload", Deployer, Fleet, Reads),
    operators!("UploadBundle", Deployer, Fleet, Changes),
    operators!("CreateRelease", Deployer, Service, Changes),
    operators!("ListReleases", Viewer, Filtered, Reads),
    operators!("GetRelease", Viewer, Service, Reads),
    operators!("ListServices", Viewer, Filtered, Reads),
    operators!("WatchServices", Viewer, Filtered, Reads),
    operators!("PlanDeployment", Viewer, Service, Reads),
    operators!("CreateDeployment", Deployer, Service, Changes),
    operators!("GetDeployment", Viewer, Service, Reads),
    operators!("ListDeployments", Viewer, Filtered, Reads),
    operators!("WatchDeployment", Viewer, Service, Reads),
    operators!("AbortDeployment", Deployer, Service, Changes),
    operators!("PauseDeployment", Deployer, Service, Changes),
    operators!("PromoteDeployment", Deployer, Service, Changes),
    operators!("ResumeDeployment", Deployer, Service, Changes),
    operators!("RetryDeployment", Deployer, Service, Changes),
    operators!("ExplainDeployment", Viewer, Service, Reads),
    operators!("Lock", Deployer, Service, Changes),
    operators!("Unlock", Deployer, Service, Changes),
    operators!("Freeze", Deployer, Service, Changes),
    operators!("Unfreeze", Deployer, Service, Changes),
    operators!("ListFreezes", Viewer, Filtered, Reads),
    operators!("Preview", Viewer, Service, Reads),
    operators!("RunPreview", Deployer, Service, Changes),
    operators!("ListRehearsals", Viewer, Service, Reads),
    operators!("ListBlocks", Viewer, Service, Reads),
    operators!("WatchEvents", Viewer, Filtered, Reads),
    operators!("ReadLogs", Viewer, Service, Reads),
];

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;
    use std::{collections::BTreeSet, fmt::Write as _};

    #[test]
    fn every_call_of_the_protocol_stands_in_the_table_once() {
        let descriptors = prost_types::FileDescriptorSet::decode(handover_proto::v1::DESCRIPTORS).unwrap();
        let mut calls = BTreeSet::new();
        for file in &descriptors.file {
            for service in &file.service {
                for method in &service.method {
                    calls.insert(format!("/{}.{}/{}", file.package(), service.name(), method.name()));
                }
            }
        }
        let table: BTreeSet<String> = TABLE.iter().map(|rule| rule.path.to_owned()).collect();
        assert_eq!(table.len(), TABLE.len(), "a call stands twice in the table");
        assert_eq!(table, calls);
    }

    /// The page for operators, as `docs/permissions.md` has it.
    fn page() -> String {
        let mut page = String::from(
            "# Who may call what\n\n\
             Written from the table in `server/src/api/permissions.rs`; a test compares the two.\n\n\
             An operator who is limited to services may call what is *of a service* for those services only, sees of *lists*\n\
             only what is of those services, and has no limit in what is of the *fleet*. An admin is never limited.\n\
             Calls marked *audit* stand in the audit, done or refused.\n\n\
             | call | who | of | audit |\n| --- | --- | --- | --- |\n",
        );
        for rule in TABLE {
            let (who, of) = match rule.permission {
                Permission::Anyone => ("anyone with a join token", "host"),
                Permission::Agent => ("agents, each for its host", "host"),
                Permission::Local => ("admin, on the server's machine", "fleet"),
                Permission::Operator(role, scope) => (
                    match role {
                        Role::Viewer => "viewer, deployer, admin",
                        Role::Deployer => "deployer, admin",
                        Role::Admin => "admin",
                    },
                    match scope {
                        Scope::Fleet => "fleet",
                        Scope::Service => "service",
                        Scope::Filtered => "list",
                    },
                ),
            };
            let audit = match rule.kind {
                Kind::Reads => "",
                Kind::Changes => "audit",
            };
            writeln!(page, "| {} | {who} | {of} | {audit} |", rule.method()).unwrap();
        }
        page
    }

    #[test]
    fn the_page_for_operators_says_what_the_table_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/permissions.md");
        if std::env::var_os("HANDOVER_WRITE_DOCS").is_some() {
            std::fs::write(path, page()).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(written, page(), "HANDOVER_WRITE_DOCS=1 with this test writes the page anew");
    }
}
