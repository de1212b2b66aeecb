//! The stand-in cloud, run in this process so that a test can inspect what it saw.

use std::sync::{Arc, LazyLock};

use mpc_auth_proxy::testserver::{AccessKey, Options, TestServer};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tokio::runtime::Runtime;

use super::PROJECT;

/// A cloud with these keys.
pub(crate) fn cloud(options: Options) -> TestServer {
    let _inside = RUNTIME.enter();
    TestServer::start("127.0.0.1:0".parse().unwrap(), options).unwrap()
}

/// The key that every proxy has unless the test says otherwise.
pub(crate) fn options() -> Options {
    let key = AccessKey::permanent(ACCESS_KEY, SECRET_KEY, PROJECT);
    Options { access_keys: vec![key], ..Options::default() }
}

/// A certificate for this name, as PEM for those to trust it, and its server.
pub(crate) fn certificate(name: &str) -> (String, Arc<ServerConfig>) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (made.cert.pem(), Arc::new(config))
}

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

pub(crate) const ACCESS_KEY: &str = "HARNESSACCESSKEY0001";
pub(crate) const SECRET_KEY: &str = "harness-secret-key-of-no-account";
