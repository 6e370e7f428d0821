//! Tokens and identities over the wire: what is wrong gets a clear answer and changes nothing.

use crate::{
    fixture::{Agent, Server, reason},
    remote::Remote,
};
use handover_identity::pinned_client_config;
use handover_proto::v1::{
    self, agent_service_client::AgentServiceClient, operator_service_client::OperatorServiceClient,
};

#[tokio::test]
async fn a_token_that_is_not_good_enrols_nobody() {
    let (server, other) = (Server::start(), Server::start());
    let refused =
        async |token, host| Agent::enrol_with(&server, host, token).await.err().as_ref().map(reason);
    let token = server.token("").await;
    assert_eq!(refused(&token, "a").await, None);
    assert_eq!(refused(&token, "b").await.as_deref(), Some("TOKEN_USED"));
    let own = server.token("c").await;
    assert_eq!(refused(&own, "b").await.as_deref(), Some("TOKEN_FOR_OTHER_HOST"));
    let mut foreign = other.token("").await;
    foreign.ca_fingerprint = token.ca_fingerprint;
    assert_eq!(refused(&foreign, "b").await.as_deref(), Some("TOKEN_INVALID"));
    let open = server.token("").await;
    assert_eq!(refused(&open, "a").await.as_deref(), Some("HOST_EXISTS"));
    let revoke = v1::RevokeTokenRequest { id: open.claim.id.to_string() };
    server.operator().await.revoke_token(revoke).await.unwrap();
    assert_eq!(refused(&open, "b").await.as_deref(), Some("TOKEN_INVALID"));
    let hosts = server.operator().await.list_hosts(v1::ListHostsRequest {}).await.unwrap().into_inner().hosts;
    assert_eq!(hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>(), ["a"]);
}

#[tokio::test]
async fn a_token_is_used_also_after_a_crash() {
    let mut server = Server::start();
    let token = server.token("").await;
    Agent::enrol_with(&server, "a", &token).await.unwrap();
    server.crash_and_start_again();
    let refused = Agent::enrol_with(&server, "b", &token).await.err().unwrap();
    assert_eq!(reason(&refused), "TOKEN_USED");
}

#[tokio::test]
async fn without_a_certificate_only_enrolment_is_open() {
    let server = Server::start();
    let tls = pinned_client_config(server.ca.parse().unwrap()).unwrap();
    let channel = handover_identity::connect(&server.address(), tls).await.unwrap();
    let refused =
        OperatorServiceClient::new(channel.clone()).list_hosts(v1::ListHostsRequest {}).await.unwrap_err();
    assert_eq!(reason(&refused), "NO_CERTIFICATE");
    let refused = AgentServiceClient::new(channel).session(tokio_stream::empty()).await.unwrap_err();
    assert_eq!(reason(&refused), "NO_CERTIFICATE");
}

#[tokio::test]
async fn an_agent_is_no_operator_and_an_operator_no_agent() {
    let server = Server::start();
    let agent = Agent::enrol(&server, "a").await;
    let mut as_operator = OperatorServiceClient::new(agent.channel().await);
    let refused = as_operator.list_hosts(v1::ListHostsRequest {}).await.unwrap_err();
    assert_eq!(reason(&refused), "NOT_AUTHORISED");

    let alice = Remote::create(&server, "alice", v1::OperatorRole::Viewer, &[]).await;
    let channel = alice.channel().await;
    let mut operator = OperatorServiceClient::new(channel.clone());
    assert_eq!(operator.list_hosts(v1::ListHostsRequest {}).await.unwrap().into_inner().hosts.len(), 1);
    let refused = AgentServiceClient::new(channel).session(tokio_stream::empty()).await.unwrap_err();
    assert_eq!(reason(&refused), "NOT_AUTHORISED");
}
