//! Clients: TLS that takes any certificate and tells which, and HTTP on top of it.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;

use super::*;

#[derive(Debug)]
struct TakesAny(Arc<CryptoProvider>);

impl ServerCertVerifier for TakesAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        // Of its key alone: acmeIdentifier is critical, and no other client knows it.
        let (_, parsed) = x509_parser::parse_x509_certificate(cert).unwrap();
        let key = SubjectPublicKeyInfoDer::from(parsed.public_key().raw);
        rustls::crypto::verify_tls13_signature_with_raw_key(message, &key, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

pub(super) fn config(
    versions: &[&'static rustls::SupportedProtocolVersion],
    alpn: &[&str],
) -> ClientConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TakesAny(provider)))
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

pub(super) async fn handshake(
    address: SocketAddr,
    sni: &str,
    config: ClientConfig,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(sni.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

pub(super) async fn connect(address: SocketAddr, sni: &str, alpn: &str) -> TlsStream<TcpStream> {
    handshake(address, sni, config(rustls::ALL_VERSIONS, &[alpn])).await.unwrap()
}

/// The leaf that is served for `sni`.
pub(super) async fn leaf(address: SocketAddr, sni: &str) -> Vec<u8> {
    let stream = connect(address, sni, "http/1.1").await;
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

/// One HTTP connection to the proxy, over TLS.
pub(super) struct Http {
    sender: Sender,
    connection: JoinSet<()>,
}

enum Sender {
    One(hyper::client::conn::http1::SendRequest<Full<Bytes>>),
    Two(hyper::client::conn::http2::SendRequest<Full<Bytes>>),
}

impl Http {
    pub(super) async fn one(address: SocketAddr) -> Self {
        let stream = TokioIo::new(connect(address, "a.x", "http/1.1").await);
        let (sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { drop(connection.await) });
        Self { sender: Sender::One(sender), connection: tasks }
    }

    pub(super) async fn two(address: SocketAddr) -> Self {
        let stream = TokioIo::new(connect(address, "a.x", "h2").await);
        let executor = TokioExecutor::new();
        let (sender, connection) =
            hyper::client::conn::http2::handshake(executor, stream).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { drop(connection.await) });
        Self { sender: Sender::Two(sender), connection: tasks }
    }

    pub(super) async fn send(
        &mut self,
        request: http::request::Builder,
        body: &'static str,
    ) -> hyper::Result<Response<Incoming>> {
        let request = request.body(Full::from(body)).unwrap();
        match &mut self.sender {
            Sender::One(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Sender::Two(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }

    pub(super) async fn get(&mut self, path: &str) -> hyper::Result<Response<Incoming>> {
        let builder = match self.sender {
            Sender::One(_) => Request::get(path).header("host", "a.x"),
            Sender::Two(_) => Request::get(format!("https://a.x{path}")).version(Version::HTTP_2),
        };
        self.send(builder, "").await
    }

    /// Whether the proxy has ended the connection; waits for it.
    pub(super) async fn closed(&mut self) -> bool {
        self.connection.join_next().await.is_some()
    }
}

pub(super) async fn body(response: Response<Incoming>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Sends bytes as they are and reads the reply to the connection's end.
pub(super) async fn raw(address: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    exchange(&mut stream, text).await
}

pub(super) async fn raw_tls(address: SocketAddr, sni: &str, text: &str) -> String {
    let mut stream = connect(address, sni, "http/1.1").await;
    exchange(&mut stream, text).await
}

async fn exchange<T>(stream: &mut T, text: &str) -> String
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    stream.write_all(text.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await.unwrap();
    String::from_utf8(reply).unwrap()
}
