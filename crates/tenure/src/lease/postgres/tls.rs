//! How the connection is encrypted, and what is checked of the server.
//!
//! | `sslmode` | encrypted | the server's certificate |
//! |---|---|---|
//! | `disable` | no | |
//! | `prefer` (default) | if the server can | not checked |
//! | `require` | yes | not checked, as with libpq; with `sslrootcert` as `verify-ca` |
//! | `verify-ca` | yes | signed by one who is trusted |
//! | `verify-full` | yes | the same, and made out to the host in the address |
//!
//! Trusted are the authorities in the file `sslrootcert`, else those of the system. Where nothing is checked, whoever sits
//! between us and the server can read and change everything, and ask for the password in clear.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::{Error, Result};
use crate::host::{Host, Native, Open};

/// What is checked of the server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checks {
    Nothing,
    Authority,
    AuthorityAndName,
}

/// The driver's way to an encrypted connection.
pub(super) fn connector(checks: Checks, roots: Option<&Path>, address: &str) -> Result<MakeRustlsConnect> {
    let fail = |problem: String| Error::refused_lease(Path::new(address), problem);
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| fail(format!("TLS can't be set up: {error}")))?;
    let verifier: Arc<dyn ServerCertVerifier> = match checks {
        Checks::Nothing => Arc::new(Lenient { chain: None, provider }),
        Checks::Authority | Checks::AuthorityAndName => {
            let trusted = Arc::new(trusted(roots, address)?);
            let chain = WebPkiServerVerifier::builder_with_provider(trusted, provider.clone()).build();
            let chain =
                chain.map_err(|error| fail(format!("the trusted certificates are of no use: {error}")))?;
            match checks {
                Checks::AuthorityAndName => chain,
                _ => Arc::new(Lenient { chain: Some(chain), provider }),
            }
        }
    };
    let config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

fn trusted(file: Option<&Path>, address: &str) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    let Some(file) = file else {
        // Single files that can't be read do not matter if others can.
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if store.is_empty() {
            let problem = "this system has no trusted certificates; name a file with `sslrootcert`";
            return Err(Error::refused_lease(Path::new(address), problem));
        }
        return Ok(store);
    };
    let text = read(file).map_err(|errno| Error::host("read the trusted certificates", file, errno))?;
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let added = certificate.map_err(|error| error.to_string());
        let added = added.and_then(|certificate| store.add(certificate).map_err(|error| error.to_string()));
        added.map_err(|error| Error::corrupt(file, format!("a certificate in it can't be read: {error}")))?;
    }
    if store.is_empty() {
        return Err(Error::corrupt(file, "it has no certificate in PEM form"));
    }
    Ok(store)
}

fn read(path: &Path) -> crate::host::Result<Vec<u8>> {
    // A host's open follows no link, but a list of certificates may well be one.
    let path =
        Native.read_link(path).map(|to| crate::host::directory_of(path).join(to)).unwrap_or(path.into());
    let file = Native.open(&path, Open::Read)?;
    let mut bytes = Vec::new();
    let mut part = [0; 8192];
    loop {
        match Native.read(&file, &mut part)? {
            0 => return Ok(bytes),
            length => bytes.extend_from_slice(&part[..length]),
        }
    }
}

/// Checks less than everything: the authority and not the name, or nothing.
#[derive(Debug)]
struct Lenient {
    chain: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(certificate, between, name, ocsp, now) {
            // The name is what is checked last: all the rest is right.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            checked => checked,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
