//! The admin API as it is configured.

use std::fmt;
use std::net::SocketAddr;

use sha2::{Digest, Sha256};

use super::tls::ListenerTls;

/// Where the admin API answers, and whom it lets change something.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Port 0 lets the kernel choose.
    pub address: SocketAddr,
    /// Cleartext without. No protocol is negotiated: it speaks HTTP/1.1.
    pub tls: Option<ListenerTls>,
    /// Who knows it may change something from elsewhere; only with TLS.
    pub token: Option<Token>,
}

/// A secret that is only ever compared with, so that its digest is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; 32]);

impl Token {
    /// Of this text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text).into())
    }
    /// Whether it is the same, in a time that tells nothing about the secret.
    #[must_use]
    pub fn is(&self, given: &[u8]) -> bool {
        let given: [u8; 32] = Sha256::digest(given).into();
        self.0.iter().zip(given).fold(0, |differences, (own, given)| differences | (own ^ given)) == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::Token;

    #[test]
    fn a_token_is_known_and_not_shown() {
        let token = Token::of("correct horse battery staple");
        assert!(token.is(b"correct horse battery staple"));
        assert!(!token.is(b"correct horse battery stapl") && !token.is(b""));
        assert!(!format!("{token:?}").contains("horse"));
    }
}
