//! Calls of the agent: HTTP/1.1 over its socket, one connection each.

use std::io::{Read, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use api::{Config, EndpointChangeRequest, IpamResponse, paths};
use serde::de::DeserializeOwned;

use crate::error::Error;

/// Longer than anything the agent waits for: 5 s for a Pod, 5 s for an identity, 10 s for the datapath.
const TIMEOUT: Duration = Duration::from_secs(30);
/// No answer of the calls below is anywhere near.
const MAX_ANSWER: u64 = 4 << 20;

/// The agent of this node.
pub(crate) struct Agent {
    socket: PathBuf,
}

impl Agent {
    pub(crate) fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    pub(crate) fn config(&self) -> Result<Config, Error> {
        self.json("GET", paths::CONFIG, None)
    }

    /// Whether ADD can work: the agent answers.
    pub(crate) fn status(&self) -> Result<(), Error> {
        self.call("GET", paths::CONFIG, None).map(|_| ())
    }

    pub(crate) fn allocate(&self, owner: &str) -> Result<IpamResponse, Error> {
        self.json("POST", &format!("{}?owner={}", paths::IPAM, encode(owner)), None)
    }

    pub(crate) fn release(&self, ip: IpAddr) -> Result<(), Error> {
        absent_is_done(self.call("DELETE", &format!("{}/{ip}", paths::IPAM), None))
    }

    pub(crate) fn create(&self, id: &str, request: &EndpointChangeRequest) -> Result<(), Error> {
        let body = serde_json::to_vec(request).map_err(Error::Configuration)?;
        self.call("PUT", &format!("{}/{id}", paths::ENDPOINT), Some(&body)).map(|_| ())
    }

    pub(crate) fn endpoint(&self, id: &str) -> Result<api::Endpoint, Error> {
        self.json("GET", &format!("{}/{id}", paths::ENDPOINT), None)
    }

    /// Deletes an endpoint; an unknown one is deleted already.
    pub(crate) fn delete(&self, id: &str) -> Result<(), Error> {
        absent_is_done(self.call("DELETE", &format!("{}/{id}", paths::ENDPOINT), None))
    }

    fn json<T: DeserializeOwned>(&self, method: &str, path: &str, body: Option<&[u8]>) -> Result<T, Error> {
        let bytes = self.call(method, path, body)?;
        let request = format!("{method} {path}");
        serde_json::from_slice(&bytes).map_err(|error| Error::Answer { request, rule: error.to_string() })
    }

    fn call(&self, method: &str, path: &str, body: Option<&[u8]>) -> Result<Vec<u8>, Error> {
        let no_agent = |source| Error::NoAgent { path: self.socket.display().to_string(), source };
        let mut stream = UnixStream::connect(&self.socket).map_err(no_agent)?;
        stream.set_read_timeout(Some(TIMEOUT)).map_err(no_agent)?;
        stream.set_write_timeout(Some(TIMEOUT)).map_err(no_agent)?;
        let body = body.unwrap_or_default();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).map_err(no_agent)?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER).read_to_end(&mut answer).map_err(no_agent)?;
        let bad = |rule: &str| Error::Answer { request: format!("{method} {path}"), rule: rule.to_owned() };
        let (status, body) = parse(&answer).map_err(bad)?;
        if (200..300).contains(&status) {
            return Ok(body.to_vec());
        }
        let message = serde_json::from_slice::<api::Error>(body)
            .map_or_else(|_| format!("the agent answers {status} to {method} {path}"), |error| error.message);
        Err(Error::Refused { status, message })
    }
}

/// Status and body of an answer that ends with its connection.
fn parse(answer: &[u8]) -> Result<(u16, &[u8]), &'static str> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(start) = response.parse(answer).map_err(|_| "it is not HTTP")? else {
        return Err("it ends within its head");
    };
    let status = response.code.ok_or("it has no status")?;
    let length = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|header| std::str::from_utf8(header.value).ok()?.parse::<usize>().ok()).unwrap_or(0);
    answer.get(start..start + length).map(|body| (status, body)).ok_or("it ends within its body")
}

fn absent_is_done(result: Result<Vec<u8>, Error>) -> Result<(), Error> {
    match result {
        Ok(_) | Err(Error::Refused { status: 404, .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Percent-encodes what a query value may not hold as it is (RFC 3986).
fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_whole_or_refused() {
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"), Ok((200, &b"{}"[..])));
        assert_eq!(parse(b"HTTP/1.1 404 Not Found\r\n\r\n"), Ok((404, &b""[..])));
        assert!(parse(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}").is_err());
        assert!(parse(b"HTTP/1.1 200").is_err() && parse(b"\x00").is_err());
    }

    #[test]
    fn query_values_are_encoded() {
        assert_eq!(encode("shop/cart:a b&c"), "shop/cart:a%20b%26c");
    }
}
