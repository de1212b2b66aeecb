//! A minimal proxy for comparison, with hyper 1 on both sides: it looks up its caller, signs and logs.
//!
//!   hyper-proxy --listen HOST:PORT --upstream HOST:PORT --log FILE [--ca FILE]
//!
//! One current-thread runtime, its own pool of upstream connections, a buffered log. No limits, no time-outs,
//! no retries, no policy but a table of two callers: a yardstick, not for use.
use std::{
    cell::RefCell,
    convert::Infallible,
    error::Error,
    fs::File,
    io::Write,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use chrono::Utc;
use compare_tools::Args;
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::{Either, Full};
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    client::conn::http1::{self, SendRequest},
    header::{AUTHORIZATION, HOST, HeaderName, HeaderValue},
    server,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use sha2::{Digest, Sha256};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

const ACCESS_KEY: &str = "AKPERFTEST0000000001";
const SECRET_KEY: &str = "sk-perf-test-0000000000000000000000000001";
const NAME: &str = "mpc.example.test";
const SIGNED: &str = "host;x-project-id;x-sdk-date";
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const TOKEN: HeaderName = HeaderName::from_static("x-caller-token");
const PROJECT: HeaderName = HeaderName::from_static("x-project-id");
const DATE: HeaderName = HeaderName::from_static("x-sdk-date");
const CALLERS: [(&str, &str, &str); 2] = [
    ("tok-svc-a-6f1d2c3b4a59", "svc-a", "0123456789abcdef0123456789abcdef"),
    ("tok-svc-b-1a2b3c4d5e6f", "svc-b", "fedcba9876543210fedcba9876543210"),
];

type Body = Either<Incoming, Full<Bytes>>;

struct Proxy {
    upstream: String,
    tls: Option<TlsConnector>,
    key: Hmac<Sha256>,
    pool: RefCell<Vec<SendRequest<Incoming>>>,
    log: RefCell<(Vec<u8>, File)>,
}

impl Proxy {
    fn new(args: &Args) -> Self {
        let log = File::options().create(true).append(true).open(args.get("--log").expect("--log"));
        Self {
            upstream: args.get("--upstream").expect("--upstream").into(),
            tls: args.get("--ca").map(connector),
            key: Hmac::new_from_slice(SECRET_KEY.as_bytes()).expect("any length is a key"),
            pool: RefCell::default(),
            log: RefCell::new((Vec::with_capacity(1 << 17), log.expect("the log file"))),
        }
    }

    async fn answer(&self, mut request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let started = Instant::now();
        let path = request.uri().path().to_owned();
        let Some(project) = project(&path) else { return Ok(refusal(StatusCode::NOT_FOUND)) };
        let token = request.headers_mut().remove(TOKEN);
        let caller = CALLERS.iter().find(|(t, _, p)| {
            Some(t.as_bytes()) == token.as_ref().map(HeaderValue::as_bytes) && *p == project
        });
        let Some((_, caller, _)) = caller else { return Ok(refusal(StatusCode::FORBIDDEN)) };
        let date = Utc::now().format("%Y%m%dT%H%M%SZ").to_string();
        let authorization = self.sign(request.method().as_str(), &path, project, &date);
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::from_static(NAME));
        headers.insert(PROJECT, HeaderValue::from_str(project).expect("checked"));
        headers.insert(DATE, HeaderValue::from_str(&date).expect("digits"));
        headers.insert(AUTHORIZATION, HeaderValue::from_str(&authorization).expect("text"));
        let (response, id) = match self.send(request).await {
            Ok(response) => {
                let id = response.headers().get("x-request-id").cloned();
                (response.map(Either::Left), id)
            }
            Err(_) => (refusal(StatusCode::BAD_GATEWAY), None),
        };
        let id = id.as_ref().and_then(|id| id.to_str().ok()).unwrap_or_default();
        let (status, took) = (response.status().as_u16(), started.elapsed().as_micros());
        let mut log = self.log.borrow_mut();
        let line = writeln!(
            log.0,
            r#"{{"ts":"{date}","caller":"{caller}","path":"{path}","status":{status},"request_id":"{id}","us":{took}}}"#
        );
        line.expect("memory takes it");
        if log.0.len() > 1 << 16 {
            flush(&mut log);
        }
        Ok(response)
    }

    fn sign(&self, method: &str, path: &str, project: &str, date: &str) -> String {
        let canonical = format!(
            "{method}\n{path}/\n\nhost:{NAME}\nx-project-id:{project}\nx-sdk-date:{date}\n\n{SIGNED}\n{EMPTY}"
        );
        let mut mac = self.key.clone();
        mac.update(format!("SDK-HMAC-SHA256\n{date}\n{}", hex(&Sha256::digest(canonical))).as_bytes());
        format!(
            "SDK-HMAC-SHA256 Access={ACCESS_KEY}, SignedHeaders={SIGNED}, Signature={}",
            hex(&mac.finalize().into_bytes())
        )
    }

    async fn send(&self, request: Request<Incoming>) -> Result<Response<Incoming>, Box<dyn Error>> {
        loop {
            let pooled = self.pool.borrow_mut().pop();
            let mut connection = match pooled {
                Some(connection) if connection.is_closed() => continue,
                Some(connection) => connection,
                None => self.dial().await?,
            };
            if connection.ready().await.is_err() {
                continue;
            }
            let response = connection.send_request(request).await?;
            self.pool.borrow_mut().push(connection);
            return Ok(response);
        }
    }

    async fn dial(&self) -> Result<SendRequest<Incoming>, Box<dyn Error>> {
        let stream = TcpStream::connect(&self.upstream).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            None => {
                let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
                tokio::task::spawn_local(connection);
                Ok(sender)
            }
            Some(tls) => {
                let stream = tls.connect(NAME.try_into()?, stream).await?;
                let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
                tokio::task::spawn_local(connection);
                Ok(sender)
            }
        }
    }
}

