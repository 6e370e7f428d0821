//! The layer around every call: finds out who calls, asks the table, ends what may not go on, and tells the audit of what
//! was refused.

use super::{
    caller::{self, Caller},
    ending::{self, Ended, Ending, ended},
    permissions::{Kind, Permission, Rule},
    permit::{About, Operator, Permit},
};
use crate::{
    audit::{Deed, OK},
    fleet::{Fleet, Grant, Refusal, Role, Roster, granted},
};
use handover_identity::wall_clock;
use handover_model::{Duration, Timestamp};
use handover_proto::status::{self, Reason, refuse};
use std::{
    sync::Arc,
    task::{Context, Poll},
};
use tonic::{
    Code, Status,
    body::Body,
    codegen::http::{self, Response},
};
use tower::{Layer, Service};

/// What a call may still take to its answer when its operator was revoked: an answer that is being made is not taken
/// back, an upload is.
const GRACE: Duration = Duration::from_secs(2);

/// Which users of the server's machine are admins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Locals {
    /// The server's own user.
    pub own: u32,
    /// Whether the socket belongs to a group of admins: then the kernel has checked who could connect.
    pub group: bool,
}

/// Who calls, if it is an operator, where the table lets them.
///
/// # Errors
/// `NO_CERTIFICATE` where one is needed and there is none; `NOT_AUTHORISED`, `REVOKED`, `CERTIFICATE_UNKNOWN` or
/// `CERTIFICATE_EXPIRED` otherwise.
pub fn authorise(
    rule: &Rule,
    caller: &Caller,
    roster: &Roster,
    locals: Locals,
    now: Timestamp,
) -> Result<Option<Grant>, Status> {
    let role = match (rule.permission, caller) {
        (Permission::Anyone, _) | (Permission::Agent, Caller::Agent { .. }) => return Ok(None),
        (Permission::Agent, Caller::Operator { .. } | Caller::Local { .. }) => {
            return Err(refuse(Reason::NotAuthorised, "only agents make this call", ""));
        }
        (Permission::Agent, Caller::Nobody) => {
            return Err(no_certificate("enrol the host first: `handover-agent join`"));
        }
        (Permission::Operator(..) | Permission::Local, Caller::Nobody) => {
            return Err(no_certificate(
                "on the server's machine use its Unix socket; from elsewhere a certificate made with `handover operator create`",
            ));
        }
        (Permission::Operator(..) | Permission::Local, Caller::Agent { .. }) => {
            let what = "an agent may speak for its host only, not as an operator";
            return Err(refuse(Reason::NotAuthorised, what, ""));
        }
        (Permission::Operator(role, _), Caller::Operator { .. } | Caller::Local { .. }) => role,
        (Permission::Local, Caller::Local { .. }) => Role::Admin,
        (Permission::Local, Caller::Operator { .. }) => {
            // Who was revoked hears that first.
            grant(caller, roster, locals, now)?;
            return Err(refuse(
                Reason::NotAuthorised,
                "this is done on the server's own machine only",
                "log in there and use its Unix socket",
            ));
        }
    };
    let grant = grant(caller, roster, locals, now)?;
    if grant.role < role {
        let why = format!("it needs the role {role}, and this operator is a {}", grant.role);
        return Err(Refusal::NotAllowed { who: caller.title(), why }.into());
    }
    Ok(Some(grant))
}

fn no_certificate(hint: &str) -> Status {
    refuse(Reason::NoCertificate, "this call needs a client certificate", hint)
}

/// What an operator may do.
fn grant(caller: &Caller, roster: &Roster, locals: Locals, now: Timestamp) -> Result<Grant, Status> {
    match caller {
        Caller::Operator { name, expires, .. } if *expires <= now => Err(ending::expired(name.as_str())),
        Caller::Operator { name, serial, .. } => Ok(granted(roster, name, serial)?.clone()),
        Caller::Local { uid } if *uid == 0 || *uid == locals.own || locals.group => Ok(Grant::everything()),
        Caller::Local { .. } => Err(refuse(
            Reason::NotAuthorised,
            format!(
                "{} is no operator: over the Unix socket only root and the server's own user are",
                caller.title()
            ),
            "start the server with an admin_group (--admin-group, or in its server.toml), or take a certificate made with `handover operator create`",
        )),
        Caller::Agent { .. } | Caller::Nobody => Err(no_certificate("")),
    }
}

