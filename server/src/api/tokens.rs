//! Join tokens: made, listed, made worthless.

use super::{
    permit::{Access, Subject},
    request,
};
use crate::fleet::{Refusal, TokenRecord};
use handover_identity::{Ca, JoinToken, ServerAddress, TokenId};
use handover_model::{Duration, HostName};
use handover_proto::v1;
use tonic::Status;

/// Makes a token. `address` is where agents reach the server, where the request says nothing else.
pub(super) async fn create(
    access: &Access,
    ca: &Ca,
    address: &str,
    request: v1::CreateTokenRequest,
) -> Result<v1::CreateTokenResponse, Status> {
    let v1::CreateTokenRequest { ttl_seconds, host, server } = request;
    let host: Option<HostName> = request::parse_optional("host", &host)?;
    let server = if server.is_empty() { address.to_owned() } else { server };
    let server: ServerAddress = request::parse("server", &server)?;
    let token = JoinToken::generate(ca.fingerprint(), server)
        .map_err(|error| Status::from(Refusal::Internal(error.to_string())))?;
    let (id, secret) = (token.claim.id, token.claim.secret.digest());
    let life = Duration::from_secs(ttl_seconds);
    let wanted = host.as_ref().map(|host| format!("for host {host}")).unwrap_or_default();
    let record = access
        .change(Subject::of(format!("token {id}")).detail(wanted), move |desk, _| {
            desk.state.create_token(id, secret, host, life, desk.now, desk.effects)
        })
        .await?;
    Ok(v1::CreateTokenResponse {
        token: token.expose(),
        id: id.to_string(),
        expires_unix_millis: record.expires.unix_millis(),
    })
}

/// All tokens, without their secrets.
pub(super) async fn list(access: &Access) -> Result<v1::ListTokensResponse, Status> {
    let tokens = access.look(|state, _| {
        let token = |(id, token): (&TokenId, &TokenRecord)| v1::Token {
            id: id.to_string(),
            host: token.host.as_ref().map(ToString::to_string).unwrap_or_default(),
            created_unix_millis: token.created.unix_millis(),
            expires_unix_millis: token.expires.unix_millis(),
            used_by: token.used_by.as_ref().map(ToString::to_string).unwrap_or_default(),
        };
        Ok(state.tokens().map(token).collect())
    });
    Ok(v1::ListTokensResponse { tokens: tokens.await? })
}

/// Makes a token worthless.
pub(super) async fn revoke(
    access: &Access,
    request: v1::RevokeTokenRequest,
) -> Result<v1::RevokeTokenResponse, Status> {
    let id: TokenId = request::parse("id", &request.id)?;
    let token = Subject::of(format!("token {id}"));
    access.change(token, move |desk, _| desk.state.revoke_token(id, desk.effects)).await?;
    Ok(v1::RevokeTokenResponse {})
}
