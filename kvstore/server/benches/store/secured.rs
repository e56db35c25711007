//! What TLS and users cost: the same puts and ranges, by connections that are encrypted, and by a user with a token.

use anyhow::{Context, Result};
use bytes::Bytes;
use kvstore_server::pb::etcdserverpb as pb;
use prost::Message;

use crate::client::{Client, put};
use crate::h2load::{self, Load, Place, Shape};
use crate::report::{compare, pairs};
use crate::server::{Entry, Server, Side};

const MANY: Shape = Shape { connections: 10, streams: 100, requests: 100_000, rate: 0 };
const ONE: Shape = Shape { connections: 1, streams: 1, requests: 2_000, rate: 0 };
const KEY: [u8; 32] = [b'k'; 32];
const ROOT: &str = "root";

pub(crate) fn run() -> Result<()> {
    let written = put(&KEY, &[b'v'; 256], 0);
    let read = pb::RangeRequest { key: Bytes::from_static(&KEY), ..Default::default() };
    for (entry, how) in [(Entry::Tls, "over TLS"), (Entry::Plain, "by a user with a token")] {
        row(entry, &format!("put {how}, 10 x 100"), "Put", &written, MANY)?;
        row(entry, &format!("linearizable range {how}, 10 x 100"), "Range", &read, MANY)?;
        row(entry, &format!("put {how}, one client"), "Put", &written, ONE)?;
    }
    Ok(())
}

fn row(entry: Entry, name: &str, method: &str, message: &impl Message, shape: Shape) -> Result<()> {
    let (mut cpu, mut waited) = (Vec::new(), Vec::new());
    for round in 0..pairs().min(3) {
        let order = if round % 2 == 0 { [Side::Etcd, Side::Ours] } else { [Side::Ours, Side::Etcd] };
        let first = take(order[0], entry, method, message, shape)?;
        let second = take(order[1], entry, method, message, shape)?;
        let (etcd, ours) = if round % 2 == 0 { (first, second) } else { (second, first) };
        cpu.push((etcd.0, ours.0));
        waited.push((etcd.1.p50_ms, ours.1.p50_ms));
    }
    compare(&format!("{name}: server CPU a request"), "us", None, &cpu)?;
    compare(&format!("{name}: p50"), "ms", None, &waited)
}

fn take(side: Side, entry: Entry, method: &str, message: &impl Message, shape: Shape) -> Result<(f64, Load)> {
    let server = Server::start_by(side, entry)?;
    let token = if entry == Entry::Tls { None } else { Some(with_users(&server)?) };
    let place = Place { port: server.port, tls: entry == Entry::Tls, token: token.as_deref() };
    h2load::run_at(place, "/etcdserverpb.KV/Put", &put(&KEY, &[b'v'; 256], 0), ONE)?;
    let before = server.cpu()?;
    let load = h2load::run_at(place, &format!("/etcdserverpb.KV/{method}"), message, shape)?;
    let cpu = server.cpu()? - before;
    Ok((cpu.as_secs_f64() * 1e6 / f64::from(shape.requests), load))
}

/// From here on the server asks who comes: a token for one who may everything.
fn with_users(server: &Server) -> Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = Client::connect(&server.url()).await?;
        let (name, password) = (ROOT.to_owned(), "secret".to_owned());
        let user = pb::AuthUserAddRequest { name: name.clone(), password: password.clone(), ..Default::default() };
        client.ask::<pb::AuthUserAddResponse>("/etcdserverpb.Auth/UserAdd", &user).await?;
        let role = pb::AuthRoleAddRequest { name: name.clone() };
        client.ask::<pb::AuthRoleAddResponse>("/etcdserverpb.Auth/RoleAdd", &role).await?;
        let grant = pb::AuthUserGrantRoleRequest { user: name.clone(), role: name.clone() };
        client.ask::<pb::AuthUserGrantRoleResponse>("/etcdserverpb.Auth/UserGrantRole", &grant).await?;
        client.ask::<pb::AuthEnableResponse>("/etcdserverpb.Auth/AuthEnable", &pb::AuthEnableRequest {}).await?;
        let login = pb::AuthenticateRequest { name, password };
        let given: pb::AuthenticateResponse =
            client.ask("/etcdserverpb.Auth/Authenticate", &login).await.context("log in")?;
        Ok(given.token)
    })
}
