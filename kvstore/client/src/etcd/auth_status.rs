//! Whether a store asks who its clients are: the one call of etcd's API that the client library does not have.

use etcd_client::Error;
use prost::Message;
use tonic::{Request, Status, client::Grpc, codegen::http::uri::PathAndQuery, transport::Channel};
use tonic_prost::ProstCodec;

use super::{ConnectError, connector::Connector};
use crate::config::EtcdConfig;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthStatus {
    pub enabled: bool,
    /// Of users and roles: each change raises it.
    pub revision: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Empty {}

#[derive(Clone, PartialEq, Message)]
struct Authenticate {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    password: String,
}

#[derive(Clone, PartialEq, Message)]
struct Authenticated {
    #[prost(string, tag = "2")]
    token: String,
}

#[derive(Clone, PartialEq, Message)]
struct Answer {
    #[prost(bool, tag = "2")]
    enabled: bool,
    #[prost(uint64, tag = "3")]
    revision: u64,
}

/// Asks the first endpoint that answers.
///
/// # Errors
/// When none does, or it is not for this user to know.
pub async fn auth_status(config: &EtcdConfig) -> Result<AuthStatus, ConnectError> {
    let failed = |source| ConnectError::Setup { endpoints: config.endpoints.clone(), source };
    let channel = Connector::new(config)?.channel();
    ask(channel, config.user()?).await.map_err(|status| failed(Error::GRpcStatus(status)))
}

async fn ask(channel: Channel, user: Option<(String, String)>) -> Result<AuthStatus, Status> {
    let mut grpc = Grpc::new(channel);
    let ready = |error: tonic::transport::Error| Status::unavailable(error.to_string());
    let mut request = Request::new(Empty {});
    if let Some((name, password)) = user {
        grpc.ready().await.map_err(ready)?;
        let (path, codec) = (PathAndQuery::from_static("/etcdserverpb.Auth/Authenticate"), ProstCodec::default());
        let login = Request::new(Authenticate { name, password });
        let got = grpc.unary(login, path, codec).await;
        match got.map(|answer: tonic::Response<Authenticated>| answer.into_inner().token) {
            Ok(token) => {
                let token = token.parse().map_err(|_| Status::internal("the token is not text"))?;
                request.metadata_mut().insert("token", token);
            }
            // Nobody is asked there.
            Err(status) if status.message().contains("authentication is not enabled") => {}
            Err(status) => return Err(status),
        }
    }
    grpc.ready().await.map_err(ready)?;
    let path = PathAndQuery::from_static("/etcdserverpb.Auth/AuthStatus");
    let answer: Answer = grpc.unary(request, path, ProstCodec::default()).await?.into_inner();
    Ok(AuthStatus { enabled: answer.enabled, revision: answer.revision })
}