/// Puts the table before every service.
#[derive(Clone, Debug)]
pub struct AuthoriseLayer {
    fleet: Fleet,
    locals: Locals,
}

impl AuthoriseLayer {
    /// For this fleet.
    #[must_use]
    pub const fn new(fleet: Fleet, locals: Locals) -> Self {
        Self { fleet, locals }
    }
}

impl<S> Layer<S> for AuthoriseLayer {
    type Service = Authorised<S>;

    fn layer(&self, inner: S) -> Authorised<S> {
        Authorised { inner, fleet: self.fleet.clone(), locals: self.locals }
    }
}

/// A service behind the table.
#[derive(Clone, Debug)]
pub struct Authorised<S> {
    inner: S,
    fleet: Fleet,
    locals: Locals,
}

type Answer<E> = std::pin::Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>;

impl<S, B> Service<http::Request<B>> for Authorised<S>
where
    S: Service<http::Request<B>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Answer<S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<B>) -> Self::Future {
        let Some(rule) = Rule::of(request.uri().path()) else {
            let status = Status::unimplemented("this server has no such call: it is of another version");
            return Box::pin(std::future::ready(Ok(status.into_http())));
        };
        let caller = Caller::of(request.extensions());
        let from = caller::origin(request.extensions());
        let allowed = authorise(rule, &caller, &self.fleet.roster().borrow(), self.locals, wall_clock());
        let role = match &allowed {
            Ok(Some(grant)) => grant.role.as_str(),
            Ok(None) | Err(_) => "none",
        };
        let about = About::default();
        let record = Record { fleet: self.fleet.clone(), rule, deed: caller.deed(role, &from), about };
        match allowed {
            Ok(None) => {
                request.extensions_mut().insert(caller);
                let answer = self.inner.call(request);
                Box::pin(async move { Ok(record.told(answer.await?)) })
            }
            Ok(Some(grant)) => {
                // What bounds calls counts by it.
                request.extensions_mut().insert(caller.clone());
                let operator = Arc::new(Operator { caller, grant, from });
                let permit =
                    Permit::new(self.fleet.clone(), Arc::clone(&operator), rule, record.about.clone());
                request.extensions_mut().insert(permit);
                let answer = self.inner.call(request);
                let ends = || ended(&self.fleet, Arc::clone(&operator));
                let (before, behind) = (ends(), ends());
                Box::pin(async move {
                    let answer = record.told(in_time(answer, before).await?);
                    Ok(answer.map(|body| Body::new(Ending::new(body, behind))))
                })
            }
            Err(status) => {
                tracing::debug!(path = rule.path, ?caller, "call refused");
                Box::pin(std::future::ready(Ok(record.told(status.into_http()))))
            }
        }
    }
}

/// The answer; where the operator is revoked before it comes, a moment is waited for it.
async fn in_time<E>(
    answer: impl Future<Output = Result<Response<Body>, E>>,
    ended: Ended,
) -> Result<Response<Body>, E> {
    let mut answer = std::pin::pin!(answer);
    let status = tokio::select! {
        answer = &mut answer => return answer,
        status = ended => status,
    };
    match tokio::time::timeout(GRACE, answer).await {
        Ok(answer) => answer,
        Err(_) => Ok(status.into_http()),
    }
}

/// What the audit is told of a call, where its handler did not tell it.
struct Record {
    fleet: Fleet,
    rule: &'static Rule,
    deed: Deed,
    about: About,
}

impl Record {
    /// Tells of a call that was refused.
    fn told(self, answer: Response<Body>) -> Response<Body> {
        if self.rule.kind == Kind::Reads || self.about.told() {
            return answer;
        }
        let (outcome, detail) = match Status::from_header_map(answer.headers()) {
            Some(status) if status.code() != Code::Ok => {
                let refusal = status::Refusal::of(&status);
                let reason = refusal.map(|refusal| refusal.reason.as_str().to_owned());
                (reason.unwrap_or_else(|| format!("{:?}", status.code())), status.message().to_owned())
            }
            // An agent's or a token's: its handler writes it down by itself.
            Some(_) | None if matches!(self.rule.permission, Permission::Anyone | Permission::Agent) => {
                return answer;
            }
            Some(_) | None => {
                tracing::error!(path = self.rule.path, "a change was not written into the audit");
                (OK.to_owned(), String::new())
            }
        };
        self.fleet.refused(self.about.deed(self.deed, self.rule, &outcome, &detail));
        answer
    }
}

#[cfg(test)]
mod tests;
