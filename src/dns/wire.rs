//! One DNS message to one server and its answer, over UDP and TCP (RFC 1035 §4.2, RFC 7766).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout_at};

use crate::http;

/// What fits into one packet everywhere (<https://www.dnsflagday.net/2020/>).
const PAYLOAD: u16 = 1232;

/// Some servers send more than they are told.
const MAX_PACKET: usize = 8192;

/// A question over UDP is sent again after these, each from the start.
const AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transport {
    /// UDP, and TCP for what does not fit.
    #[default]
    Both,
    /// `LEGO_EXPERIMENTAL_DNS_TCP_ONLY`.
    Tcp,
}

/// Why a server gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Silence {
    #[error("does not answer within {0} s")]
    Timeout(u64),
    /// This machine has no way to the address.
    #[error("cannot be reached from here: {0}")]
    NoWay(String),
    #[error("cannot be asked: {0}")]
    Failed(String),
    #[error("answers with what is no DNS message: {0}")]
    Garbage(String),
}

/// Whether the server may ask others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    Recursive,
    Authority,
}

/// How servers are asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wire {
    pub(super) transport: Transport,
    /// For one question with everything.
    pub(super) timeout: Duration,
}

impl Wire {
    pub(super) async fn ask(
        self,
        server: SocketAddr,
        name: &Name,
        kind: RecordType,
        ask: Ask,
    ) -> Result<Message, Silence> {
        let mut message = Message::query();
        message.metadata.recursion_desired = ask == Ask::Recursive;
        message.add_query(Query::query(name.clone(), kind));
        let mut edns = Edns::new();
        edns.set_max_payload(PAYLOAD);
        message.set_edns(edns);
        let answer = self.exchange(server, &message).await?;
        if answer.metadata.response_code != ResponseCode::FormErr {
            return Ok(answer);
        }
        // A server from before RFC 6891.
        message.edns = None;
        self.exchange(server, &message).await
    }

    async fn exchange(self, server: SocketAddr, message: &Message) -> Result<Message, Silence> {
        let bytes = message.to_vec().map_err(|error| Silence::Failed(error.to_string()))?;
        let bytes = self.send(server, &bytes).await?;
        Message::from_vec(&bytes).map_err(|error| Silence::Garbage(http::shown(&error.to_string())))
    }

    /// Sends a whole message and returns the whole answer that has its id and its question.
    pub(super) async fn send(self, server: SocketAddr, bytes: &[u8]) -> Result<Vec<u8>, Silence> {
        let end = Instant::now() + self.timeout;
        if self.transport == Transport::Both {
            let answer = self.over_udp(server, bytes, end).await?;
            if !is_truncated(&answer) {
                return Ok(answer);
            }
        }
        timeout_at(end, over_tcp(server, bytes)).await.unwrap_or_else(|_late| Err(self.late()))
    }

