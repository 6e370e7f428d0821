//! Each kind of caller against each row of the table.

use super::*;
use crate::{
    api::permissions::{Scope, TABLE},
    fleet::{CertificateRecord, OperatorRecord, RevocationRecord, Role},
};
use std::collections::{BTreeMap, BTreeSet};

const NOW: Timestamp = Timestamp::from_unix_millis(1_700_000_000_000);
const LOCALS: Locals = Locals { own: 1000, group: false };

fn operator(name: &str) -> Caller {
    Caller::Operator {
        name: name.parse().unwrap(),
        serial: format!("serial-of-{name}"),
        expires: NOW + Duration::from_secs(1),
    }
}

fn record(name: &str, role: Role) -> OperatorRecord {
    let certificate = CertificateRecord { serial: format!("serial-of-{name}"), issued: NOW, expires: NOW };
    OperatorRecord {
        grant: Grant { role, services: BTreeSet::new() },
        created: NOW,
        created_by: "uid:0 (root)".into(),
        certificates: vec![certificate],
        revoked: None,
    }
}

/// An operator of each role, and one who is revoked.
fn roster() -> Roster {
    let mut roster: BTreeMap<_, _> = Role::ALL
        .into_iter()
        .map(|role| (role.as_str().parse().unwrap(), record(role.as_str(), role)))
        .collect();
    let revocation = RevocationRecord { at: NOW, by: "ada".into(), reason: String::new() };
    let revoked = OperatorRecord { revoked: Some(revocation), ..record("revoked", Role::Admin) };
    roster.insert("revoked".parse().unwrap(), revoked);
    Arc::new(roster)
}

/// `None` where the caller may, else the reason why not.
fn refused(rule: &Rule, caller: &Caller) -> Option<String> {
    let status = authorise(rule, caller, &roster(), LOCALS, NOW).err()?;
    Some(status::Refusal::of(&status).unwrap().reason.to_string())
}

#[test]
fn every_role_may_call_what_is_its_and_nothing_else() {
    for rule in TABLE {
        for role in Role::ALL {
            let expected = match rule.permission {
                Permission::Anyone => None,
                Permission::Agent | Permission::Local => Some("NOT_AUTHORISED"),
                Permission::Operator(least, _) => (role < least).then_some("NOT_AUTHORISED"),
            };
            let found = refused(rule, &operator(role.as_str()));
            assert_eq!(found.as_deref(), expected, "{} as {role}", rule.path);
        }
    }
}

#[test]
fn what_each_role_may_call_is_this_and_a_change_of_it_is_seen() {
    let may = |role: Role| -> Vec<&str> {
        let operators = |rule: &&Rule| matches!(rule.permission, Permission::Operator(..));
        let allowed = |rule: &&Rule| refused(rule, &operator(role.as_str())).is_none();
        TABLE.iter().filter(operators).filter(allowed).map(Rule::method).collect()
    };
    let (viewer, deployer) = (may(Role::Viewer), may(Role::Deployer));
    assert!(
        viewer.iter().all(|method| ["Get", "List", "Watch", "Plan", "Explain", "Read", "Preview"]
            .iter()
            .any(|verb| method.starts_with(verb))),
        "{viewer:?}"
    );
    assert!(viewer.iter().all(|method| deployer.contains(method)));
    for admins in ["Token", "Operator", "Audit", "UpdateHost", "RemoveHost", "Backup"] {
        assert!(!deployer.iter().any(|method| method.contains(admins)), "{admins} in {deployer:?}");
    }
    for deployers in ["CreateRelease", "CreateDeployment", "AbortDeployment", "UploadBundle", "Lock"] {
        assert!(deployer.contains(&deployers) && !viewer.contains(&deployers), "{deployers}");
    }
}

#[test]
fn a_viewer_changes_nothing_and_whatever_changes_something_is_audited() {
    for rule in TABLE {
        if let (Permission::Operator(Role::Viewer, _), Kind::Changes) = (rule.permission, rule.kind) {
            panic!("{} changes something and is open to viewers", rule.path);
        }
        let reads = [
            "Get", "List", "Watch", "Plan", "Explain", "Verify", "Read", "Preview", "Session", "Fetch",
            "Send",
        ];
        let reads = reads.iter().any(|verb| rule.method().starts_with(verb));
        assert_eq!(rule.kind == Kind::Reads, reads, "{}", rule.path);
    }
}

#[test]
fn what_is_of_a_service_says_so() {
    for rule in TABLE {
        let Permission::Operator(_, scope) = rule.permission else { continue };
        let of_services = ["Deployment", "Release"].iter().any(|noun| rule.method().contains(noun));
        assert!(!of_services || scope != Scope::Fleet, "{}", rule.path);
    }
}

#[test]
fn strangers_agents_and_those_who_were_revoked_get_nothing_of_operators() {
    let agent = Caller::Agent { host: "a".parse().unwrap(), serial: "1".into() };
    let forged = Caller::Operator {
        name: "admin".parse().unwrap(),
        serial: "another".into(),
        expires: NOW + Duration::from_secs(1),
    };
    let Caller::Operator { name, serial, .. } = operator("admin") else { unreachable!() };
    let late = Caller::Operator { name, serial, expires: NOW };
    for rule in TABLE {
        let (of_operators, of_agents) = match rule.permission {
            Permission::Anyone => (false, false),
            Permission::Agent => (false, true),
            Permission::Operator(..) | Permission::Local => (true, false),
        };
        let expected = |reason: &'static str| of_operators.then_some(reason);
        assert_eq!(refused(rule, &agent).as_deref(), expected("NOT_AUTHORISED"), "{}", rule.path);
        if of_agents {
            assert_eq!(refused(rule, &Caller::Nobody).as_deref(), Some("NO_CERTIFICATE"));
            continue;
        }
        assert_eq!(refused(rule, &Caller::Nobody).as_deref(), expected("NO_CERTIFICATE"), "{}", rule.path);
        assert_eq!(refused(rule, &operator("revoked")).as_deref(), expected("REVOKED"), "{}", rule.path);
        for unknown in [&forged, &operator("unheard")] {
            assert_eq!(refused(rule, unknown).as_deref(), expected("CERTIFICATE_UNKNOWN"), "{}", rule.path);
        }
        assert_eq!(refused(rule, &late).as_deref(), expected("CERTIFICATE_EXPIRED"), "{}", rule.path);
    }
}

#[test]
fn over_the_unix_socket_root_and_the_servers_user_are_admins_and_others_only_by_the_group() {
    for method in ["RemoveHost", "Backup"] {
        let rule = Rule::of(&format!("/handover.v1.OperatorService/{method}")).unwrap();
        let admin = |uid, group| {
            authorise(rule, &Caller::Local { uid }, &roster(), Locals { own: 1000, group }, NOW).is_ok()
        };
        assert!(admin(0, false) && admin(1000, false));
        assert!(!admin(1001, false));
        assert!(admin(1001, true), "the kernel let a member of the group in");
    }
}
