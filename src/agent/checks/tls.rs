//! How checks speak TLS: whom they trust, and a connection with or without it.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The name of HTTP/2 in a TLS handshake. Source: RFC 9113, "Starting HTTP/2 for HTTPS URIs".
const HTTP_2: &[u8] = b"h2";

/// Both ways to judge certificates. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    strict: Arc<ClientConfig>,
    /// Does not judge certificates.
    lenient: Arc<ClientConfig>,
}

/// How one check wants it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish<'a> {
    /// The name that the certificate must be of; empty is the address's host.
    pub(super) server_name: &'a str,
    /// Whether any certificate will do.
    pub(super) skip_verify: bool,
}

/// What a connection can do, with TLS or without.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Tls {
    /// Trusts whom this host trusts; where it trusts nobody, those whom browsers trust.
    ///
    /// # Errors
    ///
    /// Says why TLS cannot be used.
    pub(super) fn new() -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        // What the host holds beside good certificates is its own matter.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        let provider = Arc::new(ring::default_provider());
        let versions = || {
            let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
            builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())
        };
        let strict = versions()?.with_root_certificates(roots).with_no_client_auth();
        let anyone = Arc::new(Anyone(Arc::clone(&provider)));
        let lenient = versions()?.dangerous().with_custom_certificate_verifier(anyone);
        let lenient = lenient.with_no_client_auth();
        Ok(Self { strict: Arc::new(strict), lenient: Arc::new(lenient) })
    }

    /// The settings, strict or lenient.
    pub(super) fn config(&self, skip_verify: bool) -> &Arc<ClientConfig> {
        if skip_verify { &self.lenient } else { &self.strict }
    }

    /// Shakes hands over a connection to `address` (`host:port`); `http2` agrees on HTTP/2.
    ///
    /// # Errors
    ///
    /// Those of the connection, and what is wrong with the other side's certificate.
    pub(super) async fn shake_hands(
        &self,
        stream: TcpStream,
        address: &str,
        wish: Wish<'_>,
        http2: bool,
    ) -> io::Result<Box<dyn Stream>> {
        let name = if wish.server_name.is_empty() { host(address) } else { wish.server_name };
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let mut config = Arc::clone(self.config(wish.skip_verify));
        if http2 {
            Arc::make_mut(&mut config).alpn_protocols = vec![HTTP_2.to_vec()];
        }
        let stream = TlsConnector::from(config).connect(name, stream).await?;
        Ok(Box::new(stream))
    }
}

/// The host of `host:port`, without the brackets of an IPv6 address.
fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Takes every certificate, as an operator asks for with `TLSSkipVerify`.
struct Anyone(Arc<CryptoProvider>);

impl fmt::Debug for Anyone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Anyone")
    }
}

impl ServerCertVerifier for Anyone {
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
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_an_address_has_no_brackets() {
        for (address, name) in [("a.b:1", "a.b"), ("[::1]:2", "::1"), ("10.0.0.1:3", "10.0.0.1")] {
            assert_eq!(host(address), name);
        }
    }
}