fn connector(ca: &str) -> TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).expect("the CA file") {
        roots.add(certificate.expect("a certificate")).expect("a root");
    }
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

/// The project of `/v2/{project}/editing/jobs/{job}`.
fn project(path: &str) -> Option<&str> {
    let (project, rest) = path.strip_prefix("/v2/")?.split_once('/')?;
    let job = rest.strip_prefix("editing/jobs/")?;
    let is_id = |id: &str| {
        (1..=64).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    (is_id(project) && is_id(job)).then_some(project)
}

fn refusal(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Either::Right(Full::default()));
    *response.status_mut() = status;
    response
}

fn hex(bytes: &[u8]) -> String {
    let digit = |d: u8| char::from(b"0123456789abcdef"[usize::from(d)]);
    bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
}

fn flush((lines, file): &mut (Vec<u8>, File)) {
    file.write_all(lines).expect("the log file takes it");
    lines.clear();
}

async fn serve(proxy: Rc<Proxy>, listener: TcpListener) {
    let flusher = Rc::clone(&proxy);
    tokio::task::spawn_local(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            flush(&mut flusher.log.borrow_mut());
        }
    });
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let proxy = Rc::clone(&proxy);
        tokio::task::spawn_local(async move {
            let service = service_fn(|request| proxy.answer(request));
            let mut http = server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(30));
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn main() {
    let args = Args::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        socket.set_reuse_address(true).expect("an option");
        let address: std::net::SocketAddr =
            args.get("--listen").expect("--listen").parse().expect("HOST:PORT");
        socket.bind(&address.into()).expect("a free port");
        socket.listen(4096).expect("a listener");
        socket.set_nonblocking(true).expect("an option");
        let listener = TcpListener::from_std(socket.into()).expect("a listener");
        serve(Rc::new(Proxy::new(&args)), listener).await;
    });
}
