//! Operators on other machines.

use crate::fixture::Server;
use handover_identity::{ClientTls, Credentials, KeyPair, ServerAddress};
use handover_proto::v1::{self, OperatorRole, operator_service_client::OperatorServiceClient};
use tonic::transport::Channel;

/// An operator with a certificate.
pub(crate) struct Remote {
    address: ServerAddress,
    tls: ClientTls,
    /// Its certificate's serial number.
    pub(crate) serial: String,
}

impl Remote {
    /// Makes an operator, or gives one that exists one more certificate.
    pub(crate) async fn create(server: &Server, name: &str, role: OperatorRole, services: &[&str]) -> Self {
        let key = KeyPair::generate().unwrap();
        let request = v1::SignOperatorRequest {
            name: name.into(),
            csr_pem: key.csr_pem().unwrap(),
            days: 1,
            role: role.into(),
            services: services.iter().map(|service| (*service).into()).collect(),
        };
        let signed = server.operator().await.sign_operator(request).await.unwrap().into_inner();
        let credentials = Credentials::new(key, &signed.certificate_pem, &signed.ca_pem).unwrap();
        Self {
            address: server.address(),
            tls: ClientTls::new(&credentials).unwrap(),
            serial: credentials.facts().serial.clone(),
        }
    }

    pub(crate) async fn channel(&self) -> Channel {
        handover_identity::connect(&self.address, self.tls.config()).await.unwrap()
    }

    /// A new connection of this operator's.
    pub(crate) async fn client(&self) -> OperatorServiceClient<Channel> {
        OperatorServiceClient::new(self.channel().await)
    }
}