    async fn over_udp(
        self,
        server: SocketAddr,
        bytes: &[u8],
        end: Instant,
    ) -> Result<Vec<u8>, Silence> {
        let any: SocketAddr = match server {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        // A new port for each question: who does not see it cannot answer in the server's place.
        let socket = UdpSocket::bind(any).await.map_err(|error| failed(&error))?;
        socket.connect(server).await.map_err(|error| failed(&error))?;
        let start = Instant::now();
        let ends = AGAIN.map(|after| start + after).into_iter().filter(|again| *again < end);
        for until in ends.chain([end]) {
            socket.send(bytes).await.map_err(|error| failed(&error))?;
            if let Ok(answer) = timeout_at(until, answer_of(&socket, bytes)).await {
                return answer;
            }
        }
        Err(self.late())
    }

    fn late(self) -> Silence {
        Silence::Timeout(self.timeout.as_secs())
    }
}

async fn answer_of(socket: &UdpSocket, question: &[u8]) -> Result<Vec<u8>, Silence> {
    let mut buffer = vec![0; MAX_PACKET];
    loop {
        let length = socket.recv(&mut buffer).await.map_err(|error| failed(&error))?;
        let answer = buffer.get(..length).unwrap_or_default();
        if belongs(answer, question) {
            return Ok(answer.to_vec());
        }
    }
}

async fn over_tcp(server: SocketAddr, bytes: &[u8]) -> Result<Vec<u8>, Silence> {
    let exchange = async {
        let mut stream = TcpStream::connect(server).await?;
        let length = u16::try_from(bytes.len()).map_err(std::io::Error::other)?;
        stream.write_all(&[length.to_be_bytes().as_slice(), bytes].concat()).await?;
        let length = stream.read_u16().await?;
        let mut answer = vec![0; usize::from(length)];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    };
    let answer = exchange.await.map_err(|error| failed(&error))?;
    if belongs(&answer, bytes) {
        return Ok(answer);
    }
    Err(Silence::Garbage("it has another id or question".to_owned()))
}

/// Same id, an answer, and the same question if it repeats one (an error may come without).
fn belongs(answer: &[u8], question: &[u8]) -> bool {
    let same_id = answer.get(..2).is_some_and(|id| Some(id) == question.get(..2));
    let is_answer = answer.get(2).is_some_and(|flags| flags & 0x80 != 0);
    same_id && is_answer && same_question(answer, question)
}

fn same_question(answer: &[u8], question: &[u8]) -> bool {
    let counted = |bytes: &[u8]| bytes.get(4..6).map(<[u8]>::to_vec);
    if counted(answer) == Some(vec![0, 0]) {
        return true;
    }
    let of = |bytes: &[u8]| {
        let rest = bytes.get(12..)?;
        let name = rest.iter().position(|byte| *byte == 0)?;
        rest.get(..name + 5).map(<[u8]>::to_ascii_lowercase)
    };
    counted(answer) == counted(question) && of(answer) == of(question)
}

fn is_truncated(answer: &[u8]) -> bool {
    answer.get(2).is_some_and(|flags| flags & 0x02 != 0)
}

fn failed(error: &std::io::Error) -> Silence {
    use std::io::ErrorKind::{AddrNotAvailable, HostUnreachable, NetworkUnreachable};
    match error.kind() {
        AddrNotAvailable | HostUnreachable | NetworkUnreachable => {
            Silence::NoWay(error.to_string())
        }
        _ => Silence::Failed(error.to_string()),
    }
}

/// How an answer begins, for a person: `NXDOMAIN`, `no record`.
pub(super) fn code(answer: &Message) -> String {
    match answer.metadata.response_code {
        ResponseCode::NoError => "no such record".to_owned(),
        ResponseCode::NXDomain => "NXDOMAIN".to_owned(),
        ResponseCode::ServFail => "SERVFAIL".to_owned(),
        ResponseCode::Refused => "REFUSED".to_owned(),
        ResponseCode::NotAuth => "NOTAUTH".to_owned(),
        ResponseCode::NotZone => "NOTZONE".to_owned(),
        ResponseCode::NotImp => "NOTIMP".to_owned(),
        ResponseCode::FormErr => "FORMERR".to_owned(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{Message, MessageType, OpCode, Query};
    use hickory_proto::rr::{Name, RecordType};

    use super::belongs;

    fn message(id: u16, kind: MessageType, name: &str) -> Vec<u8> {
        let mut message = Message::new(id, kind, OpCode::Query);
        if !name.is_empty() {
            let name = Name::from_ascii(name).unwrap();
            message.add_query(Query::query(name, RecordType::TXT));
        }
        message.to_vec().unwrap()
    }

    #[test]
    fn an_answer_has_the_id_and_the_question_of_what_was_asked() {
        use MessageType::{Query, Response};
        let question = message(7, Query, "a.example.");
        assert!(belongs(&message(7, Response, "A.example."), &question));
        assert!(belongs(&message(7, Response, ""), &question));
        assert!(!belongs(&message(8, Response, "a.example."), &question));
        assert!(!belongs(&message(7, Query, "a.example."), &question));
        assert!(!belongs(&message(7, Response, "b.example."), &question));
        assert!(!belongs(&[7], &question) && !belongs(&[], &question));
    }
}
