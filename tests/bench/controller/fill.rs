//! Objects written straight into etcd: a hundred thousand in seconds, where the API server takes
//! some hundreds a second.

use bytes::Bytes;
use data_encoding::BASE64;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Etcd takes 128 in one transaction.
const AT_ONCE: usize = 100;

/// Puts `objects`, each with the folder that the API server keeps its kind in, such as
/// `secrets`. Namespace, name and kind are the objects' own.
pub(crate) async fn fill(etcd: u16, objects: impl Iterator<Item = (&'static str, Value)>) {
    let address = format!("127.0.0.1:{etcd}");
    let stream = TcpStream::connect(&address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { connection.await.unwrap() });
    let mut puts = objects.map(put).peekable();
    while puts.peek().is_some() {
        let all: Vec<Value> = puts.by_ref().take(AT_ONCE).collect();
        let body = Full::new(Bytes::from(json!({"success": all}).to_string()));
        let request = Request::post("/v3/kv/txn").header("host", &address).body(body).unwrap();
        sender.ready().await.unwrap();
        let answer = sender.send_request(request).await.unwrap();
        let status = answer.status();
        let text = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&text));
    }
}

fn put((folder, mut object): (&'static str, Value)) -> Value {
    let uid = format!("{:032x}", rand::random::<u128>());
    let metadata = object["metadata"].as_object_mut().unwrap();
    metadata.insert("uid".to_owned(), uid.into());
    metadata.insert("creationTimestamp".to_owned(), "2026-01-01T00:00:00Z".into());
    let text = |name| metadata[name].as_str().unwrap();
    let key = format!("/registry/{folder}/{}/{}", text("namespace"), text("name"));
    let value = BASE64.encode(object.to_string().as_bytes());
    json!({"requestPut": {"key": BASE64.encode(key.as_bytes()), "value": value}})
}
