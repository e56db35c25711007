//! gRPC's reflection: which services there are, and what their messages look like, for clients such as grpcurl.
//!
//! Source: grpc/reflection/v1/reflection.proto; v1alpha has the same messages under another name.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::LazyLock,
    task::{Context, Poll},
};

use bytes::Bytes;
use prost::Message;
use tokio_stream::{Stream, StreamExt};
use tonic::{Code, Request, Response, Status, Streaming};

use super::{grpc::decode, unary::SERVICES};
use crate::pb::DESCRIPTORS;

pub(super) const METHODS: [&str; 2] = [
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

#[derive(Clone, PartialEq, Message)]
struct Asked {
    #[prost(string, tag = "1")]
    host: String,
    #[prost(oneof = "Question", tags = "3, 4, 5, 6, 7")]
    question: Option<Question>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Question {
    #[prost(string, tag = "3")]
    File(String),
    #[prost(string, tag = "4")]
    Symbol(String),
    /// No message here can be extended.
    #[prost(message, tag = "5")]
    Extension(()),
    #[prost(string, tag = "6")]
    Extensions(String),
    #[prost(string, tag = "7")]
    Services(String),
}

#[derive(Clone, PartialEq, Message)]
struct Answered {
    #[prost(string, tag = "1")]
    valid_host: String,
    #[prost(message, optional, tag = "2")]
    original_request: Option<Asked>,
    #[prost(oneof = "Answer", tags = "4, 6, 7")]
    answer: Option<Answer>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Answer {
    #[prost(message, tag = "4")]
    Files(Files),
    #[prost(message, tag = "6")]
    Services(Services),
    #[prost(message, tag = "7")]
    Error(Refused),
}

#[derive(Clone, PartialEq, Message)]
struct Files {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    descriptors: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
struct Services {
    #[prost(message, repeated, tag = "1")]
    services: Vec<Service>,
}

#[derive(Clone, PartialEq, Message)]
struct Service {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct Refused {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    text: String,
}

/// Files by name, and the file of each symbol.
#[derive(Default)]
struct Index {
    files: HashMap<String, prost_types::FileDescriptorProto>,
    symbols: HashMap<String, String>,
}

static INDEX: LazyLock<Index> = LazyLock::new(Index::new);

pub(super) struct Reflecting;

// === impl Index ===

impl Index {
    fn new() -> Self {
        let mut index = Self::default();
        // They are of our own build; a test looks into them.
        let set = prost_types::FileDescriptorSet::decode(DESCRIPTORS).unwrap_or_default();
        for file in set.file {
            let (name, package) = (file.name().to_owned(), file.package().to_owned());
            let mut symbols: Vec<String> = Vec::new();
            for message in &file.message_type {
                symbols.push(format!("{package}.{}", message.name()));
                let inner = message.nested_type.iter().map(|inner| inner.name());
                let inner = inner.chain(message.enum_type.iter().map(|inner| inner.name()));
                symbols.extend(inner.map(|inner| format!("{package}.{}.{inner}", message.name())));
            }
            symbols.extend(file.enum_type.iter().map(|one| format!("{package}.{}", one.name())));
            for service in &file.service {
                symbols.push(format!("{package}.{}", service.name()));
                symbols.extend(service.method.iter().map(|m| format!("{package}.{}.{}", service.name(), m.name())));
            }
            index.symbols.extend(symbols.into_iter().map(|symbol| (symbol, name.clone())));
            index.files.insert(name, file);
        }
        index
    }

    /// A file, with all that it imports.
    fn files(&self, name: &str) -> Option<Files> {
        let mut names = vec![name.to_owned()];
        let mut at = 0;
        while let Some(file) = names.get(at).and_then(|name| self.files.get(name)) {
            let new: Vec<String> = file.dependency.iter().filter(|name| !names.contains(name)).cloned().collect();
            names.extend(new);
            at += 1;
        }
        let descriptors: Option<Vec<Bytes>> =
            names.iter().map(|name| self.files.get(name).map(|file| file.encode_to_vec().into())).collect();
        Some(Files { descriptors: descriptors? })
    }

    fn answer(&self, question: Option<&Question>) -> Answer {
        let refuse = |code: Code, text: String| Answer::Error(Refused { code: code as i32, text });
        match question {
            Some(Question::Services(_)) => {
                let services = SERVICES.iter().map(|name| Service { name: (*name).to_owned() }).collect();
                Answer::Services(Services { services })
            }
            Some(Question::File(name)) => self
                .files(name)
                .map_or_else(|| refuse(Code::NotFound, format!("there is no file {name:?}")), Answer::Files),
            Some(Question::Symbol(symbol)) => {
                let files = self.symbols.get(symbol).and_then(|name| self.files(name));
                files.map_or_else(|| refuse(Code::NotFound, format!("there is no symbol {symbol:?}")), Answer::Files)
            }
            Some(Question::Extension(()) | Question::Extensions(_)) => {
                refuse(Code::NotFound, "no message here can be extended".to_owned())
            }
            None => refuse(Code::InvalidArgument, "nothing is asked".to_owned()),
        }
    }
}

impl tower_service::Service<Request<Streaming<Bytes>>> for Reflecting {
    type Response = Response<Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>>;
    type Error = Status;
    type Future = std::future::Ready<Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let answers = request.into_inner().map(|raw| {
            let asked: Asked = decode(&raw?)?;
            let answer = Some(INDEX.answer(asked.question.as_ref()));
            let answered = Answered { valid_host: asked.host.clone(), original_request: Some(asked), answer };
            Ok(Bytes::from(answered.encode_to_vec()))
        });
        std::future::ready(Ok(Response::new(Box::pin(answers))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is listed can be described, but for reflection itself, and what is described is listed.
    #[test]
    fn every_service_is_described_with_all_that_it_imports() {
        for service in SERVICES.iter().filter(|name| !name.starts_with("grpc.reflection.")) {
            let Answer::Files(files) = INDEX.answer(Some(&Question::Symbol((*service).to_owned()))) else {
                panic!("{service} is not described");
            };
            let files =
                files.descriptors.into_iter().map(|file| prost_types::FileDescriptorProto::decode(file).unwrap());
            let files: Vec<_> = files.collect();
            let has = |name: &String| files.iter().any(|file| file.name() == name);
            assert!(files.iter().all(|file| file.dependency.iter().all(has)), "{service}: an import is missing");
        }
        let services = INDEX
            .files
            .values()
            .flat_map(|file| file.service.iter().map(|service| format!("{}.{}", file.package(), service.name())));
        let unlisted: Vec<String> = services.filter(|name| !SERVICES.contains(&name.as_str())).collect();
        assert!(unlisted.is_empty(), "{unlisted:?}");
    }

    #[test]
    fn methods_and_messages_are_found_and_others_are_not() {
        let found = |symbol: &str| matches!(INDEX.answer(Some(&Question::Symbol(symbol.to_owned()))), Answer::Files(_));
        assert!(
            found("etcdserverpb.KV.Range") && found("mvccpb.KeyValue") && found("etcdserverpb.Compare.CompareTarget")
        );
        assert!(!found("etcdserverpb.KV.Nonsense") && !found(""));
        let file = INDEX.answer(Some(&Question::File("nowhere.proto".to_owned())));
        assert!(matches!(file, Answer::Error(Refused { code: 5, .. })));
        assert!(matches!(INDEX.answer(None), Answer::Error(Refused { code: 3, .. })));
    }
}
