//! Why the TLS of a client's connection was not established: short words for logs and metrics.

/// The reason for the end of a connection before its TLS was established.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HandshakeFailure {
    /// It took too long.
    Timeout,
    /// The client went away, or the connection broke.
    Closed,
    /// What the client sent is not TLS: plain HTTP, mostly.
    NotTls,
    /// No version of TLS that both speak.
    Version,
    /// No protocol (ALPN) that both speak.
    Protocol,
    /// Nothing else in common: cipher suites, groups, signatures.
    Incompatible,
    /// The client has to show a certificate and showed none.
    CertificateMissing,
    /// The client's certificate is not trusted.
    CertificateRefused,
    /// The client gave up with an alert: it does not trust our certificate, mostly.
    Alert,
    /// The client broke a rule of TLS.
    Malformed,
}

impl HandshakeFailure {
    /// Every reason, in the order of the enum.
    pub const ALL: [Self; 10] = [
        Self::Timeout,
        Self::Closed,
        Self::NotTls,
        Self::Version,
        Self::Protocol,
        Self::Incompatible,
        Self::CertificateMissing,
        Self::CertificateRefused,
        Self::Alert,
        Self::Malformed,
    ];

    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::NotTls => "not_tls",
            Self::Version => "version",
            Self::Protocol => "protocol",
            Self::Incompatible => "incompatible",
            Self::CertificateMissing => "certificate_missing",
            Self::CertificateRefused => "certificate_refused",
            Self::Alert => "alert",
            Self::Malformed => "malformed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lists_every_reason_at_its_place_with_a_word_of_its_own() {
        let mut words = std::collections::BTreeSet::new();
        for (place, reason) in HandshakeFailure::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place);
            assert!(words.insert(reason.as_str()));
        }
        assert_eq!(HandshakeFailure::Malformed as usize, HandshakeFailure::ALL.len() - 1);
    }
}
